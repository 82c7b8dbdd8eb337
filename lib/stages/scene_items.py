"""items of a scene archive: one row a file, as its registration found it, and a verdict: ok, or why not."""

import json
from datetime import datetime
from typing import Any

import pyarrow as pa

from lib import schemas
from lib.lake import Facts, ShardWriter
from lib.ledger import LedgerItem
from lib.stages.items import OK, count_verdicts
from lib.stages.making import Work, ensure

_KEPT = (
    "tile", "platform", "crs", "transform", "height", "width", "gsd_m", "bands", "band_names", "dtype",
    "nodata", "scale", "offset", "cloud_cover", "lon", "lat",
)  # fmt: skip
SCHEMA = schemas.as_geoparquet(schemas.SCENE_ITEMS, "footprint", ["Polygon", "MultiPolygon"])


def make_scene_items(work: Work, shard: str) -> Facts:
    """Write a cell's scenes down; no file is opened: the ledger knows what registration saw in them."""

    def fill(writer: ShardWriter) -> None:
        former = work.former("items", shard)
        known = {r["item"]: r["content_hash"] for r in former[0].to_pylist()} if former else {}
        rows = [_row(item) for item in work.lake.ledger.items(work.archive.name, shard)]
        count_verdicts(writer.facts, rows, lambda row: known.get(row["item"]) == row["content_hash"])
        writer.write(pa.Table.from_pylist(rows, schema=SCHEMA))

    return ensure(work, "items", shard, SCHEMA, fill)


def _row(item: LedgerItem) -> dict[str, Any]:
    told = json.loads(item.facts) if item.facts else {}
    row: dict[str, Any] = {name: told.get(name) for name in _KEPT}
    acquired = told.get("acquired")
    return row | {
        "item": item.item, "path": item.path, "content_hash": item.content_hash, "bytes": item.bytes,
        "acquired": datetime.fromisoformat(acquired) if acquired else None,
        "footprint": bytes.fromhex(told["footprint"]) if "footprint" in told else None,
        "label": item.label, "split": item.split, "removed": item.removed,
        "verdict": item.reason or OK, "note": "", "facts": item.facts,
    }  # fmt: skip
