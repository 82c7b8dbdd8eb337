"""What has to be out of a lake: items that were forgotten, and those that are gone at their source.

Of what was forgotten only digests are kept, so that no id stands anywhere, and the source stays out for good.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from lib.errors import QueryError
from lib.lake import Lake, Place, write_whole
from lib.ledger import LedgerItem

# Beside an archive's stages: since when items are gone; digests of those that mustn't come back, which stand
# in the ledger too and outlive it here.
_REMOVED, _FORGOTTEN = "removed.json", "forgotten.json"
# Shards that a purge goes through, while it is under way.
PURGE_NOTE = "purge.json"
_NEAR = 3


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten: the items asked for, and others that are copies of them, byte for byte."""

    items: tuple[str, ...]
    copies: tuple[str, ...]


def register_lock(lake: Lake, name: str) -> FileLock:
    """Held while an archive's items change: registration decides by what it read."""
    return FileLock(lake.root / f".{name}.register.lock")


def forget(lake: Lake, name: str, asked: Sequence[str]) -> Forgotten:
    """Take items out of every answer at once; their paths and contents aren't registered again.

    Args:
        lake: Where it lies.
        name: The archive's.
        asked: Items by id, or by path as the ledger has it.

    Raises:
        QueryError: There is no such item; nothing is forgotten then.
        LakeError: This user may only read the lake.
    """
    lake.ledger.require_writable()
    with register_lock(lake, name):
        items = lake.ledger.items(name)
        chosen = [_named(items, each, name) for each in dict.fromkeys(asked)]
        ids, contents = {item.item for item in chosen}, {item.content_hash for item in chosen} - {""}
        copies = [item for item in items if item.content_hash in contents and item.item not in ids]
        every = [*chosen, *copies]
        _remember(lake, name, {digest for item in every for digest in _digests(item)})
        lake.ledger.write_items(name, [item.seen_as(removed=True) for item in every])
    return Forgotten(tuple(sorted(ids)), tuple(sorted(item.item for item in copies)))


def forgotten_of(lake: Lake, name: str) -> frozenset[str]:
    """Digests of what mustn't come back."""
    return frozenset(lake.ledger.forgotten(name) | set(_read(lake, name, _FORGOTTEN)))


def forgotten_since(lake: Lake, place: Place) -> frozenset[str]:
    """Digests of what was forgotten, if any of it was since a file was made; else none."""
    try:
        told = (lake.root / place.archive / _FORGOTTEN).stat().st_mtime_ns
        is_later = told >= lake.path(place).stat().st_mtime_ns
    except FileNotFoundError:
        return frozenset()
    return forgotten_of(lake, place.archive) if is_later else frozenset()


def is_forgotten(path: str, digests: Collection[str]) -> bool:
    """Whether a source of that path was forgotten."""
    return bool(digests) and _digest("path", path) in digests


def drop_sources(lake: Lake, root: Path, digests: Collection[str]) -> None:
    """Delete forgotten files that were fetched into the lake again: a catalogue knows nothing of that."""
    if not digests or not root.is_relative_to(lake.root):
        return
    for path in [each for each in root.rglob("*") if each.is_file()]:
        if is_forgotten(path.relative_to(root).as_posix(), digests):
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)


def keep_out(
    lake: Lake, name: str, items: Iterable[LedgerItem], known: Mapping[str, LedgerItem]
) -> list[LedgerItem]:
    """Items as registration may write them: forgotten contents stay out under any path; what left is noted.

    Args:
        lake: Where it lies.
        name: The archive's.
        items: New and changed ones.
        known: The items so far, by path.
    """
    digests, kept = forgotten_of(lake, name), []
    again: set[str] = set()
    for item in items:
        if digests and digests & _digests(item):
            again |= _digests(item)
            if item.path not in known:
                continue
            kept.append(item.seen_as(removed=True))
        else:
            kept.append(_without_copies(item, digests))
    if again - digests:
        # By its path the next look knows it, unopened.
        _remember(lake, name, again)
    left = [i for i in kept if i.removed and i.path in known and not known[i.path].removed]
    if left:
        _note_removed(lake, name, left)
    return kept


def due(lake: Lake, name: str, *, older_than_s: float, is_look: bool = False) -> list[LedgerItem]:
    """Items that have to be out of every file: forgotten ones, and those that are gone for so long.

    Args:
        lake: Where it lies.
        name: The archive's.
        older_than_s: Seconds that an item must be gone at its source.
        is_look: Write nothing: else what has no date yet gets today's.
    """
    removed = [item for item in lake.ledger.items(name) if item.removed]
    digests, dates = forgotten_of(lake, name), _read_dates(lake, name)
    undated = [item for item in removed if _digest("item", item.item) not in dates]
    if undated and not is_look:
        dates |= _note_removed(lake, name, undated)
    now = datetime.now(UTC)

    def is_due(item: LedgerItem) -> bool:
        if digests & _digests(item):
            return True
        since = dates.get(_digest("item", item.item), now.isoformat())
        return (now - datetime.fromisoformat(since)).total_seconds() >= older_than_s

    return [item for item in removed if is_due(item)]


def purged_shards(lake: Lake, name: str) -> list[str]:
    """Shards whose files have to be gone through; [] where no purge is under way."""
    return list(_read(lake, name, PURGE_NOTE))


def drop_dates(lake: Lake, name: str) -> None:
    """Let go of the dates of items that the ledger doesn't have any more."""
    dates = _read_dates(lake, name)
    if dates:
        standing = {_digest("item", item.item) for item in lake.ledger.items(name)}
        _write(lake, name, _REMOVED, {key: at for key, at in dates.items() if key in standing})


def _named(items: Sequence[LedgerItem], asked: str, archive: str) -> LedgerItem:
    for item in items:
        if asked in (item.item, item.path):
            return item
    import difflib

    near = difflib.get_close_matches(asked, [i.item for i in items if not i.removed], n=_NEAR)
    told = (
        f"Near: {', '.join(near)}." if near else "Items are named as searches name them, or by their paths."
    )
    raise QueryError(f"no item {asked!r} in {archive!r}; nothing was forgotten. {told}")


def _digest(of: str, value: str) -> str:
    return hashlib.sha256(f"{of}\x00{value}".encode("utf-8", "surrogatepass")).hexdigest()


def _digests(item: LedgerItem) -> set[str]:
    contents = {_digest("content", item.content_hash)} if item.content_hash else set()
    return {_digest("path", item.path)} | contents


def _without_copies(item: LedgerItem, digests: Collection[str]) -> LedgerItem:
    """An item whose labels tell of no forgotten one that it shows stretches of."""
    if not digests or '"copy_of"' not in item.segments:
        return item
    segments = json.loads(item.segments)
    kept = [s for s in segments if not (s.get("copy_of") and is_forgotten(s["copy_of"], digests))]
    return item if len(kept) == len(segments) else item.seen_as(segments=json.dumps(kept))


def _remember(lake: Lake, name: str, digests: set[str]) -> None:
    _write(lake, name, _FORGOTTEN, sorted(digests | set(_read(lake, name, _FORGOTTEN))))
    lake.ledger.forget(name, sorted(digests))


def _note_removed(lake: Lake, name: str, items: Iterable[LedgerItem]) -> dict[str, str]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    dates = _read_dates(lake, name) | {_digest("item", item.item): now for item in items}
    _write(lake, name, _REMOVED, dates)
    return dates


def _read_dates(lake: Lake, name: str) -> dict[str, str]:
    told = _read(lake, name, _REMOVED)
    return dict(told) if isinstance(told, dict) else {}


def _read(lake: Lake, name: str, file: str) -> dict[str, str] | list[str]:
    try:
        told = json.loads((lake.root / name / file).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return []
    return told if isinstance(told, dict | list) else []


def _write(lake: Lake, name: str, file: str, told: dict[str, str] | list[str]) -> None:
    write_whole(lake.root / name / file, json.dumps(told, indent=0), lasting=True)
