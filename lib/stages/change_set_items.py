"""items of a change set: one row a file, with the pair and the side that it is, or why it is none."""

from typing import Any

import pyarrow as pa

from lib.lake import Facts, ShardWriter
from lib.ledger import LedgerItem
from lib.stages.change_set_line import pair_facts
from lib.stages.items import OK, count_verdicts
from lib.stages.making import Work, ensure

SCHEMA = pa.schema(
    [
        pa.field("item", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("pair", pa.string()),
        pa.field("side", pa.string()),  # before, after, label, polygons
        pa.field("split", pa.string()),
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("note", pa.string(), nullable=False),
        pa.field("removed", pa.bool_(), nullable=False),
        pa.field("facts", pa.string(), nullable=False),  # what the ledger keeps of it
    ]
)


def make_change_set_items(work: Work, shard: str) -> Facts:
    """Write a shard's files down; no file is opened: registration told them apart by the set's layout."""

    def fill(writer: ShardWriter) -> None:
        former = work.former("items", shard)
        known = {r["item"]: r["content_hash"] for r in former[0].to_pylist()} if former else {}
        rows = [_row(item) for item in work.lake.ledger.items(work.archive.name, shard)]
        count_verdicts(writer.facts, rows, lambda row: known.get(row["item"]) == row["content_hash"])
        writer.write(pa.Table.from_pylist(rows, schema=SCHEMA))

    return ensure(work, "items", shard, SCHEMA, fill)


def _row(item: LedgerItem) -> dict[str, Any]:
    told = pair_facts(item)
    return {
        "item": item.item, "path": item.path, "content_hash": item.content_hash, "bytes": item.bytes,
        "pair": told.get("pair"), "side": told.get("side"), "split": told.get("split"),
        "verdict": item.reason or OK, "note": "", "removed": item.removed, "facts": item.facts,
    }  # fmt: skip
