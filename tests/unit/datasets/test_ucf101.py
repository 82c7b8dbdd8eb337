"""UCF101's reader on a miniature of its true layout: CRLF, class numbers in train lists, HandStand."""

from pathlib import Path

import pytest

from lib.datasets import SourceItem
from lib.datasets.ucf101 import read_items
from lib.errors import DatasetError

CLIPS = (
    "UCF-101/Archery/v_Archery_g01_c01.avi",
    "UCF-101/Archery/v_Archery_g08_c01.avi",
    "UCF-101/HandstandPushups/v_HandStandPushups_g01_c01.avi",
    "UCF-101/HandstandPushups/v_HandStandPushups_g09_c02.avi",
    "UCF-101/Archery/v_Archery_g99_c01.avi",
)
LISTS = {
    "classInd.txt": "3 Archery\r\n37 HandstandPushups\r\n",
    "trainlist01.txt": "Archery/v_Archery_g08_c01.avi 3\r\n"
    "HandstandPushups/v_HandStandPushups_g09_c02.avi 37\r\n",
    "testlist01.txt": "Archery/v_Archery_g01_c01.avi\r\nHandstandPushups/v_HandStandPushups_g01_c01.avi\r\n",
    "trainlist02.txt": "Archery/v_Archery_g01_c01.avi 3\r\n",
    "testlist02.txt": "Archery/v_Archery_g08_c01.avi\r\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in CLIPS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "ucfTrainTestlist").mkdir()
    for name, text in LISTS.items():
        (tmp_path / "ucfTrainTestlist" / name).write_bytes(text.encode())
    return tmp_path


def test_listed_clips_have_their_class_and_split_1(root: Path) -> None:
    assert list(read_items(root)) == [
        SourceItem("UCF-101/Archery/v_Archery_g01_c01.avi", "Archery", "test"),
        SourceItem("UCF-101/Archery/v_Archery_g08_c01.avi", "Archery", "train"),
        SourceItem("UCF-101/HandstandPushups/v_HandStandPushups_g01_c01.avi", "HandstandPushups", "test"),
        SourceItem("UCF-101/HandstandPushups/v_HandStandPushups_g09_c02.avi", "HandstandPushups", "train"),
    ]


def test_another_split_can_be_asked_for(root: Path) -> None:
    assert {item.path[-11:-4]: item.split for item in read_items(root, split=2)} == {
        "g01_c01": "train",
        "g08_c01": "test",
    }


def test_files_spelled_like_their_class_are_the_same_clips(root: Path) -> None:
    old = root / "UCF-101/HandstandPushups/v_HandStandPushups_g01_c01.avi"
    old.rename(old.with_name("v_HandstandPushups_g01_c01.avi"))
    found = {item.path: item.label for item in read_items(root)}
    assert found["UCF-101/HandstandPushups/v_HandstandPushups_g01_c01.avi"] == "HandstandPushups"


def test_of_two_copies_of_a_list_the_one_nearest_to_the_root_counts(root: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    (root / "z").mkdir()
    (root / "a" / "b" / "testlist01.txt").write_text("")
    (root / "z" / "trainlist01.txt").write_text("")
    (root / "z" / "old").mkdir()
    (root / "z" / "old" / "testlist01.txt").write_text("")
    assert len(list(read_items(root))) == 4


def test_without_its_lists_the_error_names_the_one_missed(root: Path) -> None:
    (root / "ucfTrainTestlist" / "testlist01.txt").unlink()
    with pytest.raises(DatasetError, match=r"no testlist01\.txt below"):
        list(read_items(root))
