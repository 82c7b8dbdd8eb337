"""Answers to queries: a picture, a clip or a stored item in; moments out.

The index proposes windows; late interaction decides: a window's score is the best cosine among its own
frames, so a moment isn't lost in its window's mean.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.columns import vectors_of
from lib.embedding.vectors import unit
from lib.errors import QueryError
from lib.search.published import Published
from lib.stages.making import Work

# What `--where` may ask for, as the README lists it; the index's own columns aren't promised to anyone.
WHERE_COLUMNS = (
    "item", "path", "start_s", "end_s", "duration_s", "width", "height", "codec", "fps", "has_audio", "label",
    "split",
)  # fmt: skip
# Windows looked at closely for each hit wanted: overlapping windows of one moment make one hit.
_CANDIDATES = 8


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: centred unit frame features, (n, d) float32, n = 1 for a picture."""

    features: np.ndarray
    shown: str
    # Left out of the answer: an item doesn't find itself.
    without_item: str | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A moment: where it is, and how alike (cosine, best first)."""

    rank: int
    item: str
    path: str
    score: float
    start_s: float
    end_s: float
    t_s: float
    shard: str


class Searcher(Published):
    """Moments of one archive of videos."""

    def __init__(self, work: Work):
        super().__init__(work, "clip_index")

    def of_item(self, name: str) -> Query:
        """A stored video as a query, or a moment of it: `ITEM` or `ITEM#t=12.0`.

        Raises:
            QueryError: No such item, no frame of it is stored, or the moment isn't in it.
        """
        items = self._work.lake.ledger.items(self._work.archive.name)
        known = {i.item: i for i in items if not i.removed}
        item, mark, moment = (name, "", "") if name in known else name.partition("#t=")
        if item not in known:
            is_removed = any(i.item == item for i in items)
            told = "Its file was removed." if is_removed else nearest_names(item, list(known))
            raise QueryError(f"no item {item!r} in {self._work.archive.name!r}. {told}")
        table = self._frames(known[item].shard, [item])
        if not table.num_rows:
            raise QueryError(
                f"item {item!r} has no stored frames: it was refused, or `dinolake run` hasn't come to it."
            )
        features = self.features(vectors_of(table, "cls"), vectors_of(table, "patch_mean"))
        if mark:
            times_s = table.column("t_s").to_numpy()
            nearest = np.abs(times_s - self._moment(name, item, moment, times_s)).argmin()
            features = features[nearest : nearest + 1]
        return Query(features, name, without_item=item)

    def _moment(self, name: str, item: str, moment: str, times_s: np.ndarray) -> float:
        """The time asked for, in seconds, where the item has one like it."""
        try:
            wanted_s = float(moment.split(",")[0])
        except ValueError:
            wanted_s = math.nan
        if not 0 <= wanted_s < math.inf:
            raise QueryError(f"{name!r}: after #t= comes a time in seconds, as in {item}#t=12.0")
        lengths = self.rows.column("duration_s").filter(pa.array(self.names == item)).drop_null()
        length_s = max([float(times_s.max()), *lengths.to_pylist()])
        frames = self._work.archive.frames
        step_s = 1 / frames.per_second if frames.mode == "interval" else 0.0
        if wanted_s > length_s + step_s:
            raise QueryError(f"{name!r} is past the end: {item!r} is {length_s:.1f} s long.")
        return wanted_s

    def search(self, query: Query, *, k: int, where: str | None = None) -> list[Hit]:
        """The k best moments, no two of them overlapping.

        Raises:
            QueryError: k below 1, or `where` is no SQL condition over the clips' columns.
        """
        if k < 1:
            raise QueryError(f"-k is {k}; ask for 1 or more hits.")
        left_out = None if query.without_item is None else self.names == query.without_item
        allowed = self.allowed(where, WHERE_COLUMNS, left_out)
        if allowed is not None and not allowed.any():
            return []
        vector = unit(query.features.mean(axis=0, keepdims=True))
        found = self.index.search(vector, k=_CANDIDATES * k + 8, allowed=allowed)
        return self._moments(query, found.ids[0], k)

    def _moments(self, query: Query, rows: np.ndarray, k: int) -> list[Hit]:
        candidates = self.rows.take(pa.array(rows)).to_pylist()
        frames: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for shard in sorted({row["shard"] for row in candidates}):
            wanted = sorted({row["item"] for row in candidates if row["shard"] == shard})
            frames |= self._frames_by_item(shard, wanted)
        scored = []
        for row in candidates:
            times_s, features = frames[row["item"]]
            # Half-open as the windows were cut, so that a frame on the border makes one hit and not two.
            is_last = row["end_s"] >= (row["duration_s"] or 0.0)
            inside = np.flatnonzero((times_s >= row["start_s"]) & ((times_s < row["end_s"]) | is_last))
            if not len(inside):
                continue  # its video was sampled anew, and no index has been made of that yet
            similar = query.features @ features[inside].T
            # Each frame of the query with its best match in the window, averaged; one frame: the best match.
            score = float(similar.max(axis=1).mean())
            best = inside[int(similar.max(axis=0).argmax())]
            scored.append((score, float(times_s[best]), row))
        scored.sort(key=lambda entry: (-entry[0], entry[2]["item"], entry[2]["start_s"]))
        return _without_overlaps(scored, k, self._work.root)

    def _frames_by_item(self, shard: str, items: Sequence[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        table = self._frames(shard, items)
        features = self.features(vectors_of(table, "cls"), vectors_of(table, "patch_mean"))
        names = np.array(table.column("item").to_pylist(), object)
        times_s = table.column("t_s").to_numpy()
        return {item: (times_s[names == item], features[names == item]) for item in items}

    def _frames(self, shard: str, items: Sequence[str]) -> pa.Table:
        columns = ["item", "t_s", "cls", "patch_mean"]
        return self._read("frame_embeddings", shard, columns, pc.field("item").isin(list(items)))

    def _read(self, stage: str, shard: str, columns: list[str], wanted: pc.Expression) -> pa.Table:
        return self._work.lake.read(self._work.place(stage, shard), columns, wanted)

    def windows_at(self, places: Sequence[Sequence[Any]]) -> tuple[list[int], int]:
        """How many windows hold any of each list's places (`item` and `t_s`), and how many there are."""
        starts, ends = (self.rows.column(name).to_numpy() for name in ("start_s", "end_s"))
        counts = []
        for each in places:
            holds = np.zeros(len(starts), bool)
            for place in each:
                holds |= (self.names == place.item) & (starts <= place.t_s) & (ends >= place.t_s)
            counts.append(int((holds & self.alive).sum()))
        return counts, int(self.alive.sum())

    def thumbnail(self, hit: Hit) -> bytes | None:
        """The stored JPEG of a hit's best frame."""
        wanted = (pc.field("item") == hit.item) & (pc.field("t_s") == hit.t_s)
        table = self._read("frames", hit.shard, ["t_s", "thumbnail"], wanted)
        return table.column("thumbnail")[0].as_py() if table.num_rows else None


def _without_overlaps(scored: list[tuple[float, float, dict[str, Any]]], k: int, root: Path) -> list[Hit]:
    """The best windows, each later one only where it doesn't overlap a better one of the same video."""
    hits: list[Hit] = []
    for score, t_s, row in scored:
        clashes = any(
            h.item == row["item"] and row["start_s"] < h.end_s and h.start_s < row["end_s"] for h in hits
        )
        if not clashes:
            hits.append(
                Hit(
                    len(hits) + 1, row["item"], str(root / row["path"]), round(score, 4),
                    row["start_s"], row["end_s"], t_s, row["shard"],
                )
            )  # fmt: skip
        if len(hits) == k:
            break
    return hits


def nearest_names(name: str, known: list[str]) -> str:
    """The names that someone may have meant, as a sentence."""
    import difflib

    near = difflib.get_close_matches(name, known, n=3)
    return (
        f"Near: {', '.join(near)}."
        if near
        else "`dinolake archives` lists archives; items are file names without ending."
    )
