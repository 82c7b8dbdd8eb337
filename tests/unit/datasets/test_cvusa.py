"""CVUSA's reader on a miniature of its true layout: lists without header, places by row number."""

from pathlib import Path

import pytest

from lib.datasets import PairRow
from lib.datasets.cvusa import read_pair_rows
from lib.errors import DatasetError


def listed(*numbers: int) -> str:
    return "".join(
        f"bingmap/19/{n:07d}.jpg,streetview/panos/{n:07d}.jpg,streetview/annotations/{n:07d}.png\n"
        for n in numbers
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    inside = tmp_path / "CVPR_subset"
    (inside / "splits").mkdir(parents=True)
    (inside / "split_locations").mkdir()
    (inside / "splits" / "train-19zl.csv").write_text(listed(3, 1))
    (inside / "splits" / "val-19zl.csv").write_text(listed(2))
    (inside / "split_locations" / "all.csv").write_text(
        "38.0,-84.5,38.1,-84.6,90\n29.7,-95.3,29.8,-95.4,0\n47.6,-122.3,47.7,-122.4,180\n"
    )
    return tmp_path


def test_panoramas_go_left_and_val_is_the_test(root: Path) -> None:
    assert list(read_pair_rows(root))[1:] == [
        PairRow(
            f"{number:07d}",
            f"CVPR_subset/streetview/panos/{number:07d}.jpg",
            f"CVPR_subset/bingmap/19/{number:07d}.jpg",
            split,
            lon=lon,
            lat=lat,
        )
        for number, split, lat, lon in ((1, "train", 38.0, -84.5), (2, "test", 29.7, -95.3))
    ]


def test_places_go_by_the_pictures_number_and_not_by_the_lists_order(root: Path) -> None:
    assert next((row.id, row.lon) for row in read_pair_rows(root)) == ("0000003", -122.3)


def test_a_copy_without_places_has_its_pairs(root: Path) -> None:
    (root / "CVPR_subset" / "split_locations" / "all.csv").unlink()
    assert {(row.lon, row.lat) for row in read_pair_rows(root)} == {(None, None)}


def test_paths_start_at_a_root_that_holds_the_lists_folder(root: Path) -> None:
    rows = list(read_pair_rows(root / "CVPR_subset"))
    assert rows[0].right == "bingmap/19/0000003.jpg"


def test_a_missing_list_is_named(root: Path) -> None:
    (root / "CVPR_subset" / "splits" / "val-19zl.csv").unlink()
    with pytest.raises(DatasetError, match=r"no splits/val-19zl\.csv below"):
        list(read_pair_rows(root))


def test_a_row_without_two_paths_is_named_by_its_line(root: Path) -> None:
    (root / "CVPR_subset" / "splits" / "train-19zl.csv").write_text(listed(1) + "0000002.jpg\n")
    with pytest.raises(DatasetError, match=r"line 2: '0000002\.jpg' has no satellite picture"):
        list(read_pair_rows(root))
