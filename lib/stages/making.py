"""How a stage makes a shard: under its lock, only if its fingerprint doesn't stand, whole or not at all."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lib.catalog import Archive
from lib.embedding.backbones import contract_of
from lib.embedding.contract import Contract
from lib.errors import AlignerError, IndexMissingError, LakeError
from lib.lake import ROW_GROUP, WHOLE, Facts, Lake, Mark, Place, ShardWriter, fingerprint
from lib.ledger import LedgerItem
from lib.search.saved import Manifest, read_whole
from lib.stages.line import Contracts, Fingerprints, place_of, stage_of
from lib.stages.pair_contract import PairContract, pair_contract
from lib.stages.sources import root_of

# Written last beside a report's two files: the fingerprint it was made for, and its facts.
REPORT_MADE = "made.json"


@dataclass(frozen=True)
class Work:
    """One archive in one lake under the contract that the catalog asks for: what every stage is given."""

    lake: Lake
    archive: Archive
    # In place of the ledger's, where a plan looks ahead.
    items: Sequence[LedgerItem] | None = None

    @cached_property
    def contract(self) -> Contract:
        """The contract that the catalog entry's backbone and preprocessing make."""
        chosen = self.archive.embedding
        return contract_of(chosen.backbone, size_px=chosen.size_px, pooling=self.archive.pooling())

    @cached_property
    def pair(self) -> PairContract:
        """The contracts of a pair archive's sides, and of the space that they share."""
        return pair_contract(self.archive)

    @property
    def contracts(self) -> Contracts:
        """What the archive's indexed vectors have: its contract, or that of the shared space."""
        return self.pair if self.archive.kind == "pair" else self.contract

    @cached_property
    def prints(self) -> Fingerprints:
        """The fingerprints wanted, as the ledger stood when this was first asked."""
        return Fingerprints(self.lake, self.archive, self.contracts, items=self.items)

    @property
    def root(self) -> Path:
        """The folder of the sources."""
        return root_of(self.archive, self.lake)

    def shards(self, stage: str) -> list[str]:
        """The shards that a stage over all of them is made from, as they stand now.

        One that failed above it stops nothing, and one whose files are behind their source waits.
        """
        behind = self.behind(stage)
        return [shard for shard in self.prints.shards_for(stage) if shard not in behind]

    def behind(self, stage: str) -> set[str]:
        """What a stage over all shards stands on that isn't up to date: shards, and whole stages."""
        found: set[str] = set()
        shards = self.prints.shards_for(stage)
        for name in stage_of(self.archive, stage).upstream:
            if not stage_of(self.archive, name).is_sharded:
                found |= set() if self.is_current(name) else {name}
                continue
            standing = self.standing(name)
            for shard in shards:
                made = standing.get(shard)
                if made is None or made[0] != self.prints.of(name, shard):
                    found.add(shard)
        return found

    def mark(self, stage: str) -> Mark:
        """The fingerprint of a stage over all shards made now: not the wanted one while some are behind."""
        wanted, behind = self.prints.of(stage), self.behind(stage)
        return Mark(fingerprint(wanted, sorted(behind)), wanted.parts) if behind else wanted

    def place(self, stage: str, shard: str = WHOLE) -> Place:
        """Where a stage's shard lies."""
        return place_of(self.archive, self.contracts, stage, shard)

    def done(self, stage: str, shard: str = WHOLE) -> Facts | None:
        """The facts of a shard that is up to date, as kept; None when it has to be made."""
        place = self.place(stage, shard)
        facts = self.lake.done(place, self.prints.of(stage, shard))
        if facts is None or artifact_fault(self.lake.path(place).parent, stage, facts):
            return None
        return as_kept(facts)

    def is_current(self, stage: str, shard: str = WHOLE) -> bool:
        """Whether a shard, or a report, is what it would be if it were made now."""
        return self.current(stage, shard) is not None

    def is_made(self, stage: str, shard: str = WHOLE) -> bool:
        """Whether something stands there, up to date or not."""
        if stage.endswith("_report"):
            return (self.lake.folder(self.archive.name, stage) / "report.json").is_file()
        return self.lake.path(self.place(stage, shard)).is_file()

    def is_whole(self, stage: str, shard: str = WHOLE) -> bool:
        """Whether what stands there can be read."""
        if stage.endswith("_report"):
            return True
        place = self.place(stage, shard)
        footer = self.lake.footer(place)
        if footer is None:
            return False
        return not artifact_fault(self.lake.path(place).parent, stage, footer[1])

    def current_shards(self, stage: str) -> dict[str, Facts]:
        """The shards of a stage that are up to date, all told at once, with their facts as made."""
        return {
            shard: made[1]
            for shard, made in self.standing(stage).items()
            if made is not None and shard in self.prints.known and made[0] == self.prints.of(stage, shard)
        }

    def kept_of(self, stage: str, shards: Collection[str]) -> Iterator[Facts]:
        """The facts, as kept, of shards or of a stage in one piece that are up to date."""
        if not stage_of(self.archive, stage).is_sharded:
            yield from (self.current(stage) or Facts() for _ in shards)
            return
        current = self.current_shards(stage)
        yield from (as_kept(current[shard]) for shard in shards if shard in current)

    def made(self, stage: str) -> Facts | None:
        """The facts of what stands of a stage made in one piece, up to date or not."""
        if stage.endswith("_report"):
            try:
                note = self.lake.folder(self.archive.name, stage) / REPORT_MADE
                return Facts(**json.loads(note.read_text(encoding="utf-8"))["facts"])
            except (OSError, ValueError, KeyError, TypeError):
                return None
        place = self.place(stage)
        footer = self.lake.footer(place)
        return (
            footer[1]
            if footer and not artifact_fault(self.lake.path(place).parent, stage, footer[1])
            else None
        )

    def standing(self, stage: str) -> dict[str, tuple[str, Facts] | None]:
        """What stands of a sharded stage: shard -> fingerprint and facts, None for a damaged file."""
        place = self.place(stage)
        return self.lake.standing(place.archive, place.stage, place.contract)

    def current(self, stage: str, shard: str = WHOLE) -> Facts | None:
        """The facts, as kept, of a shard or a report that is up to date; None when it has to be made."""
        if not stage.endswith("_report"):
            return self.done(stage, shard)
        note = self.lake.folder(self.archive.name, stage) / REPORT_MADE
        try:
            made = json.loads(note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return as_kept(Facts(**made["facts"])) if made["fingerprint"] == self.prints.of(stage) else None

    def rows(self, stage: str, shard: str = WHOLE, columns: list[str] | None = None) -> pa.Table:
        """A committed shard's rows."""
        return self.lake.read(self.place(stage, shard), columns)

    def former(self, stage: str, shard: str) -> tuple[pa.Table, Facts] | None:
        """What the shard held before, current or not: samples that still stand in it are kept."""
        place = self.place(stage, shard)
        footer = self.lake.footer(place)
        return (self.lake.read(place), footer[1]) if footer else None

    def former_rows(self, stage: str, shard: str, columns: list[str]) -> pa.Table | None:
        """Some columns of what the shard held before; None where there is no whole file."""
        place = self.place(stage, shard)
        return self.lake.read(place, columns) if self.lake.footer(place) else None

    def blocks(
        self, stage: str, shard: str, wanted: pc.Expression | None = None, columns: list[str] | None = None
    ) -> Iterator[pa.Table]:
        """A committed shard's rows that answer a condition, a row group at a time."""
        return self.lake.blocks(self.place(stage, shard), wanted, columns)


def artifact_fault(folder: Path, stage: str, facts: Facts) -> str:
    """What is wrong with what a file stands for beside its rows, an index or heads; "" where nothing is."""
    if "index" in facts.notes:
        return index_fault(folder, facts)
    if stage != "aligner":
        return ""
    from lib.alignment.heads import Aligner

    try:
        Aligner.open(folder / facts.notes["aligner"] / facts.notes["chosen"])
    except AlignerError as error:
        return str(error)
    is_told = all((folder / facts.notes["aligner"] / name).is_file() for name in facts.notes["files"])
    return "" if is_told else "a part of it is gone"


def index_fault(folder: Path, facts: Facts) -> str:
    """What is missing of the index that a `clip_index` file names; "" where it is there whole."""
    try:
        read_whole(folder / facts.notes["index"], Manifest.read)
    except (IndexMissingError, LakeError) as error:
        return str(error)
    return ""


def as_kept(facts: Facts) -> Facts:
    """A committed shard's facts, seen from a run that left it as it was."""
    return replace(facts, made=0, kept=facts.rows, seconds=0.0)


def ensure(
    work: Work,
    stage: str,
    shard: str,
    schema: pa.Schema,
    fill: Callable[[ShardWriter], None],
    *,
    row_group: int = ROW_GROUP,
) -> Facts:
    """Make a shard unless it is up to date; `fill` writes its rows and counts them."""
    place = work.place(stage, shard)
    with work.lake.lock(place):
        # Asked again under the lock: another run may have made it while this one waited.
        if facts := work.done(stage, shard):
            return facts
        mark = work.prints.of(stage, shard)
        with work.lake.writing(place, schema, mark, row_group=row_group) as writer:
            fill(writer)
        return writer.facts
