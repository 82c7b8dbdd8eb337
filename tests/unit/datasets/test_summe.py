"""SumMe's reader on a miniature of its true layout: MATLAB 5 files, names with spaces."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from lib.datasets import SourceItem
from lib.datasets.summe import read_items, read_splits, read_user_scores
from lib.errors import DatasetError

# Frames by users, as the files have it; a user's segments may carry any number above 0.
TAKEN = np.array([[0, 2], [1, 0], [3, 0]], np.uint8)


def write_truth(path: Path, *, frames: int = 3) -> None:
    path.parent.mkdir(exist_ok=True)
    facts = {
        "user_score": TAKEN,
        "nFrames": frames,
        "FPS": 25.0,
        "video_duration": 0.12,
        "gt_score": TAKEN.mean(1),
    }
    savemat(path, facts)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    for name in ("Base_jumping.mp4", "Cooking.mp4", "no truth.mp4"):
        (tmp_path / "videos" / name).touch()
    for name in ("Base jumping", "Cooking", "car_over_camera"):
        write_truth(tmp_path / "GT" / f"{name}.mat")
    return tmp_path


def test_videos_with_a_ground_truth_are_known_however_their_spaces_were_kept(root: Path) -> None:
    assert list(read_items(root)) == [SourceItem("videos/Base_jumping.mp4"), SourceItem("videos/Cooking.mp4")]


def test_scores_are_users_by_frames_taken_or_not_under_the_videos_own_name(root: Path) -> None:
    found = read_user_scores(root)
    assert sorted(found) == ["Base_jumping", "Cooking", "car_over_camera"]
    assert found["Cooking"].tolist() == [[0, 1, 1], [1, 0, 0]]
    assert found["Cooking"].dtype == np.float32


def test_scores_that_miss_their_frame_count_are_refused(root: Path) -> None:
    write_truth(root / "GT" / "Cooking.mat", frames=4)
    with pytest.raises(DatasetError, match=r"Cooking\.mat has scores for 3 of 4 frames"):
        read_user_scores(root)


@pytest.mark.parametrize("text", ["<html>", "<html>" * 100, ""])
def test_a_truth_that_is_no_matlab_file_is_refused(root: Path, text: str) -> None:
    (root / "GT" / "Cooking.mat").write_text(text)
    with pytest.raises(DatasetError, match=r"Cooking\.mat is no SumMe ground truth"):
        read_user_scores(root)


def test_a_folder_without_truths_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="`videos` and `GT`"):
        list(read_items(tmp_path))


def test_split_keys_count_the_names_from_1_with_capitals_first(root: Path) -> None:
    (root / "splits.json").write_text(
        json.dumps([{"train_keys": ["video_3", "video_1"], "test_keys": ["video_2"]}])
    )
    assert read_splits(root, root / "splits.json") == [
        {"train": ["car_over_camera", "Base jumping"], "test": ["Cooking"]}
    ]
