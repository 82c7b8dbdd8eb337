"""Items as the lake's own files tell of them: for a ledger that was lost, or that another machine kept."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lib.ledger import LedgerItem


def remembered(shards: Iterable[tuple[str, Sequence[Mapping[str, Any]]]]) -> Iterator[LedgerItem]:
    """Every item of an archive, in order.

    Args:
        shards: Names of its shards in order, with the rows of their `items` files.
    """
    seq = 0
    for shard, rows in shards:
        for row in rows:
            # A scene was looked into when it was registered: its verdict is the ledger's own.
            is_told = not row["content_hash"] or ("facts" in row and row["verdict"] != "ok")
            yield LedgerItem(
                path=row["path"], item=row["item"], shard=shard, seq=seq, bytes=row["bytes"],
                mtime_ns=-1, content_hash=row["content_hash"],
                reason=row["verdict"] if is_told else "",
                removed=row["removed"], label=row.get("label"), split=row.get("split"),
                segments=json.dumps(row.get("segments") or []), facts=row.get("facts") or "",
            )  # fmt: skip
            seq += 1
