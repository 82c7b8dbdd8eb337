"""LEVIR-CD's reader on miniatures of its true layouts: three folders, three zips in one, LEVIR-CD+."""

from pathlib import Path

import pytest

from lib.datasets import ChangePair, SourceItem
from lib.datasets.levir_cd import DATASET, read_items, read_pairs
from lib.errors import DatasetError, FetchError
from lib.fetch import fetch


def lay_out(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def sides(folder: str, name: str) -> list[str]:
    return [f"{folder}/{side}/{name}" for side in ("A", "B", "label")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = [*sides("LEVIR-CD/train", "train_1.png"), *sides("LEVIR-CD/val", "val_1.png")]
    return lay_out(tmp_path, *made, *sides("LEVIR-CD/test", "test_7.png"), "LEVIR-CD/test/A/.DS_Store")


def test_pairs_have_their_mask_and_their_folders_split(root: Path) -> None:
    found = list(read_pairs(root))
    assert [pair.split for pair in found] == ["test", "train", "val"]
    assert found[0] == ChangePair(
        name="LEVIR-CD/test/test_7",
        before="LEVIR-CD/test/A/test_7.png",
        after="LEVIR-CD/test/B/test_7.png",
        label="LEVIR-CD/test/label/test_7.png",
        split="test",
    )


def test_items_are_the_pictures_and_not_the_masks(root: Path) -> None:
    assert list(read_items(root))[:2] == [
        SourceItem("LEVIR-CD/test/A/test_7.png", split="test"),
        SourceItem("LEVIR-CD/test/B/test_7.png", split="test"),
    ]
    assert len(list(read_items(root))) == 6


def test_three_zips_in_one_folder_are_told_apart_by_name(tmp_path: Path) -> None:
    lay_out(tmp_path, *(path for part in ("train", "val", "test") for path in sides(".", f"{part}_1.png")))
    assert [(pair.name, pair.split) for pair in read_pairs(tmp_path)] == [
        ("test_1", "test"),
        ("train_1", "train"),
        ("val_1", "val"),
    ]


def test_the_folder_has_the_say_where_the_name_says_otherwise(tmp_path: Path) -> None:
    # LEVIR-CD+ as published.
    lay_out(tmp_path, *sides("LEVIR-CD+/test", "train_638.png"))
    assert [pair.split for pair in read_pairs(tmp_path)] == ["test"]


@pytest.mark.parametrize("lost", ["A/train_1.png", "B/train_1.png", "label/train_1.png"])
def test_a_lost_file_is_an_error_that_names_it(root: Path, lost: str) -> None:
    lay_out(root, *sides("LEVIR-CD/train", "train_2.png"))
    (root / "LEVIR-CD" / "train" / lost).unlink()
    with pytest.raises(DatasetError, match=f"pairs lack LEVIR-CD/train/{lost}. Unpack"):
        list(read_pairs(root))


def test_pairs_without_any_mask_are_pairs_without_labels(root: Path) -> None:
    (root / "LEVIR-CD/test/label/test_7.png").unlink()
    assert [pair.label is None for pair in read_pairs(root)] == [True, False, False]


def test_what_archives_of_a_mac_add_is_no_picture(root: Path) -> None:
    lay_out(root, "__MACOSX/train/A/._train_1.png", "__MACOSX/train/B/._train_1.png")
    assert len(list(read_pairs(root))) == 3


def test_another_folder_is_an_error_that_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no pictures in folders A and B below"):
        list(read_pairs(tmp_path))


def test_it_is_fetched_by_hand_from_three_addresses(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"train\.zip \(https.*val\.zip \(https.*test\.zip \(https"):
        fetch(DATASET, tmp_path / "made", acknowledged=True)
