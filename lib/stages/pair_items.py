"""items of a pair archive: one row a pair, with both sides, its split, and a verdict: ok, or why not."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from lib import schemas
from lib.errors import UnreadableMediaError
from lib.lake import Facts, ShardWriter
from lib.ledger import LedgerItem
from lib.stages.items import OK, count_verdicts
from lib.stages.making import Work, ensure
from lib.stages.pair_sources import SIDES
from lib.stages.pair_table import folder_of


def make_pair_items(work: Work, shard: str) -> Facts:
    """Write down every pair of a shard as the ledger knows it, with the text of sides that are texts."""

    def fill(writer: ShardWriter) -> None:
        former = work.former_rows("items", shard, ["item", "content_hash", "verdict"])
        good = (
            {r["item"]: r["content_hash"] for r in former.to_pylist() if r["verdict"] == OK} if former else {}
        )
        rows = [_row(work, item) for item in work.lake.ledger.items(work.archive.name, shard)]
        standing = count_verdicts(
            writer.facts, rows, lambda row: good.get(row["item"]) == row["content_hash"]
        )
        usable = [row for row in standing if row["verdict"] == OK]
        writer.facts.reasons |= {row["path"]: row["note"] for row in usable if row["note"]}
        writer.facts.notes |= {s: sum(row["split"] == s for row in usable) for s in ("train", "test")}
        writer.write(pa.Table.from_pylist(rows, schema=schemas.PAIR_ITEMS))

    return ensure(work, "items", shard, schemas.PAIR_ITEMS, fill)


def _row(work: Work, item: LedgerItem) -> dict[str, Any]:
    told = json.loads(item.facts) if item.facts else {}
    row: dict[str, Any] = {
        "item": item.item, "path": item.path, "line": told.get("line"), "content_hash": item.content_hash,
        "bytes": item.bytes, "group": told.get("group"), "split": item.split, "lon": told.get("lon"),
        "lat": told.get("lat"), "near": told.get("near", []), "label": item.label,
        "verdict": item.reason or OK, "note": told.get("note", ""), "removed": item.removed,
    }  # fmt: skip
    for name in SIDES:
        side = told.get("sides", {}).get(name)
        row |= {name: None, f"{name}_hash": None, f"{name}_text": None}
        if side is None:
            continue
        row |= {name: side["value"], f"{name}_hash": side["hash"] or None}
        if work.archive.pair_sides().side(name).kind == "text" and row["verdict"] == OK and not item.removed:
            try:
                row[f"{name}_text"] = _text(folder_of(work.archive, work.root), side)
            except UnreadableMediaError as error:
                row["verdict"] = f"{name}: {error}"
    return row


def _text(folder: Path, side: dict[str, Any]) -> str:
    """A side's text, from its file where it is one.

    Raises:
        UnreadableMediaError: The file is gone or no text, or the text is empty.
    """
    from lib.sentences import checked_text

    if "bytes" not in side:
        return checked_text(side["value"])
    try:
        return checked_text((folder / side["value"]).read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise UnreadableMediaError(f"{side['value']}: {error.strerror}") from error


def hash_of(item: LedgerItem, side: str) -> str:
    """Content hash of one side of a pair; "" where it has no such side."""
    told = json.loads(item.facts)["sides"] if item.facts else {}
    return str(told[side]["hash"]) if side in told else ""


def good_pairs(work: Work, columns: Sequence[str]) -> pa.Table:
    """The pairs and lone right sides of all shards that can be used, with their `shard`."""
    import pyarrow.compute as pc

    parts = []
    for shard in work.shards("aligner"):
        table = work.rows("items", shard, [*dict.fromkeys([*columns, "verdict", "removed"])])
        good = pc.and_(pc.equal(table.column("verdict"), OK), pc.invert(table.column("removed")))
        table = table.filter(good).select(list(columns))
        parts.append(table.append_column("shard", pa.array([shard] * table.num_rows, pa.string())))
    return pa.concat_tables(parts) if parts else pa.table({})
