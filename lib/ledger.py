"""The ledger: which item is in which shard, and which shard of which stage is done. SQLite, beside the lake.

The assignment is what makes shards stable: an item never changes shard. The fingerprints are a cache of what
the files' footers say; lost or doubted, they are read from there again (see `Lake.done`).
"""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lib.errors import LakeError
from lib.held_connection import HeldConnection

_TABLES = """
CREATE TABLE IF NOT EXISTS items (
  archive TEXT NOT NULL, path TEXT NOT NULL, item TEXT NOT NULL, shard TEXT NOT NULL, seq INTEGER NOT NULL,
  bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, content_hash TEXT NOT NULL, reason TEXT NOT NULL,
  label TEXT, split TEXT, segments TEXT NOT NULL, removed INTEGER NOT NULL, facts TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (archive, path), UNIQUE (archive, item)
) STRICT;
CREATE INDEX IF NOT EXISTS items_by_shard ON items (archive, shard, seq);
CREATE TABLE IF NOT EXISTS stages (
  archive TEXT NOT NULL, stage TEXT NOT NULL, contract TEXT NOT NULL, shard TEXT NOT NULL,
  fingerprint TEXT NOT NULL, facts TEXT NOT NULL,
  PRIMARY KEY (archive, stage, contract, shard)
) STRICT;
CREATE TABLE IF NOT EXISTS failures (
  archive TEXT NOT NULL, stage TEXT NOT NULL, contract TEXT NOT NULL, shard TEXT NOT NULL,
  fingerprint TEXT NOT NULL, count INTEGER NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL,
  PRIMARY KEY (archive, stage, contract, shard)
) STRICT;
CREATE TABLE IF NOT EXISTS forgotten (
  archive TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (archive, digest)
) STRICT;
"""
_NAMES = ("items", "stages", "failures", "forgotten")
# A shard that failed so often with the same input is left alone until that changes, or a person says so.
QUARANTINED_AFTER = 3


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
    # Of a scene, what its file tells of itself, as JSON: when and where. "" for other kinds.
    facts: str = ""

    def seen_as(self, **changes: Any) -> "LedgerItem":
        """The same item with what changed at its source."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Failure:
    """A shard of a stage that couldn't be made; `fingerprint` is the one that it was to have."""

    stage: str
    contract: str
    shard: str
    fingerprint: str
    # Of tries that failed by the shard itself; a full disk or a lost connection counts for nothing.
    count: int
    reason: str
    at: str

    @property
    def is_quarantined(self) -> bool:
        """Whether it isn't tried again."""
        return self.count >= QUARANTINED_AFTER


class Ledger:
    """Opened where it is needed; SQLite's own locking makes it safe between processes.

    Args:
        path: The file; made if it isn't there.
        remembered: What the lake's files tell of the items, by archive: read when a ledger is made anew.

    Raises:
        LakeError: The file is no ledger, or there is none and it can't be made.
    """

    def __init__(self, path: Path, remembered: Callable[[], Iterable[tuple[str, "LedgerItem"]]] = lambda: ()):
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LakeError(
                f"the lake's folder {path.parent} can't be made ({error.strerror}). "
                "Point DINOLAKE_LAKE at a folder that this user can write to."
            ) from error
        standing = path if path.exists() else path.parent
        # SQLite writes beside its file too: without leave for both, everything here is for reading only.
        self._has_failures = False
        self._held = HeldConnection(path, partial(_open, _address(path)))
        self.is_read_only = not all(os.access(each, os.W_OK) for each in (standing, path.parent))
        if not self._is_set_up():
            self._set_up(remembered)
        self._facts = "facts"
        if not self._select("SELECT 1 FROM pragma_table_info('items') WHERE name = 'facts'", []):
            self._facts = "''"  # written before there were scenes
            if not self.is_read_only:
                with self._writing() as connection:
                    connection.execute("ALTER TABLE items ADD COLUMN facts TEXT NOT NULL DEFAULT ''")
                self._facts = "facts"

    def _is_set_up(self) -> bool:
        if not self._path.exists():
            return False
        known = {row[0] for row in self._select("SELECT name FROM sqlite_master", [])}
        # Failures are noted since there is automation: who may only read does without.
        self._has_failures = "failures" in known
        return known.issuperset(_NAMES[:2] if self.is_read_only else _NAMES)

    def _set_up(self, remembered: Callable[[], Iterable[tuple[str, "LedgerItem"]]]) -> None:
        self.require_writable()
        with self._connect() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        # Tables and what is remembered in one transaction: no reader sees an archive without its items.
        with self._writing() as connection:
            known = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
            for statement in filter(str.strip, _TABLES.split(";")):
                connection.execute(statement)
            if "items" not in known:
                for archive, item in remembered():
                    _insert(connection, archive, [item])
        self._has_failures = True

    def require_writable(self) -> None:
        """Refuse, before anything is begun.

        Raises:
            LakeError: This user may only read the lake.
        """
        if self.is_read_only:
            raise LakeError(
                f"the lake {self._path.parent} can't be written to by this user: it can only be searched and "
                "looked at. Ask its owner for write access to the folder and all in it, or point "
                "DINOLAKE_LAKE at a folder of your own."
            )

    def _select(self, query: str, values: Sequence[str | None]) -> list[tuple[Any, ...]]:
        # A reader who can't lock may meet a writer's last step, which takes a few milliseconds.
        for pause_s in (0.01, 0.1, 1.0) if self.is_read_only else ():
            with suppress(LakeError), self._connect() as connection:
                return connection.execute(query, values).fetchall()
            time.sleep(pause_s)
        with self._connect() as connection:
            return connection.execute(query, values).fetchall()

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._held.get() if not self.is_read_only else _open(self._address())
        except sqlite3.OperationalError as error:
            self._held.drop()
            raise LakeError(
                f"the lake's ledger {self._path} can't be used ({error}). See to its disk and its "
                "permissions, and try again."
            ) from error
        except sqlite3.DatabaseError as error:
            self._held.drop()
            raise LakeError(
                f"the lake's ledger {self._path} is damaged ({error}). Delete it, with the -wal and -shm "
                "files beside it; `dinolake run ARCHIVE` rebuilds it from the lake's own files."
            ) from error

    def _address(self) -> str:
        # A ledger in WAL mode is read through two files beside it, which only a writer can make. While one
        # has it open they are there; else nothing moves, and SQLite has to be told so to do without them.
        is_open = Path(f"{self._path}-wal").exists()
        return f"{_address(self._path)}?mode=ro{'' if is_open else '&immutable=1'}"

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self.require_writable()
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
        rows = self._select(
            "SELECT path, item, shard, seq, bytes, mtime_ns,"  # noqa: S608 - all of it is written here
            f" content_hash, reason, label, split, segments, removed, {self._facts}"
            f" FROM items WHERE {where} ORDER BY seq",
            values,
        )
        return [LedgerItem(*(*row[:-2], bool(row[-2]), row[-1])) for row in rows]

    def write_items(self, archive: str, items: Iterable[LedgerItem]) -> None:
        """Add or update items by path, all of them or none."""
        with self._writing() as connection:
            _insert(connection, archive, items)

    def shards(self, archive: str) -> list[str]:
        """Every shard that holds an item, in order."""
        rows = self._select("SELECT DISTINCT shard FROM items WHERE archive = ? ORDER BY shard", [archive])
        return [row[0] for row in rows]

    def shard_of(self, archive: str, item: str) -> str | None:
        """The shard of an item, by its id; None where there is none of that name."""
        rows = self._select("SELECT shard FROM items WHERE archive = ? AND item = ?", [archive, item])
        return rows[0][0] if rows else None

    def removed(self, archive: str) -> set[str]:
        """Items that are gone at their source: search leaves them out at once."""
        rows = self._select("SELECT item FROM items WHERE archive = ? AND removed = 1", [archive])
        return {row[0] for row in rows}

    def drop_items(self, archive: str, items: Iterable[str]) -> None:
        """Strike items off, by id: nothing tells of them any more once `vacuum` ran."""
        with self._writing() as connection:
            connection.executemany(
                "DELETE FROM items WHERE archive = ? AND item = ?", [(archive, item) for item in items]
            )

    def forget(self, archive: str, digests: Iterable[str]) -> None:
        """Keep digests of what must not come back; they tell nothing to who doesn't know it already."""
        rows = [(archive, digest) for digest in digests]
        with self._writing() as connection:
            connection.executemany("INSERT OR IGNORE INTO forgotten VALUES (?,?)", rows)

    def forgotten(self, archive: str) -> set[str]:
        """Digests of what must not come back."""
        if not self._has_failures:
            return set()
        return {row[0] for row in self._select("SELECT digest FROM forgotten WHERE archive = ?", [archive])}

    def vacuum(self) -> None:
        """Write the file anew, so that what was deleted stands in no free page of it, nor in its journal."""
        self.require_writable()
        with self._connect() as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def drop_shards(self, archive: str, shards: Iterable[str]) -> None:
        """Forget what was noted of shards that no item is in any more."""
        named = [(archive, shard) for shard in shards]
        with self._writing() as connection:
            connection.executemany("DELETE FROM stages WHERE archive = ? AND shard = ?", named)
            connection.executemany("DELETE FROM failures WHERE archive = ? AND shard = ?", named)

    def drop_stage(self, archive: str, stage: str, contract: str, shard: str) -> None:
        """Forget that a shard of a stage was committed: its file is no good."""
        sql = "DELETE FROM stages WHERE archive = ? AND stage = ? AND contract = ? AND shard = ?"
        with self._writing() as connection:
            connection.execute(sql, [archive, stage, contract, shard])

    def stage(
        self, archive: str, stage: str, contract: str = "", *, shard: str | None = None
    ) -> dict[str, tuple[str, dict[str, Any]]]:
        """Fingerprint and facts of every committed shard of a stage, or of one."""
        rows = self._select(
            "SELECT shard, fingerprint, facts FROM stages WHERE archive = ? AND stage = ?"
            " AND contract = ? AND shard = coalesce(?, shard)",
            [archive, stage, contract, shard],
        )
        return {shard: (fingerprint, json.loads(facts)) for shard, fingerprint, facts in rows}

    def write_stage(
        self, archive: str, stage: str, contract: str, shard: str, *, fingerprint: str, facts: dict[str, Any]
    ) -> None:
        """Note that a shard of a stage was committed: whatever failed there before is over."""
        named = [archive, stage, contract, shard]
        row = [*named, fingerprint, json.dumps(facts)]
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO stages VALUES (?,?,?,?,?,?)", row)
            connection.execute(
                "DELETE FROM failures WHERE archive = ? AND stage = ? AND contract = ? AND shard = ?", named
            )

    def failures(self, archive: str) -> list[Failure]:
        """Shards that couldn't be made when they were last tried."""
        if not self._has_failures:
            return []
        rows = self._select(
            "SELECT stage, contract, shard, fingerprint, count, reason, at FROM failures WHERE archive = ?"
            " ORDER BY shard, stage",
            [archive],
        )
        return [Failure(*row) for row in rows]

    def note_failure(
        self, archive: str, stage: str, contract: str, shard: str, *, fingerprint: str, reason: str,
        counts: bool, at: str,
    ) -> None:  # fmt: skip
        """Note a try that failed; `counts` says whether by the shard itself. Another input begins anew."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO failures VALUES (?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET"
                " count = excluded.count"
                " + iif(failures.fingerprint = excluded.fingerprint, failures.count, 0),"
                " fingerprint = excluded.fingerprint, reason = excluded.reason, at = excluded.at",
                [archive, stage, contract, shard, fingerprint, int(counts), reason, at],
            )

    def clear_failures(self, archive: str, shard: str | None = None) -> None:
        """Let shards be tried again: all, or one."""
        sql = "DELETE FROM failures WHERE archive = ? AND shard = coalesce(?, shard)"
        with self._writing() as connection:
            connection.execute(sql, [archive, shard])


def _address(path: Path) -> str:
    return f"file:{quote(os.fsencode(path))}"


def _open(address: str) -> sqlite3.Connection:
    # 60 s outlasts a writer.
    return sqlite3.connect(address, timeout=60, isolation_level=None, uri=True)


def _insert(connection: sqlite3.Connection, archive: str, items: Iterable[LedgerItem]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO items VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        [
            (archive, i.path, i.item, i.shard, i.seq, i.bytes, i.mtime_ns, i.content_hash, i.reason,
             i.label, i.split, i.segments, int(i.removed), i.facts)
            for i in items
        ],
    )  # fmt: skip
