"""OSCD's reader on a miniature of its true layout: three archives, bands beside pictures, lists in a line."""

from pathlib import Path

import pytest

from lib.datasets import ChangePair, SourceItem
from lib.datasets.oscd import read_items, read_pairs
from lib.errors import DatasetError

TITLE = "Onera Satellite Change Detection dataset"
TRAIN, TEST = ("abudhabi", "paris"), ("rio",)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    # As unpacked here: each archive in a folder of its own name, with the same name in it.
    images = tmp_path / f"{TITLE} - Images" / f"{TITLE} - Images"
    for city in TRAIN + TEST:
        for number in (1, 2):
            (images / city / f"imgs_{number}_rect").mkdir(parents=True)
            (images / city / f"imgs_{number}_rect" / "B04.tif").touch()
        (images / city / "pair").mkdir()
        (images / city / "pair" / "img1.png").touch()
        (images / city / "pair" / "img2.png").touch()
    (images / "train.txt").write_text("abudhabi,paris\n")
    (images / "test.txt").write_text("rio")
    for part, cities in (("Train", TRAIN), ("Test", TEST)):
        for city in cities:
            masks = tmp_path / f"{TITLE} - {part} Labels" / f"{TITLE} - {part} Labels" / city / "cm"
            masks.mkdir(parents=True)
            (masks / "cm.png").touch()
            (masks / f"{city}-cm.tif").touch()
    return tmp_path


def masks_of(root: Path) -> dict[str, Path]:
    return {path.parent.parent.name: path for path in root.rglob("cm.png")}


def test_each_city_is_a_pair_of_its_pictures_with_the_mask_from_the_other_archive(root: Path) -> None:
    found = {pair.name: pair for pair in read_pairs(root)}
    assert {name: pair.split for name, pair in found.items()} == {
        "abudhabi": "train",
        "paris": "train",
        "rio": "test",
    }
    assert found["rio"] == ChangePair(
        name="rio",
        before=f"{TITLE} - Images/{TITLE} - Images/rio/pair/img1.png",
        after=f"{TITLE} - Images/{TITLE} - Images/rio/pair/img2.png",
        label=f"{TITLE} - Test Labels/{TITLE} - Test Labels/rio/cm/cm.png",
        split="test",
    )


def test_items_are_the_true_colour_pictures(root: Path) -> None:
    found = list(read_items(root))
    assert found[-1] == SourceItem(f"{TITLE} - Images/{TITLE} - Images/rio/pair/img2.png", split="test")
    assert len(found) == 6


def test_without_the_lists_the_labels_archive_tells_the_split(root: Path) -> None:
    for name in ("train.txt", "test.txt"):
        next(root.rglob(name)).unlink()
    assert [pair.split for pair in read_pairs(root)] == ["train", "train", "test"]


def test_without_the_test_labels_the_test_cities_have_no_mask(root: Path) -> None:
    masks_of(root)["rio"].unlink()
    assert [pair.label is None for pair in read_pairs(root)] == [False, False, True]


def test_one_lost_mask_among_others_is_an_error(root: Path) -> None:
    masks_of(root)["paris"].unlink()
    with pytest.raises(DatasetError, match=r"pairs lack paris/cm/cm\.png"):
        list(read_pairs(root))


def test_a_city_of_bands_without_its_later_picture_is_an_error(root: Path) -> None:
    (root / f"{TITLE} - Images" / f"{TITLE} - Images" / "paris" / "pair" / "img2.png").unlink()
    with pytest.raises(DatasetError, match=r"pairs lack .*paris/pair/img2\.png"):
        list(read_pairs(root))


def test_another_folder_is_an_error_that_names_the_archive(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"Unpack `Onera .* - Images\.zip`"):
        list(read_pairs(tmp_path))
