"""UC Merced's reader on a miniature of its true layout."""

from pathlib import Path

import pytest

from lib.datasets import SourceItem
from lib.datasets.uc_merced import read_items
from lib.errors import DatasetError

AT = "UCMerced_LandUse/UCMerced_LandUse/Images"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        "agricultural/agricultural00.tif",
        "river/river07.tif",
        "river/river99.tif",
        "river/map.tif",
    ):
        (tmp_path / AT / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / AT / name).touch()
    for split, name in (("train", "river99.tif"), ("val", "river07.tif"), ("test", "agricultural00.tif")):
        (tmp_path / f"uc_merced-{split}.txt").write_text(f"{name}\n")
    return tmp_path


def test_pictures_have_their_class_and_the_lists_split(root: Path) -> None:
    assert list(read_items(root)) == [
        SourceItem(f"{AT}/agricultural/agricultural00.tif", "agricultural", "test"),
        SourceItem(f"{AT}/river/river07.tif", "river", "val"),
        SourceItem(f"{AT}/river/river99.tif", "river", "train"),
    ]


def test_without_the_lists_there_is_no_split(root: Path) -> None:
    for path in root.glob("*.txt"):
        path.unlink()
    assert {item.split for item in read_items(root)} == {None}


def test_another_folder_is_an_error_that_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no <class>/<class><number>\.tif below"):
        list(read_items(tmp_path))
