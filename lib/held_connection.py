"""One open SQLite connection a thread.

Closing the last connection to a file in WAL mode writes its journal back and removes it: most of what a small
query cost. Nothing is held over a fork, nor to a file that another one has replaced.
"""

import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

# A parent's connections, in its children: closing them there could touch the parent's locks.
_inherited: list[sqlite3.Connection] = []


class HeldConnection:
    """The connection of each thread to one file, opened when it is first asked for."""

    def __init__(self, path: Path, connect: Callable[[], sqlite3.Connection]):
        self._path, self._connect, self._local = path, connect, threading.local()

    def get(self) -> sqlite3.Connection:
        """This thread's; a new one in another process, or where the file isn't the one that was opened."""
        process, inode, held = self._held()
        if held is not None and process == os.getpid() and inode == self._inode():
            return held
        self.drop()
        fresh = self._connect()
        fresh.execute("SELECT 1 FROM sqlite_master").fetchone()  # makes the file, so that it has an inode
        self._local.held = os.getpid(), self._inode(), fresh
        return fresh

    def drop(self) -> None:
        """Let go of it: after an error nobody knows what state it is in."""
        process, _, held = self._held()
        if held is not None:
            if process == os.getpid():
                held.close()
            else:
                _inherited.append(held)
        self._local.held = (0, None, None)

    def __del__(self) -> None:
        # With its ledger, and not whenever the garbage collector comes by.
        self.drop()

    def _held(self) -> tuple[int, int | None, sqlite3.Connection | None]:
        return getattr(self._local, "held", (0, None, None))

    def _inode(self) -> int | None:
        try:
            return self._path.stat().st_ino
        except FileNotFoundError:
            return None
