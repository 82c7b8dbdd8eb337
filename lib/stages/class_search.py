"""Class search, for archives with labels: does a video, or a labelled stretch of one, find its like?

With splits, as the protocols say: queries are the test side, the gallery is the training side. Without, every
video is a query against all others. Untrimmed videos (those with labelled segments) stand in the gallery as
windows, and a hit is a window that overlaps a segment of the class.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.columns import vectors_of
from lib.embedding.vectors import unit
from lib.metrics import FirstHits, Gallery, class_hits
from lib.stages.centring import centred, frame_features, read_centre
from lib.stages.clips import windows
from lib.stages.items import OK
from lib.stages.making import Work

_QUERY_SPLITS = ("test", "val", "validation")


@dataclass(slots=True)
class _Unit:
    """A stretch of video with its two vectors; `labels` are the classes that it shows."""

    item: str
    start_s: float
    end_s: float
    labels: frozenset[str]
    ours: np.ndarray
    naive: np.ndarray


@dataclass(frozen=True, slots=True)
class ClassSearch:
    """First hits of both methods over the same queries and gallery."""

    ours: FirstHits
    naive: FirstHits
    queries: int
    gallery: int
    classes: int
    is_split: bool
    is_untrimmed: bool


def measure_class_search(work: Work) -> ClassSearch | None:
    """Search every query for its class; None where the archive has no labels to ask about."""
    queries, gallery = _collect(work)
    names = sorted({label for unit_ in gallery[0] for label in unit_.labels})
    asked = [unit_ for unit_ in queries if unit_.labels & set(names)]
    if not asked or len(names) < 2:
        return None
    column = {name: at for at, name in enumerate(names)}
    shows = np.zeros((len(gallery[0]), len(names)), bool)
    for row, unit_ in enumerate(gallery[0]):
        shows[row, [column[label] for label in unit_.labels]] = True
    classes = np.array([column[min(unit_.labels & set(names))] for unit_ in asked])
    is_split = gallery[1]
    groups = None if is_split else np.array([unit_.item for unit_ in asked])
    in_gallery = np.array([unit_.item for unit_ in gallery[0]])

    def hits(name: str) -> FirstHits:
        stacked = Gallery(np.stack([getattr(unit_, name) for unit_ in gallery[0]]), shows, in_gallery)
        return class_hits(
            np.stack([getattr(unit_, name) for unit_ in asked]), classes, stacked, groups=groups
        )

    return ClassSearch(
        hits("ours"), hits("naive"), len(asked), len(gallery[0]), len(names), is_split, gallery[2]
    )


def _collect(work: Work) -> tuple[list[_Unit], tuple[list[_Unit], bool, bool]]:
    queries: list[_Unit] = []
    gallery: list[_Unit] = []
    items = [row for shard in work.shards("search_report") for row in _good_items(work, shard)]
    is_split = {row["split"] == "train" for row in items} == {True, False} and any(
        row["split"] in _QUERY_SPLITS for row in items
    )
    is_untrimmed = any(row["segments"] for row in items)
    for shard in work.shards("search_report"):
        for row, times_s, ours, naive in _features(work, shard):
            is_query = row["split"] in _QUERY_SPLITS if is_split else True
            is_gallery = row["split"] == "train" if is_split else True
            if is_query:
                queries += _queries(row, times_s, ours, naive)
            if is_gallery:
                gallery += _gallery(work, row, times_s, ours, naive)
    return queries, (gallery, is_split, is_untrimmed)


def _good_items(work: Work, shard: str) -> list[dict[str, Any]]:
    columns = ["item", "label", "split", "segments", "duration_s", "verdict", "removed"]
    rows = work.rows("items", shard, columns).to_pylist()
    return [
        row
        for row in rows
        if row["verdict"] == OK and not row["removed"] and (row["label"] or row["segments"])
    ]


def _features(work: Work, shard: str) -> Iterator[tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray]]:
    items = {row["item"]: row for row in _good_items(work, shard)}
    table = work.rows("frame_embeddings", shard, ["item", "t_s", "cls", "patch_mean"])
    if not items or not table.num_rows:
        return
    centre = read_centre(work)
    names, times_s = np.array(table.column("item").to_pylist(), object), table.column("t_s").to_numpy()
    cls, patch_mean = vectors_of(table, "cls"), vectors_of(table, "patch_mean")
    for name, row in items.items():
        at = np.flatnonzero(names == name)
        if len(at):
            ours = centred(frame_features(cls[at], patch_mean[at]), centre)
            yield row, times_s[at], ours, cls[at].astype(np.float32)


def _queries(row: dict[str, Any], times_s: np.ndarray, ours: np.ndarray, naive: np.ndarray) -> list[_Unit]:
    segments = row["segments"] or [{"start_s": 0.0, "end_s": np.inf, "label": row["label"]}]
    units = [
        _unit(row["item"], s["start_s"], s["end_s"], {s["label"]}, times_s, ours, naive) for s in segments
    ]
    return [found for found in units if found is not None]


def _gallery(
    work: Work, row: dict[str, Any], times_s: np.ndarray, ours: np.ndarray, naive: np.ndarray
) -> list[_Unit]:
    if not row["segments"]:
        return _queries(row, times_s, ours, naive)
    units = []
    for start_s, end_s in windows(max(row["duration_s"] or 0.0, float(times_s[-1])), work.archive.clips):
        labels = {s["label"] for s in row["segments"] if min(end_s, s["end_s"]) > max(start_s, s["start_s"])}
        units.append(_unit(row["item"], start_s, end_s, labels, times_s, ours, naive))
    return [found for found in units if found is not None]


def _unit(
    item: str, start_s: float, end_s: float, labels: set[str],
    times_s: np.ndarray, ours: np.ndarray, naive: np.ndarray,
) -> _Unit | None:  # fmt: skip
    inside = (times_s >= start_s) & (times_s <= end_s)
    if not inside.any():
        return None
    a_second = inside & naive_rows(times_s)
    chosen = naive[a_second if a_second.any() else inside]
    return _Unit(
        item, start_s, end_s, frozenset(labels),
        unit(ours[inside].mean(axis=0, keepdims=True))[0], unit(chosen.mean(axis=0, keepdims=True))[0],
    )  # fmt: skip


def naive_rows(times_s: np.ndarray) -> np.ndarray:
    """The frames that the original design would have taken: the first of every second. Bool, (frames,)."""
    seconds = np.floor(times_s + 1e-6)
    return np.diff(seconds, prepend=-1.0) > 0
