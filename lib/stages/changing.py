"""Sources that change while they are read: no vector stands under the hash of other contents.

A file of the size and date that it was registered with is the file that was registered: registration takes it
so itself. Of any other, the contents are asked. While it is read it has to stay what it was at first.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from lib.errors import CatalogError, StageFailedError, UnreadableMediaError
from lib.ledger import LedgerItem
from lib.stages.making import Work
from lib.stages.pair_table import folder_of
from lib.stages.scan import content_hash

# No date that a file may have, and not -1, which stands for one that isn't known: a plan sees it, too.
_NO_DATE = -2
CHANGED = "it changed while it was being read; the next run takes it as it is then"
VANISHED = "it vanished while it was being read"


class SourcesChangedError(StageFailedError):
    """Files aren't what they were registered as.

    Attributes:
        reasons: Path of an item -> `CHANGED` or `VANISHED`.
        expected: Path of an item -> the content hash that was found wrong.
    """

    def __init__(self, reasons: Mapping[str, str], expected: Mapping[str, str]):
        first = next(iter(reasons))
        more = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        super().__init__(f"{first}{more}: {reasons[first]}.")
        self.reasons, self.expected = dict(reasons), dict(expected)


@dataclass(frozen=True, slots=True)
class Expected:
    """A file as it was registered."""

    content_hash: str
    bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, item: LedgerItem) -> "Expected":
        """As the ledger has it."""
        return cls(item.content_hash, item.bytes, item.mtime_ns)

    @classmethod
    def told(cls, content_hash: str, registered: Mapping[str, Any]) -> "Expected":
        """By a row's hash, and the ledger's `hash`, `bytes` and `mtime_ns`, which may be newer ones."""
        if registered.get("hash") != content_hash:
            return cls(content_hash, -1, _NO_DATE)
        return cls(content_hash, registered["bytes"], registered["mtime_ns"])


class Watch:
    """A file from here on: `check` tells whether it is still the one that was registered.

    Raises:
        UnreadableMediaError: It isn't even now: `CHANGED` or `VANISHED`.
    """

    def __init__(self, path: Path | str, expected: Expected):
        self._path = Path(path)
        self._first = _signature(self._path)
        _, size, mtime_ns, _ = self._first
        if (size, mtime_ns) == (expected.bytes, expected.mtime_ns):
            return
        if not size or content_hash(self._path) != expected.content_hash:
            raise UnreadableMediaError(CHANGED)
        # What was hashed has to be what is read from here on.
        self.check()

    def check(self) -> None:
        """Ask again: what was read since the beginning counts only if nothing has changed.

        Raises:
            UnreadableMediaError: `CHANGED` or `VANISHED`.
        """
        if _signature(self._path) != self._first:
            raise UnreadableMediaError(CHANGED)


def _signature(path: Path) -> tuple[int, int, int, int]:
    """Which file it is, its size, and when it and its inode changed: the last of these can't be set back."""
    try:
        facts = path.stat()
    except FileNotFoundError as error:
        raise UnreadableMediaError(VANISHED) from error
    except OSError as error:
        raise UnreadableMediaError(f"can't be looked at: {error.strerror}") from error
    return facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def is_change(reason: str) -> bool:
    """Whether a task failed because its file changed or vanished."""
    return reason in (CHANGED, VANISHED)


def distrust(work: Work, shard: str, changed: SourcesChangedError) -> None:
    """Note in the ledger that files aren't what it says: rows with a reason till they are looked at again.

    Without that, a file that gets its old contents back would have the old fingerprint, and stay unmade.

    Args:
        work: One archive in one lake.
        shard: Theirs.
        changed: Which of its items, and why.

    Raises:
        CatalogError: The folder of the sources is gone or empty: that is no change of a file.
    """
    root = folder_of(work.archive, work.root) if work.archive.kind == "pair" else work.root
    is_gone = not root.is_dir() or (VANISHED in changed.reasons.values() and not any(root.iterdir()))
    if is_gone:
        raise CatalogError(
            f"the sources' folder {root} went away while it was being read. Mount it, and run again: "
            "what the lake has of it stays."
        )
    ledger = work.lake.ledger
    # The lock of registering: what another run has just seen there isn't written over.
    with FileLock(work.lake.root / f".{work.archive.name}.register.lock"):
        ledger.write_items(
            work.archive.name,
            [
                item.seen_as(
                    content_hash="",
                    mtime_ns=_NO_DATE,
                    reason=changed.reasons[item.path],
                    facts=_forgotten(item),
                )
                for item in ledger.items(work.archive.name, shard)
                if item.path in changed.reasons and item.content_hash == changed.expected.get(item.path)
            ],
        )


def _forgotten(item: LedgerItem) -> str:
    """A pair's facts without the dates by which its sides' hashes are known."""
    facts = json.loads(item.facts) if item.facts else {}
    if "sides" not in facts:
        return item.facts
    for side in facts["sides"].values():
        if "mtime_ns" in side:
            side["mtime_ns"] = _NO_DATE
    return json.dumps(facts)
