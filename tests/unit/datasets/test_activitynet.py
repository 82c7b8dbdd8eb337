"""ActivityNet's reader on a miniature of its annotation file; videos are missing, as they are in life."""

import json
from pathlib import Path

import pytest

from lib.datasets import Segment
from lib.datasets.activitynet import ANNOTATIONS, read_items
from lib.errors import DatasetError


def entry(subset: str, duration_s: float, *annotations: tuple[float, float, str]) -> dict[str, object]:
    return {
        "subset": subset,
        "duration": duration_s,
        "resolution": "320x240",
        "url": "https://www.youtube.com/watch?v=sJn7nkB9tRA",
        "annotations": [{"segment": [start, end], "label": label} for start, end, label in annotations],
    }


DATABASE = {
    "-02DygXbn6w": entry(
        "training", 60.0, (40.5, 50.25, "Skiing"), (0.01, 9.0, "Skiing"), (9, 20, "Snowboarding")
    ),
    "sJn7nkB9tRA": entry("validation", 30.0, (20.0, 31.7, "Discus throw"), (30.0, 30.0, "Discus throw")),
    "uqiMw7tQ1Cc": entry("testing", 12.0),
    "gone_video0": entry("training", 10.0, (1, 2, "Discus throw")),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in (
        "v1-2/train/v_-02DygXbn6w.mp4",
        "v1-3/v_sJn7nkB9tRA.mkv",
        "test/v_uqiMw7tQ1Cc.webm",
        "v_mine.mp4",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    whole = {"version": "VERSION 1.3", "taxonomy": [{"nodeName": "Root"}], "database": DATABASE}
    (tmp_path / ANNOTATIONS).write_text(json.dumps(whole))
    return tmp_path


def test_videos_that_are_there_have_their_split_and_segments_in_order(root: Path) -> None:
    items = {item.path: item for item in read_items(root)}
    assert {path: item.split for path, item in items.items()} == {
        "v1-2/train/v_-02DygXbn6w.mp4": "train",
        "v1-3/v_sJn7nkB9tRA.mkv": "val",
        "test/v_uqiMw7tQ1Cc.webm": "test",
    }
    assert items["v1-2/train/v_-02DygXbn6w.mp4"].segments == (
        Segment(0.01, 9.0, "Skiing"),
        Segment(9.0, 20.0, "Snowboarding"),
        Segment(40.5, 50.25, "Skiing"),
    )


def test_the_label_is_the_one_with_most_time(root: Path) -> None:
    labels = {item.split: item.label for item in read_items(root)}
    assert labels == {"train": "Skiing", "val": "Discus throw", "test": None}


def test_segments_are_cut_to_their_video_and_empty_ones_dropped(root: Path) -> None:
    val = next(item for item in read_items(root) if item.split == "val")
    assert val.segments == (Segment(20.0, 30.0, "Discus throw"),)


@pytest.mark.parametrize("text", ["<html>", "{}", "[]"])
def test_another_file_under_its_name_is_refused(root: Path, text: str) -> None:
    (root / ANNOTATIONS).write_text(text)
    with pytest.raises(DatasetError, match="no ActivityNet JSON"):
        list(read_items(root))
