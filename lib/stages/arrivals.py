"""What came to an archive's sources, and what of it is whole: the part of a sensor that knows no Dagster.

What is registered stands in the ledger, so that the same event twice, or a sensor that lost its place,
registers nothing twice. Nothing here asks the clock: a file is whole when two looks in a row found it the
same.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lib.catalog import Archive
from lib.forget import forgotten_of
from lib.lake import Lake
from lib.ledger import LedgerItem
from lib.stages.scan import MARKER
from lib.stages.sources import UNREAD, Registered, foresee, is_other, register, root_of, seen_at

# So much is taken at a look, and one file whatever its size: a sensor isn't to hash for hours.
_BYTES_AT_ONCE = 8 << 30
# Path -> bytes and mtime_ns: what files were that may still be written.
Sizes = dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What a look found: files to take, files to leave alone until the next look, and how many are gone."""

    settled: Sizes = field(default_factory=dict)
    unsettled: Sizes = field(default_factory=dict)
    removed: int = 0

    @property
    def is_any(self) -> bool:
        """Whether there is something to register."""
        return bool(self.settled or self.removed)

    def as_cursor(self) -> str:
        """What the next look has to know: files that may still be written, not the others."""
        return json.dumps({path: list(size) for path, size in self.unsettled.items()}, sort_keys=True)


def read_cursor(cursor: str | None) -> Sizes:
    """What `as_cursor` wrote; a cursor that can't be read is none: every new file waits for another look."""
    try:
        told = json.loads(cursor or "{}")
        return {str(path): (int(size), int(mtime_ns)) for path, (size, mtime_ns) in told.items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def look(archive: Archive, lake: Lake, before: Sizes) -> Arrivals:
    """Names, sizes and dates at the source, held against the ledger; no file is opened.

    Args:
        archive: Of a folder, a table of pairs, or a catalogue whose files were fetched to a folder.
        lake: Whose ledger is asked.
        before: What the last look left alone.

    Raises:
        CatalogError: The source isn't there, or much of it is gone at once.
    """
    known = {item.path: item for item in lake.ledger.items(archive.name)}
    root = root_of(archive, lake)
    if archive.line in ("pair", "change_set"):
        return _look_at_pairs(archive, lake, root, known, before)
    seen = seen_at(archive, root, known, forgotten_of(lake, archive.name))
    changed = {
        path: (found.bytes, found.mtime_ns)
        for path, found in seen.items()
        if is_other(found, known.get(path))
    }
    settled = {
        path: size
        for path, size in changed.items()
        # What is refused by its name or kind is never written to an end.
        if seen[path].reason or before.get(path) == size or (root / f"{path}{MARKER}").exists()
    }
    settled = dict(_first(settled, _BYTES_AT_ONCE))
    return Arrivals(
        settled,
        {path: size for path, size in changed.items() if path not in settled},
        sum(path not in seen and not item.removed for path, item in known.items()),
    )


def _first(settled: Sizes, most_bytes: int) -> Iterator[tuple[str, tuple[int, int]]]:
    taken = 0
    for path, (size, mtime_ns) in settled.items():
        if taken and taken + size > most_bytes:
            return
        taken += size
        yield path, (size, mtime_ns)


def _look_at_pairs(
    archive: Archive, lake: Lake, root: Path, known: Mapping[str, LedgerItem], before: Sizes
) -> Arrivals:
    """Pairs are told by more than one file, so that all of what is new settles or none of it does."""
    changed: Sizes = {}
    removed = 0
    for item in foresee(archive, lake):
        old = known.get(item.path)
        if item.removed:
            removed += old is not None and not old.removed
        elif (
            old is None
            or item.content_hash == UNREAD
            or (item.reason, item.removed) != (old.reason, old.removed)
        ):
            changed[item.path] = (item.bytes, item.mtime_ns)
    if root.is_file():
        facts = root.stat()
        if changed or removed:
            changed[""] = (facts.st_size, facts.st_mtime_ns)
    if changed == before:
        return Arrivals(changed, {}, removed)
    return Arrivals({}, changed, 0)


def take(archive: Archive, lake: Lake, arrivals: Arrivals) -> Registered:
    """Register what a look found whole, and what is gone; what changed since the look is left alone.

    Raises:
        CatalogError: As `look`.
    """
    is_whole = archive.line in ("pair", "change_set")
    return register(archive, lake, settled=None if is_whole else arrivals.settled)
