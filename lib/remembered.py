"""Items as the lake's own files tell of them: for a ledger that was lost, or that another machine kept."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lib.ledger import Ledger, LedgerItem


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


def take_over(
    ledger: Ledger, keys: Sequence[str], items_of: Callable[[str], Iterable[tuple[str, LedgerItem]]]
) -> None:
    """Note what another machine committed or removed, in place of what the ledger knew.

    Args:
        ledger: This machine's.
        keys: Files that came or went, by their paths in the lake.
        items_of: An archive's items by its files, with its name.
    """
    found = (key.removesuffix(".parquet").split("/") for key in keys if key.endswith(".parquet"))
    shards = [parts for parts in found if len(parts) in (3, 4)]
    for archive, stage, *contract, shard in shards:
        ledger.drop_stage(archive, stage, "".join(contract), shard)
    for archive in sorted({archive for archive, stage, *_ in shards if stage == "items"}):
        items = [item for _, item in items_of(archive)]
        ledger.write_items(archive, items)
        told = {parts[-1] for parts in shards if parts[:2] == [archive, "items"]}
        standing = {item.item for item in items}
        gone = {item.item for item in ledger.items(archive) if item.shard in told} - standing
        if gone:
            # Taken out of every file there: forgotten, or gone at the source for long.
            ledger.drop_items(archive, sorted(gone))
            ledger.clear_failures(archive)  # whose reasons may name a file
            ledger.vacuum()
