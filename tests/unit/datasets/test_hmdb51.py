"""HMDB51's reader on a miniature of its true layout: trailing spaces, unused clips, odd names."""

from pathlib import Path

import pytest

from lib.datasets import SourceItem
from lib.datasets.hmdb51 import read_items
from lib.errors import DatasetError

ODD = "#20_Rhythm_clap_u_nm_np1_fr_goo_0.avi"
BRACKETS = "50_FIRST_DATES_[cut](2)&more!_climb_f_cm_np1_ba_med_12.avi"
SHARED = "Fellowship_5_climb_stairs_f_cm_np1_ba_bad_0.avi"
LISTS = {
    "clap": f"{ODD} 1 \n",
    "climb": f"{BRACKETS} 2 \n{SHARED} 1 \n",
    "climb_stairs": f"{SHARED} 2 \nunused_climb_stairs_f_cm_bad_1.avi 0 \nlost_climb_stairs_0.avi 1 \n",
}
CLIPS = (
    f"hmdb51_org/clap/{ODD}",
    f"hmdb51_org/climb/{BRACKETS}",
    f"hmdb51_org/climb/{SHARED}",
    f"hmdb51_org/climb_stairs/{SHARED}",
    "hmdb51_org/climb_stairs/unused_climb_stairs_f_cm_bad_1.avi",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in CLIPS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    lists = tmp_path / "test_train_splits" / "testTrainMulti_7030_splits"
    lists.mkdir(parents=True)
    for label, text in LISTS.items():
        (lists / f"{label}_test_split1.txt").write_bytes(text.encode())
        (lists / f"{label}_test_split2.txt").write_bytes(text.replace(" 1 ", " 0 ").encode())
    return tmp_path


def test_each_clip_has_its_folders_class_and_its_lists_split(root: Path) -> None:
    assert list(read_items(root)) == [
        SourceItem(CLIPS[0], "clap", "train"),
        SourceItem(CLIPS[1], "climb", "test"),
        SourceItem(CLIPS[2], "climb", "train"),
        SourceItem(CLIPS[3], "climb_stairs", "test"),
        SourceItem(CLIPS[4], "climb_stairs", None),
    ]


def test_another_split_can_be_asked_for(root: Path) -> None:
    assert [item.split for item in read_items(root, split=2)] == [None, "test", None, "test", None]


def test_a_line_of_another_form_is_named(root: Path) -> None:
    file = next(root.rglob("clap_test_split1.txt"))
    file.write_text(f"{ODD} 1 \n{ODD} 7 \n")
    with pytest.raises(DatasetError, match=r"clap_test_split1\.txt, line 2 is .* 7 '"):
        list(read_items(root))


def test_without_split_files_the_error_says_what_to_unpack(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"test_train_splits\.rar"):
        list(read_items(tmp_path))
