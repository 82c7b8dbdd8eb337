"""The lines by kind of archive, and the fingerprints that an archive's shards should have.

A fingerprint is computed from the ledger and the catalog alone, without opening a file: that is how a plan
for a thousand shards takes seconds, and how a killed run knows what it had finished.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from lib.catalog import Archive
from lib.embedding.contract import Contract
from lib.lake import WHOLE, Lake, Place, fingerprint
from lib.ledger import LedgerItem
from lib.stages.change_set_line import CHANGE_SET_LINE
from lib.stages.pair_contract import PairContract
from lib.stages.pair_line import PAIR_LINE
from lib.stages.scene_line import SCENE_LINE
from lib.stages.stage import Line, Stage
from lib.stages.video_line import VIDEO_LINE

LINES: dict[str, Line] = {"video": VIDEO_LINE, "scene": SCENE_LINE, "pair": PAIR_LINE}

Contracts = Contract | PairContract


def line_of(archive: Archive) -> Line:
    """The line of an archive: its kind's, or that of labelled pairs of pictures.

    Raises:
        KeyError: Archives of its kind aren't built yet: `LINES` has those that are.
    """
    return CHANGE_SET_LINE if archive.line == "change_set" else LINES[archive.kind]


def stage_of(archive: Archive, name: str) -> Stage:
    """A stage of the archive's line by name."""
    return next(stage for stage in line_of(archive).stages if stage.name == name)


def contract_id_of(stage: Stage, contract: Contracts) -> str:
    """The id of the contract that a stage's vectors have: of two sides, its own."""
    if isinstance(contract, PairContract) and stage.side:
        return contract.side(stage.side).id
    return contract.id


def place_of(archive: Archive, contract: Contracts, name: str, shard: str = WHOLE) -> Place:
    """Where a stage's shard lies."""
    stage = stage_of(archive, name)
    of = contract_id_of(stage, contract) if stage.has_contract else ""
    return Place(archive.name, name, shard if stage.is_sharded else WHOLE, of)


class Fingerprints:
    """The fingerprints that an archive's shards should have, given its items, catalog entry and contract.

    Args:
        lake: Where it lies.
        archive: The catalog entry.
        contract: What its backbone makes.
        items: In place of the ledger's, where a plan looks ahead.
    """

    def __init__(
        self, lake: Lake, archive: Archive, contract: Contracts, *, items: Sequence[LedgerItem] | None = None
    ):
        self._lake, self.archive, self._contract = lake, archive, contract
        self._known: dict[tuple[str, str], str] = {}
        self._fitted: dict[str, tuple[str, dict[str, Any]] | None] = {}
        self._all = items
        self._by_shard: dict[str, list[LedgerItem]] | None = None
        if items is not None:
            ordered = sorted(items, key=lambda item: (item.shard, item.seq))
            self._by_shard = {shard: list(g) for shard, g in groupby(ordered, key=lambda item: item.shard)}
        self.shards = lake.ledger.shards(archive.name) if self._by_shard is None else list(self._by_shard)

    @property
    def contract_id(self) -> str:
        """Of the vectors that the catalog asks for."""
        return self._contract.id

    def of(self, name: str, shard: str = WHOLE) -> str:
        """The wanted fingerprint of one shard of a stage."""
        key = (name, shard)
        if key not in self._known:
            self._known[key] = self._compute(stage_of(self.archive, name), shard)
        return self._known[key]

    def items(self, shard: str | None = None) -> Sequence[LedgerItem]:
        """Items of a shard, or all, in the order they were registered."""
        if shard is None:
            if self._all is None:
                self._all = self._lake.ledger.items(self.archive.name)
            return self._all
        if self._by_shard is None:
            return self._lake.ledger.items(self.archive.name, shard)
        return self._by_shard[shard]

    def fitted(self, name: str) -> tuple[str, dict[str, Any]] | None:
        """Fingerprint and notes of the artifact that stands; None where nothing was fitted yet."""
        if name not in self._fitted:
            footer = self._lake.footer(place_of(self.archive, self._contract, name))
            self._fitted[name] = (footer[0], footer[1].notes) if footer else None
        return self._fitted[name]

    def _compute(self, stage: Stage, shard: str) -> str:
        if stage.wanted is not None:
            return stage.wanted(self, stage, shard)
        if stage.inputs is not None:
            parts = stage.inputs(self, shard)
        else:
            parts = [self._upstream(name, shard if stage.is_sharded else None) for name in stage.upstream]
        has_contract = stage.has_contract or not stage.is_sharded
        contract = contract_id_of(stage, self._contract) if has_contract else ""
        return fingerprint(stage.name, stage.version, stage.parameters(self.archive), contract, parts)

    def _upstream(self, name: str, shard: str | None) -> Any:
        upstream = stage_of(self.archive, name)
        if not upstream.is_sharded:
            return self.of(name)
        if shard is None:
            return [self.of(name, each) for each in self.shards]
        return self.of(name, shard)
