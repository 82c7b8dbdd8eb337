"""What pair datasets say of themselves, and how their lists are found."""

from pathlib import Path

import pytest

from lib.datasets import dataset, dataset_names
from lib.datasets.listed_pairs import nearest, pictures_below

PUBLIC = (
    "coco_captions", "cvusa", "flickr30k", "mimic_cxr", "nyu_depth_v2", "university1652", "vigor",
    "vigor_cross",
)  # fmt: skip


@pytest.mark.parametrize("name", PUBLIC)
def test_a_pair_dataset_tells_its_sides_its_rows_and_how_to_come_by_it(name: str) -> None:
    found = dataset(name)
    assert name in dataset_names()
    assert (found.name, found.kind) == (name, "pair")
    assert found.read_pair_rows is not None and found.sides is not None
    # Either it can be downloaded, or it says what to do instead.
    assert bool(found.files) is not bool(found.by_hand)
    assert found.size_bytes > 1.3 * sum(file.size_bytes or 0 for file in found.files)


def test_street_panoramas_are_the_only_sides_told_as_such() -> None:
    told = {name: dataset(name).sides or () for name in PUBLIC}
    assert {(name, at) for name, sides in told.items() for at, side in enumerate(sides) if side.panorama} == {
        ("cvusa", 0),
        ("vigor", 0),
        ("vigor_cross", 0),
    }


def test_of_two_copies_of_a_list_the_nearer_counts_and_at_one_depth_the_preferred_name(
    tmp_path: Path,
) -> None:
    for path in ("a/b/list.csv", "z/list.csv", "y/list.csv.gz"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert nearest(tmp_path, "list.csv") == tmp_path / "z" / "list.csv"
    assert nearest(tmp_path, "list.csv.gz", "list.csv") == tmp_path / "y" / "list.csv.gz"


def test_pictures_are_found_by_name_and_of_two_copies_the_nearer(tmp_path: Path) -> None:
    for path in ("a/b/1.jpg", "z/1.jpg", "a/b/2.PNG", "3.jpeg", "a/4.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert pictures_below(tmp_path) == {"1.jpg": "z/1.jpg", "2.PNG": "a/b/2.PNG", "3.jpeg": "3.jpeg"}
