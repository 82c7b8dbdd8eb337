"""The ledger: which item is in which shard, and which shard of which stage is done. SQLite, beside the lake.

The assignment is what makes shards stable: an item never changes shard. The fingerprints are a cache of what
the files' footers say; lost or doubted, they are read from there again (see `Lake.done`).
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

_TABLES = """
CREATE TABLE IF NOT EXISTS items (
  archive TEXT NOT NULL, path TEXT NOT NULL, item TEXT NOT NULL, shard TEXT NOT NULL, seq INTEGER NOT NULL,
  bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, content_hash TEXT NOT NULL, reason TEXT NOT NULL,
  label TEXT, split TEXT, segments TEXT NOT NULL, removed INTEGER NOT NULL,
  PRIMARY KEY (archive, path), UNIQUE (archive, item)
) STRICT;
CREATE INDEX IF NOT EXISTS items_by_shard ON items (archive, shard, seq);
CREATE TABLE IF NOT EXISTS stages (
  archive TEXT NOT NULL, stage TEXT NOT NULL, contract TEXT NOT NULL, shard TEXT NOT NULL,
  fingerprint TEXT NOT NULL, facts TEXT NOT NULL,
  PRIMARY KEY (archive, stage, contract, shard)
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class LedgerItem:
    """One source file as it was last seen. `reason` says why it was refused unopened; "" if it wasn't."""

    path: str
    item: str
    shard: str
    seq: int
    bytes: int
    mtime_ns: int
    content_hash: str
    reason: str
    label: str | None = None
    split: str | None = None
    segments: str = "[]"
    removed: bool = False

    def seen_as(self, **changes: Any) -> "LedgerItem":
        """The same item with what changed at its source."""
        return replace(self, **changes)


class Ledger:
    """Opened where it is needed; SQLite's own locking makes it safe between processes."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._connect() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_TABLES)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        # One short connection a call: nothing is held over a fork or a Ray task. 60 s outlasts a busy writer.
        connection = sqlite3.connect(self._path, timeout=60, isolation_level=None)
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def items(self, archive: str, shard: str | None = None) -> list[LedgerItem]:
        """All items, or those of a shard, in the order they were registered; removed ones included."""
        where, values = (
            ("archive = ?", [archive]) if shard is None else ("archive = ? AND shard = ?", [archive, shard])
        )
        with self._connect() as connection:
            rows = connection.execute(
                "SELECT path, item, shard, seq, bytes, mtime_ns,"  # noqa: S608 - `where` is one of the two above
                " content_hash, reason, label, split, segments, removed"
                f" FROM items WHERE {where} ORDER BY seq",
                values,
            ).fetchall()
        return [LedgerItem(*(*row[:-1], bool(row[-1]))) for row in rows]

    def write_items(self, archive: str, items: Iterable[LedgerItem]) -> None:
        """Add or update items by path, all of them or none."""
        with self._writing() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO items VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                [
                    (archive, i.path, i.item, i.shard, i.seq, i.bytes, i.mtime_ns, i.content_hash, i.reason,
                     i.label, i.split, i.segments, int(i.removed))
                    for i in items
                ],
            )  # fmt: skip

    def shards(self, archive: str) -> list[str]:
        """Every shard that holds an item, in order."""
        with self._connect() as connection:
            rows = connection.execute(
                "SELECT DISTINCT shard FROM items WHERE archive = ? ORDER BY shard", [archive]
            ).fetchall()
        return [row[0] for row in rows]

    def removed(self, archive: str) -> set[str]:
        """Items that are gone at their source: search leaves them out at once."""
        with self._connect() as connection:
            rows = connection.execute(
                "SELECT item FROM items WHERE archive = ? AND removed = 1", [archive]
            ).fetchall()
        return {row[0] for row in rows}

    def stage(
        self, archive: str, stage: str, contract: str = "", *, shard: str | None = None
    ) -> dict[str, tuple[str, dict[str, Any]]]:
        """Fingerprint and facts of every committed shard of a stage, or of one."""
        with self._connect() as connection:
            rows = connection.execute(
                "SELECT shard, fingerprint, facts FROM stages WHERE archive = ? AND stage = ?"
                " AND contract = ? AND shard = coalesce(?, shard)",
                [archive, stage, contract, shard],
            ).fetchall()
        return {shard: (fingerprint, json.loads(facts)) for shard, fingerprint, facts in rows}

    def write_stage(
        self, archive: str, stage: str, contract: str, shard: str, *, fingerprint: str, facts: dict[str, Any]
    ) -> None:
        """Note that a shard of a stage was committed."""
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO stages VALUES (?,?,?,?,?,?)",
                [archive, stage, contract, shard, fingerprint, json.dumps(facts)],
            )
