"""The video line's stages: what stands above each, and what enters its fingerprint.

A fingerprint is computed from the ledger and the catalog alone, without opening a file: that is how a plan
for a thousand shards takes seconds, and how a killed run knows what it had finished.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from lib.catalog import Archive
from lib.embedding.contract import Contract
from lib.lake import WHOLE, Lake, Place, fingerprint
from lib.ledger import LedgerItem


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a line. `version` goes up when its code would make something else from the same input."""

    name: str
    version: int
    upstream: tuple[str, ...]
    is_sharded: bool
    has_contract: bool
    parameters: Callable[[Archive], Any]


def _nothing(archive: Archive) -> None:
    return None


VIDEO_LINE: tuple[Stage, ...] = (
    Stage("items", 1, (), True, False, _nothing),
    Stage("frames", 2, ("items",), True, False, lambda a: a.frames.model_dump(exclude={"limit_s"})),
    Stage("frame_embeddings", 1, ("frames",), True, True, _nothing),
    Stage("centring", 1, ("frame_embeddings",), False, True, _nothing),
    Stage("clips", 1, ("frame_embeddings", "centring"), True, True, lambda a: a.clips.model_dump()),
    Stage("summaries", 1, ("frame_embeddings",), True, True, lambda a: a.summary.model_dump()),
    Stage("clip_index", 1, ("clips",), False, True, lambda a: a.index.model_dump()),
    Stage("search_report", 1, ("clip_index", "clips", "items"), False, False, _nothing),
    Stage("summary_report", 1, ("summaries", "items"), False, False, _nothing),
)
LINES: dict[str, tuple[Stage, ...]] = {"video": VIDEO_LINE}


def stage_of(archive: Archive, name: str) -> Stage:
    """A stage of the archive's line by name."""
    return next(stage for stage in LINES[archive.kind] if stage.name == name)


def place_of(archive: Archive, contract: Contract, name: str, shard: str = WHOLE) -> Place:
    """Where a stage's shard lies."""
    stage = stage_of(archive, name)
    return Place(
        archive.name, name, shard if stage.is_sharded else WHOLE, contract.id if stage.has_contract else ""
    )


class Fingerprints:
    """The fingerprints that an archive's shards should have, given its items, catalog entry and contract.

    Args:
        lake: Where it lies.
        archive: The catalog entry.
        contract: What its backbone makes.
        items: In place of the ledger's, where a plan looks ahead.
    """

    def __init__(
        self, lake: Lake, archive: Archive, contract: Contract, *, items: Sequence[LedgerItem] | None = None
    ):
        self._lake, self._archive, self._contract = lake, archive, contract
        self._known: dict[tuple[str, str], str] = {}
        self._by_shard: dict[str, list[LedgerItem]] | None = None
        if items is not None:
            ordered = sorted(items, key=lambda item: (item.shard, item.seq))
            self._by_shard = {shard: list(g) for shard, g in groupby(ordered, key=lambda item: item.shard)}
        self.shards = lake.ledger.shards(archive.name) if self._by_shard is None else list(self._by_shard)

    def of(self, name: str, shard: str = WHOLE) -> str:
        """The wanted fingerprint of one shard of a stage."""
        key = (name, shard)
        if key not in self._known:
            self._known[key] = self._compute(stage_of(self._archive, name), shard)
        return self._known[key]

    def _compute(self, stage: Stage, shard: str) -> str:
        if stage.name == "items":
            rows = [
                (i.item, i.path, i.content_hash, i.reason, i.label, i.split, i.segments, i.removed)
                for i in self._items_of(shard)
            ]
            return fingerprint(stage.name, stage.version, rows)
        if stage.name == "centring":
            return self._centring(stage)
        if stage.name == "frames":
            parts: list[Any] = self._media(shard)
        else:
            parts = [self._upstream(name, shard if stage.is_sharded else None) for name in stage.upstream]
        contract = self._contract.id if stage.has_contract or not stage.is_sharded else ""
        return fingerprint(stage.name, stage.version, stage.parameters(self._archive), contract, parts)

    def _media(self, shard: str) -> list[tuple[str, str]]:
        # What is decoded depends on contents alone: a new label or a new date re-makes no frame.
        items = self._items_of(shard)
        return [(i.item, i.content_hash) for i in items if i.content_hash and not i.removed]

    def _items_of(self, shard: str) -> Sequence[LedgerItem]:
        if self._by_shard is None:
            return self._lake.ledger.items(self._archive.name, shard)
        return self._by_shard[shard]

    def _upstream(self, name: str, shard: str | None) -> Any:
        upstream = stage_of(self._archive, name)
        if not upstream.is_sharded:
            return self.of(name)
        if shard is None:
            return [self.of(name, each) for each in self.shards]
        return self.of(name, shard)

    def _centring(self, stage: Stage) -> str:
        # Fitted once: new data doesn't move it, so the artifact that stands is the one that is wanted.
        fitted = self._lake.footer(place_of(self._archive, self._contract, stage.name))
        return (
            fitted[0]
            if fitted
            else fingerprint(stage.name, stage.version, "not fitted yet", self._contract.id)
        )
