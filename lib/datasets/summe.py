"""SumMe: 25 user videos; 15 to 18 users a video cut their own summary of it.

About 2.4 GB; neither an exact size nor a hash is published, so the server's length is what the download is
held against, and the hash seen is recorded. `videos/<name>.mp4` and `GT/<name>.mat` (MATLAB 5) go together;
names hold spaces (`Base jumping`), which some copies turn into underscores. There is no official split:
authors use five random ones over `video_1` … `video_25`, numbered by name with capitals first.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lib.datasets import Dataset, Licence, RemoteFile, SourceItem
from lib.datasets.folders import VIDEO_SUFFIXES, files_below
from lib.errors import DatasetError

if TYPE_CHECKING:
    import numpy as np


def read_items(root: Path) -> Iterator[SourceItem]:
    """The videos that have a ground truth; they have no label and no split."""
    annotated = {_key(file.stem) for file in _annotations(root)}
    for path in files_below(root, VIDEO_SUFFIXES):
        if _key(path.stem) in annotated:
            yield SourceItem(str(path))


def read_user_scores(root: Path) -> "dict[str, np.ndarray]":
    """Which frames each user took, 1 or 0, by the video's stem (the .mat file's where there is no video).

    Any score above 0 counts as taken, as in the authors' own evaluation.

    Returns:
        Scores of shape (users, frames), float32. `frames` is the annotators' count, which a
        decoder may miss by a few.

    Raises:
        DatasetError: No annotations, an unreadable one, or one whose scores don't go with its frame count.
    """
    import numpy as np
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    stems = {_key(path.stem): path.stem for path in files_below(root, VIDEO_SUFFIXES)}
    found = {}
    for file in _annotations(root):
        try:
            truth = loadmat(file, variable_names=("user_score", "nFrames"))
            scores = (np.asarray(truth["user_score"]) > 0).T.astype(np.float32)
            frames = int(truth["nFrames"].item())
        except (MatReadError, OSError, ValueError, KeyError, NotImplementedError) as error:
            raise DatasetError(f"{file} is no SumMe ground truth ({error}). Fetch it again.") from error
        if scores.shape[1] != frames:
            raise DatasetError(f"{file} has scores for {scores.shape[1]} of {frames} frames. Fetch it again.")
        found[stems.get(_key(file.stem), file.stem)] = scores
    return found


def read_splits(root: Path, file: Path) -> list[dict[str, list[str]]]:
    """Random splits in the form that authors pass around: a list of `{"train_keys": […], "test_keys": […]}`.

    Returns:
        One `{"train": names, "test": names}` a split, with the .mat files' stems for the keys `video_<n>`.
    """
    names = sorted(path.stem for path in _annotations(root))
    return [
        {
            part: [names[int(key.removeprefix("video_")) - 1] for key in split[f"{part}_keys"]]
            for part in ("train", "test")
        }
        for split in json.loads(file.read_text(encoding="utf-8"))
    ]


def _annotations(root: Path) -> list[Path]:
    found = [root / path for path in files_below(root, frozenset({".mat"})) if path.parent.name == "GT"]
    if not found:
        raise DatasetError(
            f"there is no GT/<name>.mat below {root}. Point `root` at the folder that holds SumMe's `videos` "
            "and `GT`."
        )
    return found


def _key(stem: str) -> str:
    return stem.replace(" ", "_")


DATASET = Dataset(
    name="summe",
    kind="video",
    title="SumMe, creating summaries from user videos",
    licence=Licence(
        name="no licence known to us: read the publisher's page",
        url="https://gyglim.github.io/me/vsum/index.html",
        asks="The videos are their uploaders', published as a research benchmark: use them for research, "
        "don't pass them on, and cite Gygli, Grabner, Riemenschneider and Van Gool, ECCV 2014.",
        needs_acknowledgement=True,
    ),
    files=(RemoteFile(url="https://data.vision.ee.ethz.ch/cvl/SumMe/SumMe.zip", name="SumMe.zip"),),
    size_bytes=5_000_000_000,
    read_items=read_items,
    read_user_scores=read_user_scores,
    over_users="max",
    notes="F is the largest over the users of a video.",
)
