"""A lake in an object store, worked on in a folder: a commit goes into the store, then into place.

The store is the truth. When the lake is opened the folder is brought up to what is there; when a stage's lock
is let go, what changed under it goes there. One machine at a time may write; any number may read. The folder
can be deleted at any time that nothing runs: the next command fetches it again.
"""

import hashlib
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from lib.errors import LakeError, StoreError
from lib.object_store import ObjectStore, Stored
from lib.processes import is_alive
from lib.settings import read_settings
from lib.whole_files import remove_whole

# What a long-lived server asks of the store at most, however often the lake is opened.
_PULL_EVERY_S = 10.0
_AT_ONCE = 8
_TABLES = """
CREATE TABLE IF NOT EXISTS objects (
  key TEXT PRIMARY KEY, etag TEXT NOT NULL, bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS news (key TEXT PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS begun (
  archive TEXT NOT NULL, stage TEXT NOT NULL, pid INTEGER NOT NULL, PRIMARY KEY (archive, stage, pid)
) STRICT;
"""
_opened: dict[str, "WorkingCopy"] = {}


def working_copy(url: str) -> "WorkingCopy":
    """The folder that this machine works on the store's lake in; one a process."""
    home = read_settings().dagster_home / "lakes" / hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]
    if str(home) not in _opened:
        _opened[str(home)] = WorkingCopy(home, ObjectStore(url))
    return _opened[str(home)]


def copy_of(path: Path) -> "WorkingCopy | None":
    """The working copy that a path belongs to, as part of its lake; None for all that is local."""
    return next((copy for copy in _opened.values() if copy.key(path)), None)


@dataclass(frozen=True, slots=True)
class _Known:
    """An object as it was when the folder and the store last agreed on it."""

    etag: str
    bytes: int
    mtime_ns: int


class WorkingCopy:
    """A folder, and the store that it is kept in step with.

    Args:
        folder: Made if it isn't there.
        store: Where the lake is.
    """

    def __init__(self, folder: Path, store: ObjectStore):
        self.folder, self.store = folder, store
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / ".store.lock")
        self._pulled_at: float | None = None
        self._held = Counter[tuple[str, str]]()
        with self._noting() as notes:
            notes.executescript(_TABLES)

    @contextmanager
    def _noting(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.folder / ".store.sqlite", timeout=60)) as notes, notes:
            # Keys may have names in them that were forgotten.
            notes.execute("PRAGMA secure_delete = ON")
            yield notes

    def key(self, path: Path) -> str:
        """The key of a file; "" for what stays on this machine (downloads, locks, temporaries)."""
        try:
            parts = path.relative_to(self.folder).parts
        except ValueError:
            return ""
        is_ours = len(parts) > 1 and parts[0][0] not in "._" and not any(part[0] == "." for part in parts)
        return "/".join(parts) if is_ours else ""

    def pull(self) -> list[str]:
        """Make the folder what the store holds; the keys that came or went, until `heed` was called for them.

        Raises:
            LakeError: The store is empty and wasn't, or can't be reached.
        """
        if self._pulled_at is not None and time.monotonic() - self._pulled_at < _PULL_EVERY_S:
            return []
        has_pulled = self._pulled_at is not None
        self._pulled_at = time.monotonic()
        try:
            self._pull()
        except StoreError:
            # What is here can be read until the store is back; a commit says what is wrong.
            if not has_pulled:
                self._pulled_at = None
                raise
        with self._noting() as notes:
            return [key for (key,) in notes.execute("SELECT key FROM news")]

    def heed(self, keys: Iterable[str]) -> None:
        """What came or went is known now: a process that is killed before leaves it to the next."""
        with self._noting() as notes:
            notes.executemany("DELETE FROM news WHERE key = ?", [(key,) for key in keys])

    def _pull(self) -> None:
        with self._lock:
            self._finish_for_the_dead()
            there, known = self.store.list(), self._known("")
            if known and not there:
                raise LakeError(
                    f"the lake's store {self.store.url} is empty, and {len(known)} files were known there. "
                    f"See to its address; if they are gone for good, delete {self.folder}."
                )
            busy = tuple(f"{archive}/{stage}/" for archive, stage in self._begun())
            wanted = [
                key
                for key, stored in there.items()
                # What another process is changing here now goes there when it is done.
                if not key.startswith(busy) and not self._agrees(key, stored, known.get(key))
            ]
            # What a Parquet file points to is there before it is, as in every commit.
            for group in _in_order(wanted):
                with ThreadPoolExecutor(_AT_ONCE) as pool:
                    list(pool.map(lambda key: self._fetch(key, there[key]), group))
            gone = [key for key in known if key not in there]
            for key in gone:
                (self.folder / key).unlink(missing_ok=True)
            self._drop_empty({(self.folder / key).parent for key in gone})
            self._tell(gone)
            self._forget(gone)

    def _drop_empty(self, folders: Iterable[Path]) -> None:
        """Folders that held what is gone, and those that held nothing else."""
        busy = {self.folder / archive / stage for archive, stage in self._begun()}
        for folder in folders:
            while folder != self.folder and not busy & {folder, *folder.parents}:
                try:
                    folder.rmdir()
                except OSError:
                    break
                folder = folder.parent

    def begin(self, archive: str, stage: str) -> None:
        """Note that files of a stage may change: killed, this process leaves them to the next to put."""
        self._held[archive, stage] += 1
        with self._noting() as notes:
            notes.execute("INSERT OR IGNORE INTO begun VALUES (?,?,?)", [archive, stage, os.getpid()])

    def end(self, archive: str, stage: str) -> None:
        """Put what changed of a stage, and beside the stages, into the store; remove what is gone."""
        with self._lock:
            self._push(archive, stage)
        self._held[archive, stage] -= 1
        # Shards are locked within what is locked for a whole stage.
        if not self._held[archive, stage]:
            self._ended(archive, stage, os.getpid())

    def commit(self, partial: Path, final: Path) -> None:
        """Put a finished file, after what lies beside it and it may point to, then move it into place."""
        key = self.key(final)
        with self._lock:
            final.parent.mkdir(parents=True, exist_ok=True)
            if final.suffix == ".parquet":
                self._push_changed(
                    [path for path in _files(final.parent) if path.suffix != ".parquet"],
                    self._known(f"{key.rpartition('/')[0]}/"),
                )
            stored = self.store.put(partial, key)
            partial.replace(final)
            self._note(key, stored)

    def remove(self, path: Path) -> None:
        """Remove a file, or a folder with all in it, here and there."""
        with self._lock:
            below = self._known(f"{path.relative_to(self.folder).as_posix()}/")
            keys = [*below] if below or path.is_dir() else [key] if (key := self.key(path)) else []
            # What points goes before what it points to. Killed on the way, the next pull removes it here.
            for group in reversed(list(_in_order(keys))):
                with ThreadPoolExecutor(_AT_ONCE) as pool:
                    list(pool.map(self.store.remove, group))
            remove_whole(path)
            self._forget(keys)

    def _push(self, archive: str, stage: str) -> None:
        known = self._known(f"{archive}/{stage}/") | {
            key: told for key, told in self._known(f"{archive}/").items() if key.count("/") == 1
        }
        beside = (path for path in _entries(self.folder / archive) if path.is_file())
        there = self._push_changed([*_files(self.folder / archive / stage), *beside], known)
        for key in (gone := [key for key in known if key not in there]):
            self.store.remove(key)
        self._forget(gone)

    def _push_changed(self, paths: Iterable[Path], known: dict[str, _Known]) -> set[str]:
        found = {key: path for path in paths if (key := self.key(path))}
        for group in _in_order(found):
            for key in group:
                told, about = known.get(key), found[key].stat()
                if told is None or (told.bytes, told.mtime_ns) != (about.st_size, about.st_mtime_ns):
                    self._note(key, self.store.put(found[key], key))
        return set(found)

    def _fetch(self, key: str, stored: Stored) -> None:
        self._tell([key])
        final = self.folder / key
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = final.with_name(f".{final.name}.{os.getpid()}")
        try:
            self.store.get(key, partial)
            partial.replace(final)
        finally:
            partial.unlink(missing_ok=True)
        self._note(key, stored)

    def _agrees(self, key: str, stored: Stored, known: _Known | None) -> bool:
        if known is None or known.etag != stored.etag:
            return False
        try:
            return (self.folder / key).stat().st_size == stored.bytes
        except FileNotFoundError:
            return False

    def _known(self, below: str) -> dict[str, _Known]:
        with self._noting() as notes:
            rows = notes.execute(
                "SELECT key, etag, bytes, mtime_ns FROM objects WHERE substr(key, 1, ?) = ?",
                [len(below), below],
            )
            return {key: _Known(*told) for key, *told in rows}

    def _note(self, key: str, stored: Stored) -> None:
        mtime_ns = (self.folder / key).stat().st_mtime_ns
        with self._noting() as notes:
            told = [key, stored.etag, stored.bytes, mtime_ns]
            notes.execute("INSERT OR REPLACE INTO objects VALUES (?,?,?,?)", told)

    def _forget(self, keys: Iterable[str]) -> None:
        with self._noting() as notes:
            notes.executemany("DELETE FROM objects WHERE key = ?", [(key,) for key in keys])

    def _begun(self) -> list[tuple[str, str]]:
        with self._noting() as notes:
            return notes.execute("SELECT archive, stage FROM begun").fetchall()

    def _tell(self, keys: Iterable[str]) -> None:
        with self._noting() as notes:
            notes.executemany("INSERT OR IGNORE INTO news VALUES (?)", [(key,) for key in keys])

    def _finish_for_the_dead(self) -> None:
        with self._noting() as notes:
            begun = notes.execute("SELECT archive, stage, pid FROM begun").fetchall()
        for archive, stage, pid in begun:
            if not is_alive(pid):
                self._push(archive, stage)
                self._ended(archive, stage, pid)

    def _ended(self, archive: str, stage: str, pid: int) -> None:
        with self._noting() as notes:
            notes.execute(
                "DELETE FROM begun WHERE archive = ? AND stage = ? AND pid = ?", [archive, stage, pid]
            )


def _in_order(keys: Iterable[str]) -> Iterator[list[str]]:
    """What is pointed to before what points: indexes and heads, shards, then what says that it is made."""
    groups: tuple[list[str], list[str], list[str]] = ([], [], [])
    for key in sorted(keys):
        is_note = key.endswith("/made.json") or key.count("/") == 1
        groups[2 if is_note else key.endswith(".parquet")].append(key)
    yield from groups


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
