"""Answers to queries over pairs: one side in, the other side's nearest in their shared space out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any

import numpy as np

from lib.embedding.vectors import unit
from lib.errors import LakeError, QueryError
from lib.search.published import Published
from lib.search.query import nearest_names
from lib.stages.aligner import read_aligner
from lib.stages.making import Work
from lib.stages.pair_table import folder_of

# What `--where` may ask for, as the README lists it.
WHERE_COLUMNS = ("item", "left", "right", "group", "split", "lon", "lat")
# One content may stand in several shards: so many rows are looked at for each hit wanted.
_CANDIDATES = 4
OTHER = {"left": "right", "right": "left"}


@dataclass(frozen=True, slots=True)
class SideQuery:
    """What is looked for: unit vectors of the shared space, (n, d) float32, of one side."""

    vectors: np.ndarray
    side: str
    shown: str
    # Content hash left out of the answer, where the same side is searched.
    without: str = ""


@dataclass(frozen=True, slots=True)
class PairHit:
    """One side of a pair, and how well it goes with the query (cosine in the shared space, best first)."""

    rank: int
    item: str
    side: str
    path: str
    text: str | None
    score: float
    lon: float | None
    lat: float | None
    split: str | None
    shard: str
    start_s: float | None = None
    end_s: float | None = None


class PairSearcher(Published):
    """Both sides of one archive of pairs."""

    def __init__(self, work: Work):
        super().__init__(work, "gallery_index")
        self.sides = np.array(self.rows.column("side").to_pylist(), object)

    @cached_property
    def aligner(self) -> Any:
        """The heads that the index was made with, which a later fit doesn't change."""
        footer = self._work.lake.footer(self._work.place("gallery_index"))
        if footer is None:
            raise LakeError("the index was taken away while it was asked.")
        return read_aligner(
            self._work.lake.path(self._work.place("aligner")).parent / footer[1].notes["aligner"]
        )

    def query(self, vectors: dict[str, np.ndarray], side: str, shown: str) -> SideQuery:
        """Stored or fresh vectors of one side, by name, (n, d) each, as a query."""
        from lib.alignment.features import stacked

        head = self.aligner.left if side == "left" else self.aligner.right
        named = {name: vectors[name] for name in self._work.pair.side(side).dims}
        return SideQuery(unit(head(stacked(named))), side, shown)

    def of_item(self, name: str, side: str) -> SideQuery:
        """A stored pair's side as a query.

        Raises:
            QueryError: No such pair, or it has no such side.
        """
        of_side = self.alive & (self.sides == side)
        rows = np.flatnonzero((self.names == name) & of_side)
        if not len(rows):
            values = self.rows.column(side).to_pylist()
            rows = np.array([r for r in np.flatnonzero(of_side) if _is_named(values[r], name)], np.int64)
        if not len(rows):
            row = self._sharing(name, side)
            if row is None:
                known = sorted(set(self.names[of_side].tolist()))
                near = nearest_names(name, known).partition("`dinolake")[0]
                first = f", such as {known[0]!r}" if known else ""
                raise QueryError(
                    f"no pair {name!r} with a {side} side in {self._work.archive.name!r}. {near}Give the "
                    f"name of a side's file, or a pair's id as column `item` of its items has it{first}."
                )
            rows = np.array([row])
        digest = self.rows.column("sample_hash")[int(rows[0])].as_py()
        return SideQuery(self.index.store.take(rows[:1]), side, name, without=digest)

    def _sharing(self, name: str, side: str) -> int | None:
        """The row of another pair that has the same content: it is stored once."""
        item = next(
            (
                i
                for i in self._work.lake.ledger.items(self._work.archive.name)
                if i.item == name and not i.removed
            ),
            None,
        )
        told = json.loads(item.facts).get("sides", {}) if item and item.facts else {}
        digest = told.get(side, {}).get("hash")
        if not digest:
            return None
        hashes = np.array(self.rows.column("sample_hash").to_pylist(), object)
        found = np.flatnonzero((hashes == digest) & self.alive & (self.sides == side))
        return int(found[0]) if len(found) else None

    def search(self, query: SideQuery, *, to: str, k: int, where: str | None = None) -> list[PairHit]:
        """The k best of one side, each content once.

        Raises:
            QueryError: k below 1, or `where` is no SQL condition over the pairs' columns.
        """
        if k < 1:
            raise QueryError(f"-k is {k}; ask for 1 or more hits.")
        left_out = self.sides != to
        allowed = self.allowed(where, WHERE_COLUMNS, left_out)
        if allowed is None or not allowed.any():
            return []
        vector = unit(query.vectors.mean(axis=0, keepdims=True))
        found = self.index.search(vector, k=_CANDIDATES * k + 8, allowed=allowed)
        return self._hits(query, found.ids[0], found.scores[0], k)

    def _hits(self, query: SideQuery, rows: np.ndarray, scores: np.ndarray, k: int) -> list[PairHit]:
        folder = folder_of(self._work.archive, self._work.root)
        hits: list[PairHit] = []
        seen = {query.without}
        for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
            if row < 0:
                continue
            told = {name: self.rows.column(name)[row].as_py() for name in self.rows.column_names}
            if told["sample_hash"] in seen:
                continue
            seen.add(told["sample_hash"])
            value = told[told["side"]]
            is_text = self._work.archive.pair_sides().side(told["side"]).kind == "text"
            hits.append(
                PairHit(
                    len(hits) + 1, told["item"], told["side"], "" if is_text else str(folder / value),
                    self.text(told["item"], told["shard"], told["side"]) if is_text else None,
                    round(score, 4), told["lon"], told["lat"], told["split"], told["shard"],
                )
            )  # fmt: skip
            if len(hits) == k:
                break
        return hits

    def text(self, item: str, shard: str, side: str) -> str:
        """The text of one side of a pair."""
        table = self._work.rows("items", shard, ["item", f"{side}_text"])
        texts = dict(zip(*(column.to_pylist() for column in table.columns), strict=True))
        return str(texts.get(item) or "")

    def thumbnail(self, hit: PairHit) -> bytes | None:
        """The stored JPEG of a hit's picture; None of a text."""
        return thumbnail_of(self._work, hit.side, hit.shard, self._hash(hit))

    def _hash(self, hit: PairHit) -> str:
        at = np.flatnonzero((self.names == hit.item) & (self.sides == hit.side) & self.alive)
        return str(self.rows.column("sample_hash")[int(at[0])].as_py()) if len(at) else ""


def _is_named(value: str | None, name: str) -> bool:
    """Whether a side's file is called so: its path, its name, or its name without ending."""
    return value is not None and name in (value, PurePath(value).name, PurePath(value).stem)


def thumbnail_of(work: Work, side: str, shard: str, digest: str) -> bytes | None:
    """The stored JPEG of one side's content."""
    import pyarrow.compute as pc

    for block in work.blocks(
        f"{side}_embeddings", shard, pc.field("sample_hash") == digest, ["sample_hash", "thumbnail"]
    ):
        if block.num_rows:
            stored: bytes | None = block.column("thumbnail")[0].as_py()
            return stored
    return None


def best_guess(hits: Sequence[PairHit]) -> PairHit | None:
    """The first hit that has coordinates: where a picture without GPS was taken, as far as can be told."""
    return next((hit for hit in hits if hit.lon is not None and hit.lat is not None), None)
