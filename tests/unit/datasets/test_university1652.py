"""University-1652's reader on a miniature of its true layout: buildings, and a gallery with others."""

from pathlib import Path

import pytest

from lib.datasets import PairRow
from lib.datasets.university1652 import read_pair_rows
from lib.errors import DatasetError

FILES = (
    "train/drone/0839/image-02.jpeg",
    "train/drone/0839/image-01.jpeg",
    "train/satellite/0839/0839.jpg",
    "train/street/0839/1.jpg",
    "train/google/0839/01.jpg",
    "test/query_drone/0000/image-01.jpeg",
    "test/query_satellite/0000/0000.jpg",
    "test/gallery_drone/0000/image-01.jpeg",
    "test/gallery_drone/0003/image-01.jpeg",
    "test/gallery_satellite/0000/0000.jpg",
    "test/gallery_satellite/0003/0003.jpg",
    "test/gallery_satellite/0001/0001.jpg",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in FILES:
        file = tmp_path / "University-1652" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path


def test_drone_pictures_have_their_buildings_satellite_and_the_rest_of_the_gallery_stands_alone(
    root: Path,
) -> None:
    at = "University-1652/"
    train, test, gallery = (
        f"{at}train/drone/0839/",
        f"{at}test/query_drone/0000/",
        f"{at}test/gallery_satellite/",
    )
    right = f"{at}train/satellite/0839/0839.jpg"
    assert list(read_pair_rows(root)) == [
        PairRow("0839_image-01", f"{train}image-01.jpeg", right, "train", "0839"),
        PairRow("0839_image-02", f"{train}image-02.jpeg", right, "train", "0839"),
        PairRow("0000_image-01", f"{test}image-01.jpeg", f"{gallery}0000/0000.jpg", "test", "0000"),
        PairRow("0001_satellite", None, f"{gallery}0001/0001.jpg", "test", "0001"),
        PairRow("0003_satellite", None, f"{gallery}0003/0003.jpg", "test", "0003"),
    ]


def test_a_building_whose_satellite_picture_is_gone_names_where_it_was(root: Path) -> None:
    (root / "University-1652/train/satellite/0839/0839.jpg").unlink()
    assert next(read_pair_rows(root)).right == "University-1652/train/satellite/0839/0839.jpg"


def test_a_folder_without_its_gallery_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train" / "drone").mkdir(parents=True)
    with pytest.raises(DatasetError, match="no test/gallery_satellite below"):
        list(read_pair_rows(tmp_path))
