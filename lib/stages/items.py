"""items: one row a source file, with what it is and a verdict: ok, or why not."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pyarrow as pa

from lib import schemas
from lib.errors import UnreadableMediaError
from lib.lake import Facts, ShardWriter
from lib.ledger import LedgerItem
from lib.stages.changing import Expected, SourcesChangedError, Watch, distrust, is_change
from lib.stages.making import Work, ensure

OK = "ok"
_FACTS = ("duration_s", "width", "height", "codec", "rotation_deg", "fps", "frames", "has_audio")


def make_items(work: Work, shard: str) -> Facts:
    """Look into every new or changed file of a shard; files known by their content hash keep their row.

    A file that isn't the one that was registered is noted so in the ledger, and is a row with its reason.

    Raises:
        CatalogError: The folder of the sources went away meanwhile.
    """
    ledger, archive = work.lake.ledger, work.archive.name
    while True:
        # The rows and the fingerprint are told from one state of the ledger, which another run may change.
        items, work = ledger.items(archive, shard), Work(work.lake, work.archive)
        work.prints.of("items", shard)
        if ledger.items(archive, shard) != items:
            continue
        try:
            return ensure(work, "items", shard, schemas.ITEMS, partial(_fill, work, shard, items))
        except SourcesChangedError as changed:
            distrust(work, shard, changed)


def _fill(work: Work, shard: str, items: Sequence[LedgerItem], writer: ShardWriter) -> None:
    former = work.former("items", shard)
    known = {row["item"]: row for row in former[0].to_pylist()} if former else {}
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda item: _row(work, item, known.get(item.item)), items))
    changed = {row["path"]: row["verdict"] for row, is_new in rows if is_new and is_change(row["verdict"])}
    registered = {item.path: item.content_hash for item in items}
    if changed := {path: why for path, why in changed.items() if registered[path]}:
        raise SourcesChangedError(changed, registered)
    new = {row["item"] for row, is_new in rows if is_new}
    standing = count_verdicts(writer.facts, [row for row, _ in rows], lambda row: row["item"] not in new)
    writer.facts.notes["duration_s"] = round(sum(row["duration_s"] or 0.0 for row in standing), 3)
    writer.write(pa.Table.from_pylist([row for row, _ in rows], schema=schemas.ITEMS))


def count_verdicts(
    facts: Facts, rows: Sequence[dict[str, Any]], is_kept: Callable[[dict[str, Any]], bool]
) -> list[dict[str, Any]]:
    """Count what a shard's items came to, of every line: those that are gone count for nothing.

    Args:
        facts: The shard's, which get the counts, the reasons and the notes.
        rows: With `item`, `path`, `bytes`, `verdict`, `removed`.
        is_kept: Whether a good row stood there before with the same content.

    Returns:
        The rows that still stand at their source.
    """
    standing = [row for row in rows if not row["removed"]]
    for row in standing:
        if row["verdict"] != OK:
            facts.rejected += 1
            facts.reasons[row["path"]] = row["verdict"]
        elif is_kept(row):
            facts.kept += 1
        else:
            facts.made += 1
    facts.notes = {
        "removed": len(rows) - len(standing),
        "source_bytes": sum(row["bytes"] for row in standing),
    }
    return standing


def _row(work: Work, item: LedgerItem, known: dict[str, Any] | None) -> tuple[dict[str, Any], bool]:
    row: dict[str, Any] = dict.fromkeys(_FACTS)
    row |= {
        "item": item.item, "path": item.path, "content_hash": item.content_hash, "bytes": item.bytes,
        "label": item.label, "split": item.split, "segments": json.loads(item.segments),
        "removed": item.removed, "verdict": item.reason or OK, "note": "",
    }  # fmt: skip
    if item.reason or not item.content_hash:
        return row, True
    if known and known["content_hash"] == item.content_hash:
        return row | {name: known[name] for name in (*_FACTS, "verdict", "note")}, False
    if item.removed:
        return row, True
    from lib.media.video import probe_video

    try:
        watch = Watch(work.root / item.path, Expected.of(item))
        try:
            facts = probe_video(work.root / item.path)
        finally:
            # Of a file that was changed under the reader, that is the reason, and not what came of it.
            watch.check()
    except UnreadableMediaError as error:
        return row | {"verdict": str(error)}, True
    return row | {name: getattr(facts, name) for name in _FACTS} | {"note": facts.note}, True
