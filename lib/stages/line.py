"""The lines by kind of archive, and the fingerprints that an archive's shards should have.

A fingerprint is computed from the ledger and the catalog alone, without opening a file: that is how a plan
for a thousand shards takes seconds, and how a killed run knows what it had finished.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any

from lib.catalog import Archive
from lib.embedding.contract import Contract
from lib.lake import WHOLE, Lake, Mark, Place, fingerprint
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
        self._known: dict[tuple[str, str], Mark] = {}
        self._once: dict[Hashable, Any] = {}
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

    def of(self, name: str, shard: str = WHOLE) -> Mark:
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

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What was made under this key, or is made now: for what many shards' fingerprints share."""
        if key not in self._once:
            self._once[key] = make()
        return self._once[key]

    @cached_property
    def _failed(self) -> dict[str, set[str]]:
        """Stage -> shards that couldn't be made of what stands at their source now."""
        failed: dict[str, set[str]] = {}
        known = {stage.name: stage for stage in line_of(self.archive).stages}
        for failure in self._lake.ledger.failures(self.archive.name):
            stage = known.get(failure.stage)
            if stage is None or not stage.is_sharded or failure.shard not in self.known:
                continue
            contract = contract_id_of(stage, self._contract) if stage.has_contract else ""
            if (failure.contract, failure.fingerprint) == (contract, self.of(stage.name, failure.shard)):
                failed.setdefault(failure.stage, set()).add(failure.shard)
        return failed

    @cached_property
    def quarantined(self) -> dict[str, str]:
        """Shards that aren't tried again till what stands at their source changes, and why."""
        return {
            failure.shard: failure.reason
            for failure in self._lake.ledger.failures(self.archive.name)
            if failure.is_quarantined and failure.shard in self._failed.get(failure.stage, ())
        }

    @cached_property
    def known(self) -> frozenset[str]:
        """Every shard that holds an item."""
        return frozenset(self.shards)

    def shards_for(self, name: str) -> list[str]:
        """The shards that a stage over all of them is made from: without those that failed above it."""
        if not self._failed:
            return self.shards
        above, following = set[str](), [name]
        while following:
            stage = following.pop()
            above.add(stage)
            following.extend(stage_of(self.archive, stage).upstream)
        left_out = set().union(*(self._failed.get(stage, ()) for stage in above))
        return [shard for shard in self.shards if shard not in left_out]

    def _compute(self, stage: Stage, shard: str) -> Mark:
        # The same for all shards of a stage, and dear beside the rest.
        contract, parameters, told = self.once(("stage", stage.name), lambda: self._told(stage))
        if stage.wanted is not None:
            mark = stage.wanted(self, stage, shard)
            return Mark(mark, told | {"inputs": mark})
        if stage.inputs is not None:
            parts = stage.inputs(self, shard)
        else:
            of = shard if stage.is_sharded else None
            parts = [self._upstream(name, of, stage.name) for name in stage.upstream]
        mark = fingerprint(stage.name, stage.version, parameters, contract, parts)
        return Mark(mark, told | {"contract": contract, "inputs": fingerprint(parts)})

    def _told(self, stage: Stage) -> tuple[str, Any, dict[str, str]]:
        has_contract = stage.has_contract or not stage.is_sharded
        contract = contract_id_of(stage, self._contract) if has_contract else ""
        parameters = stage.parameters(self.archive)
        told = {"version": str(stage.version), "parameters": fingerprint(parameters)}
        return contract, parameters, told

    def _upstream(self, name: str, shard: str | None, below: str) -> Any:
        upstream = stage_of(self.archive, name)
        if not upstream.is_sharded:
            return self.of(name)
        if shard is None:
            return [self.of(name, each) for each in self.shards_for(below)]
        return self.of(name, shard)
