"""Out of every file of a lake: what stands of items that the ledger was told to drop.

First a note of the shards, then the ledger, then the files: whatever is killed in between, the next `gc`
finds the note and goes on. What a run has made again by then is clean; what it couldn't is struck here.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lib.catalog import Archive
from lib.errors import DinolakeError
from lib.forget import PURGE_NOTE, purged_shards, register_lock
from lib.lake import WHOLE, Facts, Lake, Mark, Place, fingerprint, write_whole
from lib.ledger import LedgerItem
from lib.serving import INDEX_STAGES, contracts_by_stage, served
from lib.stages.line import line_of
from lib.stages.making import Work
from lib.stages.sources import root_of
from lib.stages.stage import Stage

# Columns that name an item; a tile keeps its fit when the scene that it was fitted on goes, not the name.
_ITEM_COLUMNS = ("item", "before_item")
_FITTED_ON = "fitted_on"
# Notes that stages can't go on without: how frames were sampled, which index, which heads.
_KEPTPURGE_NOTES = (
    "sampling", "index", "settings", "kind", "recall", "dim", "aligner", "chosen", "tiles", "tried", "files",
    "facts", "pairs", "runtime", "duration_s",
)  # fmt: skip


def begin(lake: Lake, archive: Archive, items: Iterable[LedgerItem]) -> None:
    """Drop items from the ledger, and what was downloaded of them; the note of their shards comes first."""
    every = list(items)
    if not every:
        return
    root = root_of(archive, lake)
    with register_lock(lake, archive.name):
        shards = sorted({item.shard for item in every} | set(purged_shards(lake, archive.name)))
        write_whole(lake.root / archive.name / PURGE_NOTE, json.dumps(shards))
        lake.ledger.drop_items(archive.name, [item.item for item in every])
        for shard in (*shards, WHOLE):
            # Why a shard failed may name a file.
            lake.ledger.clear_failures(archive.name, shard)
        if root.is_relative_to(lake.root):
            for item in every:
                (root / item.path).unlink(missing_ok=True)
                (root / item.path).with_suffix(".json").unlink(missing_ok=True)


def finish(lake: Lake, archive: Archive) -> int:
    """Go through the files of an archive and take out what the ledger doesn't know; files changed or removed.

    Raises:
        LakeError: A file can't be read or written; the next call goes on from there.
    """
    shards, name = set(purged_shards(lake, archive.name)), archive.name
    if not shards:
        return 0
    standing = {item.item: item.path for item in lake.ledger.items(name)}
    kept = _kept_contracts(lake, archive)
    changed = 0
    for stage in line_of(archive).stages:
        # What is written here is in a lake on S3 when its stage is let go of.
        with lake.lock(Place(name, stage.name, "gc")):
            changed += _go_through(lake, archive, stage, kept.get(stage.name), shards, standing)
    _drop_leftovers(lake, archive)
    lake.ledger.vacuum()
    lake.remove(lake.root / name / PURGE_NOTE)
    return changed


def _go_through(
    lake: Lake, archive: Archive, stage: Stage, kept: set[str] | None, shards: set[str],
    standing: dict[str, str],
) -> int:  # fmt: skip
    """One stage under all its contracts; files changed or removed."""
    folder, changed = lake.folder(archive.name, stage.name), 0
    if not standing:
        # The mean of what is gone is no longer that of anything.
        return _drop_stage(lake, archive.name, stage, folder)
    if stage.name.endswith("_report"):
        return _strike_report(lake, archive, stage)
    for contract in sorted(_contracts(stage, folder)):
        if contract and kept is not None and contract not in kept:
            # Nothing answers by it, and nothing will make it anew.
            _drop_contract(lake, archive.name, stage.name, folder / contract)
            changed += 1
        else:
            place = Place(archive.name, stage.name, WHOLE, contract)
            changed += _strike_stage(lake, place, stage, shards, standing)
    return changed


def _contracts(stage: Stage, folder: Path) -> set[str]:
    if not stage.has_contract:
        return {""}
    return {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()


def _kept_contracts(lake: Lake, archive: Archive) -> dict[str, set[str]]:
    """Stage -> the contracts that the catalog asks for and that answer; {} where that can't be told."""
    try:
        told = [contracts_by_stage(Work(lake, archive))]
        if archive.line in INDEX_STAGES:
            told.append(contracts_by_stage(served(lake, archive)))
    except DinolakeError:
        return {}  # all are gone through, and none is dropped
    return {stage: {each[stage] for each in told if stage in each} for stage in told[0]}


def _drop_stage(lake: Lake, name: str, stage: Stage, folder: Path) -> int:
    """All of a stage, of an archive that has no item left."""
    for contract in _contracts(stage, folder):
        for shard in lake.ledger.stage(name, stage.name, contract):
            lake.ledger.drop_stage(name, stage.name, contract, shard)
    is_there = folder.is_dir()
    lake.remove(folder)
    return int(is_there)


def _drop_contract(lake: Lake, name: str, stage: str, folder: Path) -> None:
    for shard in lake.ledger.stage(name, stage, folder.name):
        lake.ledger.drop_stage(name, stage, folder.name, shard)
    lake.remove(folder)


def _strike_stage(lake: Lake, place: Place, stage: Stage, shards: set[str], standing: dict[str, str]) -> int:
    """One stage under one contract: files of the noted shards, and what was made over all."""
    changed = 0
    folder = lake.path(place).parent
    alive = set(lake.ledger.shards(place.archive))
    if not stage.is_sharded and stage.name not in INDEX_STAGES.values():
        changed += _strike_file(lake, place, standing)
    # A change names the earlier scene that it was told from, which another shard holds.
    through = shards | alive if stage.name == "changes" else shards
    for shard in sorted(through) if stage.is_sharded else ():
        each = Place(place.archive, place.stage, shard, place.contract)
        if shard in alive:
            changed += _strike_file(lake, each, standing)
        else:
            changed += lake.path(each).is_file()
            lake.remove(lake.path(each))
            lake.ledger.drop_stage(each.archive, each.stage, each.contract, shard)
    if stage.name in INDEX_STAGES.values():
        changed += _strike_index(lake, place, standing)
        _drop_folders(lake, place, "index")
    elif stage.name == "aligner":
        changed += _strike_trained(folder, standing)
        _drop_folders(lake, place, "aligner")
    elif stage.name == "land_cover" and folder.is_dir():
        changed += _strike_maps(lake, place, folder)
    return changed


def _strike_file(lake: Lake, place: Place, standing: dict[str, str]) -> int:
    """Write a shard anew without rows of items that aren't known any more; 1 where there were any."""
    path = lake.path(place)
    with lake.lock(place):
        footer = lake.footer(place)
        if footer is None:
            # Damaged, or not there: whatever is in it can't be told.
            is_there = path.is_file()
            lake.remove(path)
            return int(is_there)
        file = pq.ParquetFile(path)
        columns = [name for name in (*_ITEM_COLUMNS, _FITTED_ON) if name in file.schema_arrow.names]
        told = file.read(columns) if columns else pa.table({})
        strange = [name for name in columns if not _known(told.column(name), standing).all()]
        facts, paths = footer[1], set(standing.values())
        told_of = {*facts.reasons, *_named_in(facts.notes)}
        if not strange and told_of <= paths | set(standing):
            return 0
        schema = _without_marks(file.schema_arrow)
        mark = Mark(fingerprint(footer[0], "struck"), {})
        if place.stage == "tiles":
            mark = Mark(footer[0], facts.parts)  # what it was fitted on is no part of the fit
        group = max(1, file.metadata.row_group(0).num_rows) if file.metadata.num_row_groups else 1
        with lake.writing(place, schema, mark, row_group=group) as writer:
            for at in range(file.metadata.num_row_groups):
                rows = _struck(file.read_row_group(at), standing)
                writer.write(rows)
                writer.facts.kept += rows.num_rows
            writer.facts.rejected = facts.rejected
            writer.facts.reasons = {k: v for k, v in facts.reasons.items() if k in paths or k in standing}
            writer.facts.notes = _notes(facts, standing)
    return 1


def _known(column: pa.ChunkedArray, standing: dict[str, str]) -> Any:
    """Mask of the rows that name an item the ledger has, or none."""
    values = pa.array(list(standing), pa.string())
    known = pc.or_(pc.is_in(column, value_set=values), pc.fill_null(pc.equal(column, ""), True))
    return known.to_numpy(zero_copy_only=False)


def _struck(rows: pa.Table, standing: dict[str, str]) -> pa.Table:
    for name in _ITEM_COLUMNS:
        if name in rows.column_names:
            rows = rows.filter(pa.array(_known(rows.column(name), standing)))
    if _FITTED_ON in rows.column_names:
        known = _known(rows.column(_FITTED_ON), standing)
        told = pc.if_else(pa.array(known), rows.column(_FITTED_ON), "")
        rows = rows.set_column(rows.column_names.index(_FITTED_ON), rows.schema.field(_FITTED_ON), told)
    return rows


def _without_marks(schema: pa.Schema) -> pa.Schema:
    """A schema with what geography says of it, and without the footer's own notes."""
    told = {k: v for k, v in (schema.metadata or {}).items() if not k.startswith((b"dinolake.", b"ARROW:"))}
    return schema.with_metadata(told or None)


def _named_in(told: Any) -> Iterator[str]:
    """Items that notes name, wherever they do."""
    for key, value in told.items() if isinstance(told, dict) else ():
        if key in ("item", "before") and isinstance(value, str):
            yield value
        elif key == "failed" and isinstance(value, dict):
            yield from value
        for one in value if isinstance(value, list) else [value]:
            yield from _named_in(one)


def _notes(facts: Facts, standing: dict[str, str]) -> dict[str, Any]:
    kept = {name: value for name, value in facts.notes.items() if name in _KEPTPURGE_NOTES}
    if isinstance(facts.notes.get("failed"), dict):
        kept["failed"] = {item: why for item, why in facts.notes["failed"].items() if item in standing}
    return kept


def _strike_index(lake: Lake, place: Place, standing: dict[str, str]) -> int:
    """Build an index anew from its own vectors, without those of items that aren't known any more."""
    from lib.stages.struck_index import rebuild_without

    with lake.lock(place):
        footer = lake.footer(place)
        if footer is None:
            return 0
        rows = lake.read(place)
        if _known(rows.column("item"), standing).all():
            return 0
        rebuild_without(lake, place, footer, rows, _known(rows.column("item"), standing))
    return 1


def _strike_trained(folder: Path, standing: dict[str, str]) -> int:
    """What heads have seen, without the pairs that aren't known any more."""
    from lib.stages.aligner import TRAINED

    changed = 0
    for path in folder.glob(f"*/{TRAINED}"):
        rows = pq.read_table(path)
        known = _known(rows.column("item"), standing)
        if not known.all():
            partial = path.with_suffix(".part")
            pq.write_table(rows.filter(pa.array(known)), partial)
            partial.replace(path)
            changed += 1
    return changed


def _strike_maps(lake: Lake, place: Place, folder: Path) -> int:
    """Maps of tiles that the rows don't tell of any more."""
    tiles = (
        set(lake.read(place, ["tile"]).column("tile").to_pylist()) if lake.path(place).is_file() else set()
    )
    maps = [p for p in folder.iterdir() if p.suffix != ".parquet" and p.name.partition(".")[0] not in tiles]
    for path in maps:
        lake.remove(path)
    return len(maps)


def _strike_report(lake: Lake, archive: Archive, stage: Stage) -> int:
    """A report that wasn't made since shows what it did."""
    folder = lake.folder(archive.name, stage.name)
    with suppress(DinolakeError):
        if Work(lake, archive).is_current(stage.name):
            return 0
    is_there = folder.is_dir()
    lake.remove(folder)
    return int(is_there)


def _drop_folders(lake: Lake, place: Place, what: str) -> None:
    """Superseded folders, at once: whoever holds one has it open."""
    with lake.lock(place):
        footers = [
            lake.footer(place),
            lake.footer(Place(place.archive, "gallery_index", WHOLE, place.contract)),
        ]
        named = {str(footer[1].notes.get(what, "")) for footer in footers if footer}
        for path in _folders(lake.path(place).parent, what):
            if path.name not in named:
                lake.remove(path)


def _folders(folder: Path, what: str) -> Iterator[Path]:
    if folder.is_dir():
        yield from (p for p in folder.iterdir() if p.is_dir() and p.name.startswith((f"{what}-", f"{what}_")))


def _drop_leftovers(lake: Lake, archive: Archive) -> None:
    """Copies of whole files that stand nowhere in a line: put aside, left by kills, or made for show."""
    lake.sweep()
    lake.remove(lake.root / "_broken" / archive.name)
    root = root_of(archive, lake)
    if root.is_relative_to(lake.root):
        lake.remove(root.parent / "_downloads" / root.name / "not_fetched.json")
    if (archive.dataset or "").startswith("demo"):
        lake.remove(lake.root / "_demo")  # `make demo` shows it again
