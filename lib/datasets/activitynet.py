"""ActivityNet 1.3: 20,000 untrimmed videos with timed labels of 200 activities.

The annotations are public (the address is the one that activity-net.org's download page links to; no hash is
published). The videos are YouTube's, many of them gone; the organisers give all of them out for seven days
after a form is filled in. About 223 GB, as FiftyOne's dataset zoo says.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lib.datasets import Dataset, Licence, RemoteFile, Segment, SourceItem
from lib.datasets.folders import VIDEO_SUFFIXES, files_below, find_file
from lib.errors import DatasetError

ANNOTATIONS = "activity_net.v1-3.min.json"
_URL = f"http://ec2-52-25-205-214.us-west-2.compute.amazonaws.com/files/{ANNOTATIONS}"
_FORM = "https://docs.google.com/forms/d/e/1FAIpQLSeKaFq9ZfcmZ7W0B0PbEhfbTHY41GeEgwsa7WobJgGUhn4DTQ/viewform"
_PARTS = {"training": "train", "validation": "val", "testing": "test"}


def read_items(root: Path) -> Iterator[SourceItem]:
    """The annotated videos that are there, `v_<id>.mp4` (or .mkv, .webm), with their timed labels.

    Videos that never arrived are left out. The label of a video is the one that most of its labelled time
    has; those of the test set are withheld. A hit in such a video is a moment that overlaps a segment of the
    query's class.

    Args:
        root: Folder that holds the videos and the annotations, at any depth.

    Raises:
        DatasetError: The annotations aren't there, or aren't ActivityNet's JSON.
    """
    file = find_file(root, ANNOTATIONS)
    try:
        database: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))["database"]
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{file} is no ActivityNet JSON with a `database` ({error}). Fetch {_URL} again."
        ) from error
    for path in files_below(root, VIDEO_SUFFIXES):
        entry = database.get(path.stem.removeprefix("v_"))
        if entry is not None:
            segments = _segments(entry)
            yield SourceItem(str(path), _main_label(segments), _PARTS.get(entry["subset"]), segments)


def _segments(entry: Mapping[str, Any]) -> tuple[Segment, ...]:
    # Some segments end after their video does, a few are empty once cut to it: nothing can overlap those.
    duration_s = float(entry["duration"]) or float("inf")
    found = []
    for annotation in entry["annotations"]:
        start_s, end_s = (min(max(float(t_s), 0.0), duration_s) for t_s in annotation["segment"])
        if start_s < end_s:
            found.append(Segment(start_s, end_s, annotation["label"]))
    return tuple(sorted(found, key=lambda segment: (segment.start_s, segment.end_s)))


def _main_label(segments: tuple[Segment, ...]) -> str | None:
    seconds: dict[str, float] = defaultdict(float)
    for segment in segments:
        seconds[segment.label] += segment.end_s - segment.start_s
    return max(seconds, key=lambda label: seconds[label], default=None)


DATASET = Dataset(
    name="activitynet",
    kind="video",
    title="ActivityNet 1.3, a large-scale video benchmark for human activity understanding",
    licence=Licence(
        name="the organisers' terms, shown with the request form",
        url="http://activity-net.org/download.html",
        asks="A filled-in request form; the link that comes back works for seven days. The videos are other "
        "people's YouTube uploads: use them for research, don't pass them on, cite Caba Heilbron et al., "
        "CVPR 2015.",
        needs_acknowledgement=True,
    ),
    files=(RemoteFile(url=_URL, name=ANNOTATIONS, unpack=False),),
    size_bytes=446_000_000_000,
    read_items=read_items,
    by_hand=f"The videos of ActivityNet can't be downloaded by a program: ask for them at {_FORM}, unpack "
    f"them into one folder, put {ANNOTATIONS} (from {_URL}) beside them, and set `root` to that folder.",
    notes="10,024 videos to train on, 4,926 to validate, 5,044 to test (labels withheld). Report how many "
    "were missing.",
)
