"""EuroSAT's reader on a miniature of its true layout, and on the real pictures."""

from collections import Counter
from pathlib import Path

import pytest

from lib.datasets import SourceItem
from lib.datasets.eurosat import read_items
from lib.errors import DatasetError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for label, number in (("AnnualCrop", 1), ("AnnualCrop", 2), ("SeaLake", 30)):
        folder = tmp_path / "EuroSAT" / "2750" / label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{label}_{number}.jpg").touch()
    (tmp_path / "EuroSAT" / "2750" / "AnnualCrop" / "thumbnail.jpg").touch()
    lists = {"train": "AnnualCrop_1.jpg\n", "val": "SeaLake_30.jpg\n", "test": "AnnualCrop_2.jpg\n"}
    for split, text in lists.items():
        (tmp_path / f"eurosat-{split}.txt").write_text(text)
    spatial = {"train": "AnnualCrop_1.tif\nAnnualCrop_2.tif\n", "val": "", "test": "SeaLake_30.tif\n"}
    for split, text in spatial.items():
        (tmp_path / f"eurosat-spatial-{split}.txt").write_text(text)
    return tmp_path


def test_pictures_have_their_class_and_the_random_split(root: Path) -> None:
    assert list(read_items(root)) == [
        SourceItem("EuroSAT/2750/AnnualCrop/AnnualCrop_1.jpg", "AnnualCrop", "train"),
        SourceItem("EuroSAT/2750/AnnualCrop/AnnualCrop_2.jpg", "AnnualCrop", "test"),
        SourceItem("EuroSAT/2750/SeaLake/SeaLake_30.jpg", "SeaLake", "val"),
    ]


def test_the_spatial_split_can_be_asked_for_though_its_lists_name_the_other_edition(root: Path) -> None:
    assert [item.split for item in read_items(root, spatial=True)] == ["train", "train", "test"]


def test_another_folder_is_an_error_that_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no <Class>/<Class>_<number>\.jpg below"):
        list(read_items(tmp_path))


@pytest.mark.real_data
def test_real_pictures_without_lists_have_a_class_and_no_split(real_data: Path) -> None:
    found = list(read_items(real_data / "eurosat"))
    assert Counter(item.label for item in found) == dict.fromkeys({item.label for item in found}, 40)
    assert len(found) == 400 and {item.split for item in found} == {None}
