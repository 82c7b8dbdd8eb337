"""TVSum's reader on the real annotations, and on a miniature of them in MATLAB 7.3's own form."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from lib.datasets import SourceItem
from lib.datasets.tvsum import ANNOTATIONS, read_items, read_splits, read_user_scores
from lib.errors import DatasetError

SCORES = {"-esJrBWj2d8": np.array([[1, 1, 5], [2, 2, 4]]), "AwmHb44_ouw": np.array([[3, 4], [5, 5]])}


def write_mat(path: Path, *, frames_off_by: int = 0) -> None:
    """A struct array `tvsum50`: each field a column of references, text a column of UTF-16 units."""
    with h5py.File(path, "w") as file:
        table = {field: [] for field in ("video", "category", "user_anno", "nframes")}
        for row, (video, scores) in enumerate(SCORES.items()):
            text = {"video": video, "category": "BT"}
            values = {
                field: np.array([[ord(letter)] for letter in word], np.uint16) for field, word in text.items()
            }
            values |= {
                "user_anno": scores.astype(float),
                "nframes": np.array([[scores.shape[1] + frames_off_by]], float),
            }
            for field, value in values.items():
                table[field].append(file.create_dataset(f"#refs#/{field}{row}", data=value).ref)
        for field, references in table.items():
            column = np.array([[reference] for reference in references], dtype=h5py.ref_dtype)
            file.create_dataset(f"tvsum50/{field}", data=column, dtype=h5py.ref_dtype)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    inside = tmp_path / "ydata-tvsum50-v1_1"
    for path in (
        "video/AwmHb44_ouw.mp4",
        "video/other.mp4",
        "thumbnail/-esJrBWj2d8.jpg",
        f"matlab/{ANNOTATIONS}",
    ):
        (inside / path).parent.mkdir(parents=True, exist_ok=True)
        (inside / path).touch()
    write_mat(inside / "matlab" / ANNOTATIONS)
    return tmp_path


def test_annotated_videos_that_are_there_have_their_category(root: Path) -> None:
    assert list(read_items(root)) == [SourceItem("ydata-tvsum50-v1_1/video/AwmHb44_ouw.mp4", "BT")]


def test_scores_are_users_by_frames(root: Path) -> None:
    found = read_user_scores(root)
    assert {video: scores.tolist() for video, scores in found.items()} == {
        v: s.tolist() for v, s in SCORES.items()
    }
    assert {scores.dtype for scores in found.values()} == {np.dtype(np.float32)}


def test_scores_that_miss_their_frame_count_are_refused(root: Path) -> None:
    write_mat(next(root.rglob(ANNOTATIONS)), frames_off_by=1)
    with pytest.raises(DatasetError, match="video -esJrBWj2d8 has scores of shape"):
        read_user_scores(root)


def test_another_file_under_its_name_is_refused(root: Path) -> None:
    next(root.rglob(ANNOTATIONS)).write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(DatasetError, match="no TVSum annotation file"):
        read_user_scores(root)


@pytest.mark.real_data
def test_the_published_scores_average_to_the_published_ground_truth(real_data: Path) -> None:
    found = read_user_scores(real_data / "tvsum")
    with h5py.File(real_data / "tvsum" / ANNOTATIONS) as file:
        truths = [file[reference][()].ravel() for reference in file["tvsum50/gt_score"][:, 0]]
    assert [scores.shape for scores in found.values()] == [(20, truth.size) for truth in truths]
    for scores, truth in zip(found.values(), truths, strict=True):
        np.testing.assert_allclose(scores.mean(axis=0), truth, atol=1e-5)


@pytest.mark.real_data
def test_the_usual_splits_part_the_50_videos_40_to_10(real_data: Path) -> None:
    videos = set(read_user_scores(real_data / "tvsum"))
    splits = read_splits(real_data / "tvsum", real_data / "tvsum" / "tvsum_splits.json")
    assert [(len(split["train"]), len(split["test"])) for split in splits] == [(40, 10)] * 5
    assert all(set(split["train"]) | set(split["test"]) == videos for split in splits)


def test_split_keys_count_the_videos_from_1_in_the_files_order(root: Path) -> None:
    (root / "splits.json").write_text(json.dumps([{"train_keys": ["video_2"], "test_keys": ["video_1"]}]))
    assert read_splits(root, root / "splits.json") == [{"train": ["AwmHb44_ouw"], "test": ["-esJrBWj2d8"]}]
