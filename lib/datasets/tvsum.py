"""TVSum: 50 YouTube videos of ten kinds; 20 users scored every two seconds from 1 to 5.

Size (671,779,858 bytes) as its server answered; no hash is published, so the server's length is what the
download is held against, and the hash seen is recorded. The archive holds `ydata-tvsum50-v1_1/` with four
zips (data, matlab, thumbnail, video). The annotations, `ydata-tvsum50.mat`, are MATLAB 7.3, which is HDF5.
There is no official split: authors use five random ones over `video_1` … `video_50`, numbered in the order of
the .mat file.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.datasets import Dataset, Licence, RemoteFile, SourceItem
from lib.datasets.folders import VIDEO_SUFFIXES, files_below, find_file
from lib.errors import DatasetError

if TYPE_CHECKING:
    import numpy as np

ANNOTATIONS = "ydata-tvsum50.mat"


def read_items(root: Path) -> Iterator[SourceItem]:
    """The annotated videos that are there, `<YouTube id>.mp4`, with the category's two letters as label."""
    labels = {entry["video"]: entry["category"] for entry in _read_entries(root, ("video", "category"))}
    for path in files_below(root, VIDEO_SUFFIXES):
        if path.stem in labels:
            yield SourceItem(str(path), labels[path.stem])


def read_user_scores(root: Path) -> "dict[str, np.ndarray]":
    """Every user's score of every frame, 1 (unimportant) to 5, by video id (the file's stem).

    Returns:
        Scores of shape (users, frames), float32. `frames` is the annotators' count, which a
        decoder may miss by a few.

    Raises:
        DatasetError: No annotations, or a video whose scores don't go with its frame count.
    """
    import numpy as np

    found = {}
    for entry in _read_entries(root, ("video", "user_anno", "nframes")):
        scores = np.asarray(entry["user_anno"], np.float32)
        if scores.ndim != 2 or scores.shape[1] != int(entry["nframes"].item()):
            raise DatasetError(
                f"{ANNOTATIONS}: video {entry['video']} has scores of shape {scores.shape} for "
                f"{int(entry['nframes'].item())} frames. Fetch the annotations again."
            )
        found[entry["video"]] = scores
    return found


def read_splits(root: Path, file: Path) -> list[dict[str, list[str]]]:
    """Random splits in the form that authors pass around: a list of `{"train_keys": […], "test_keys": […]}`.

    Returns:
        One `{"train": ids, "test": ids}` a split, with video ids for the keys `video_<n>`.
    """
    ids = [entry["video"] for entry in _read_entries(root, ("video",))]
    return [
        {
            part: [ids[int(key.removeprefix("video_")) - 1] for key in split[f"{part}_keys"]]
            for part in ("train", "test")
        }
        for split in json.loads(file.read_text(encoding="utf-8"))
    ]


def _read_entries(root: Path, fields: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    import h5py

    file = find_file(root, ANNOTATIONS)
    try:
        with h5py.File(file) as opened:
            table = opened["tvsum50"]
            for row in range(table["video"].shape[0]):
                # A MATLAB struct array: each field is a column of references, text one of UTF-16 units.
                values = {field: opened[table[field][row, 0]] for field in fields}
                yield {
                    field: "".join(map(chr, value[()].ravel())) if value.dtype.kind == "u" else value[()]
                    for field, value in values.items()
                }
    except (OSError, KeyError) as error:
        raise DatasetError(f"{file} is no TVSum annotation file ({error}). Fetch it again.") from error


DATASET = Dataset(
    name="tvsum",
    kind="video",
    title="TVSum50, title-based video summarization",
    licence=Licence(
        name="CC BY 3.0 by its README; Yahoo Webscope's terms in the archive",
        url="https://github.com/yalesong/tvsum",
        asks="The authors say that the videos are CC BY 3.0. WebscopeReadMe.txt in the archive says more: "
        "approved non-commercial academic research under a signed agreement, no passing on. Read both, "
        "decide for yourself, and cite Song et al., CVPR 2015.",
        needs_acknowledgement=True,
    ),
    files=(
        RemoteFile(
            url="https://people.csail.mit.edu/yalesong/tvsum/tvsum50_ver_1_1.tgz",
            name="tvsum50_ver_1_1.tgz",
            size_bytes=671_779_858,
            is_nested=True,
        ),
    ),
    # The archive, the zips in it, and what they hold.
    size_bytes=2_100_000_000,
    read_items=read_items,
    read_user_scores=read_user_scores,
    over_users="mean",
    notes="Scores are constant over shots of two seconds. F is the mean over the 20 users.",
)
