"""From a folder to items in shards: every file is accounted for, and an item never changes shard.

`scan` looks, `register` decides under the ledger's lock. Content hashes are made here, so that everything
after depends on what a file holds and not on when it was touched.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from lib.catalog import Archive
from lib.datasets import SourceItem, dataset
from lib.errors import CatalogError
from lib.forget import drop_sources, forgotten_of, is_forgotten, keep_out, register_lock
from lib.lake import Lake, write_whole
from lib.ledger import LedgerItem
from lib.stages.placing import placer_of
from lib.stages.scan import SOUGHT, Seen, content_hash, scan

# Stands for the content hash of a file that a plan saw and didn't read.
UNREAD = "unread"
# How the reason of a file begins that this user may not read, or that its disk doesn't give.
UNREADABLE = "can't be read: "
# So few may go at once without a word, whatever share of the archive they are.
FEW_REMOVED = 5
_NOT_FETCHED = "not_fetched.json"


@dataclass(frozen=True, slots=True)
class Registered:
    """What a registration changed."""

    shards: tuple[str, ...]
    new: int
    changed: int
    removed: int
    unchanged: int


def root_of(archive: Archive, lake: Lake) -> Path:
    """The folder that holds an archive's sources: its own, or where they are fetched to.

    Raises:
        CatalogError: The entry names neither.
    """
    if archive.root is not None and not archive.is_in_bucket:
        return Path(archive.root).expanduser().absolute()
    if archive.dataset is None and archive.stac is None and not archive.is_in_bucket:
        raise CatalogError(
            f"the catalog entry [archives.{archive.name}] has no `root`, nor a `dataset` to download: "
            'give it the folder of its files, root = "/path/to/them".'
        )
    return lake.root / "_sources" / archive.name


def register(
    archive: Archive,
    lake: Lake,
    *,
    accept_empty: bool = False,
    settled: Mapping[str, tuple[int, int]] | None = None,
) -> Registered:
    """Bring the ledger up to date with the sources: new items get a shard, changed ones a new hash.

    Args:
        archive: The catalog entry.
        lake: Whose ledger it is.
        accept_empty: That files are gone is right, however many.
        settled: Of new and changed files, those to take: path -> bytes and mtime_ns that they were seen with.
            Left out, all.

    Raises:
        CatalogError: The root can't be read, or much of what was known isn't there any more: an unmounted
            disk looks like that.
    """
    root = root_of(archive, lake)
    lake.ledger.require_writable()
    with register_lock(lake, archive.name):
        known = {item.path: item for item in lake.ledger.items(archive.name)}
        forgotten = forgotten_of(lake, archive.name)
        drop_sources(lake, root, forgotten)
        if archive.kind == "pair":
            from lib.stages.pair_sources import register_pairs

            items, counts = register_pairs(
                archive, root, known, accept_empty=accept_empty, forgotten=forgotten
            )
            if not accept_empty:
                _require_most_pairs(archive, root, known, items)
        else:
            items, counts = _read_folder(
                archive, root, known, accept_empty=accept_empty, settled=settled, forgotten=forgotten
            )
        items = keep_out(lake, archive.name, items, known)
        lake.ledger.write_items(archive.name, items)
        left = {known[item.path].shard for item in items if item.path in known} - {
            item.shard for item in items
        }
        for shard in left - set(lake.ledger.shards(archive.name)):
            lake.drop_shard(archive.name, shard)
    return Registered(tuple(lake.ledger.shards(archive.name)), **counts)


def _read_folder(
    archive: Archive, root: Path, known: Mapping[str, LedgerItem], *, accept_empty: bool,
    settled: Mapping[str, tuple[int, int]] | None, forgotten: Collection[str],
) -> tuple[list[LedgerItem], dict[str, int]]:  # fmt: skip
    def hash_all(paths: list[str]) -> Iterable[tuple[str, str]]:
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda path: _hash_or_reason(root / path), paths))

    seen = seen_at(archive, root, known, forgotten, accept_empty=accept_empty)
    if settled is not None:
        seen = dict(_without_unsettled(seen, known, settled))
    return _merge(archive, root, known, seen, labelled=_labels(archive, root), hash_all=hash_all)


def _without_unsettled(
    seen: Mapping[str, Seen], known: Mapping[str, LedgerItem], settled: Mapping[str, tuple[int, int]]
) -> Iterator[tuple[str, Seen]]:
    """What was seen, with files that may still be written left as they were known."""
    for path, found in seen.items():
        old = known.get(path)
        if not is_other(found, old) or settled.get(path) == (found.bytes, found.mtime_ns):
            yield path, found
        elif old is not None and not old.removed:
            yield path, Seen(path, old.bytes, old.mtime_ns, found.reason)


def is_other(found: Seen, old: LedgerItem | None) -> bool:
    """Whether a file is new, or another than the one that is known."""
    return old is None or old.removed or (old.bytes, old.mtime_ns) != (found.bytes, found.mtime_ns)


def foresee(archive: Archive, lake: Lake) -> list[LedgerItem]:
    """The items as `register` would leave them, told from names, sizes and dates: nothing is read or written.

    A new or changed file has `UNREAD` for its content hash, so that whatever is made from it counts as due.

    Raises:
        CatalogError: As `register`.
    """
    root = root_of(archive, lake)
    known = {item.path: item for item in lake.ledger.items(archive.name)}
    forgotten = forgotten_of(lake, archive.name)
    if archive.kind == "pair":
        from lib.stages.pair_sources import register_pairs

        items, _ = register_pairs(archive, root, known, reads=False, forgotten=forgotten)
        _require_most_pairs(archive, root, known, items)
        return sorted((known | {item.path: item for item in items}).values(), key=lambda item: item.seq)
    # A ledger that was lost is rebuilt without dates: there, the same size is taken for the same file.
    seen = {
        path: replace(found, mtime_ns=-1) if path in known and known[path].mtime_ns == -1 else found
        for path, found in seen_at(archive, root, known, forgotten).items()
    }
    changed, _ = _merge(
        archive, root, known, seen, labelled=None, hash_all=lambda paths: [(UNREAD, "")] * len(paths)
    )
    return sorted((known | {item.path: item for item in changed}).values(), key=lambda item: item.seq)


def seen_at(
    archive: Archive, root: Path, known: Mapping[str, LedgerItem], forgotten: Collection[str], *,
    accept_empty: bool = False,
) -> dict[str, Seen]:  # fmt: skip
    """Every file of a folder archive by its path, without those that were forgotten; nothing is opened.

    Raises:
        CatalogError: As `register`.
    """
    seen = {found.path: found for found in scan(root, SOUGHT[archive.line])}
    if archive.line == "change_set":
        beside = dataset(archive.dataset or "").beside
        seen = {
            path: found for path, found in seen.items() if not any(fnmatch(f"/{path}", p) for p in beside)
        }
    if archive.stac is not None or archive.is_in_bucket:
        seen |= {path: Seen(path, 0, 0, reason) for path, reason in _not_fetched(root).items()}
    if not accept_empty:
        has_any = any(not found.reason for found in seen.values())
        sizes = {path: found.bytes for path, found in seen.items()}
        _require_most_there(archive, root, known, sizes, has_any=has_any)
    return {path: found for path, found in seen.items() if not is_forgotten(path, forgotten)}


def _require_most_there(
    archive: Archive, root: Path, known: Mapping[str, LedgerItem], seen: Mapping[str, int], *, has_any: bool
) -> None:
    """Refuse to take a disk that isn't mounted, or another one in its place, for a deletion.

    Args:
        archive: The catalog entry.
        root: For the message.
        known: The items by path.
        seen: Path -> bytes of all that stands now.
        has_any: Whether any of it can be used.

    Raises:
        CatalogError: More is gone than the catalog's `watch.max_removed_pct` allows.
    """
    standing = [path for path, item in known.items() if not item.removed]
    gone = [path for path in standing if path not in seen]
    if not gone:
        return
    if len(gone) == len(standing) and not has_any:
        raise CatalogError(
            f"{root} is empty, but {len(gone):,} items were known there. Mount it; "
            f"or, if they are gone for good, `dinolake run {archive.name} --accept-empty`."
        )
    came = [path for path in seen if path not in known or known[path].removed]
    # Renamed, they are there under other names, as large as they were; and so is what comes back.
    back = sum(path in known and known[path].bytes == seen[path] for path in came)
    renamed = Counter(known[path].bytes for path in gone) & Counter(seen[path] for path in came)
    lost = len(gone) - max(back, renamed.total())
    limit = archive.watch.max_removed_pct
    if lost > FEW_REMOVED and 100 * lost > limit * len(standing):
        raise CatalogError(
            f"{len(gone):,} of {len(standing):,} known items are gone from {root} ({min(gone)!r} is one), "
            f"more than {limit:g} % at once: that looks like a disk that isn't mounted, so nothing was "
            f"removed. Mount it; or, if they are gone for good, "
            f"`dinolake run {archive.name} --accept-removed`."
        )


def _require_most_pairs(
    archive: Archive, root: Path, known: Mapping[str, LedgerItem], items: Iterable[LedgerItem]
) -> None:
    changed = {item.path: item for item in items}
    left = {path: item.bytes for path, item in {**known, **changed}.items() if not item.removed}
    _require_most_there(archive, root, known, left, has_any=len(changed) > len(changed.keys() & known.keys()))


def note_not_fetched(root: Path, reasons: Mapping[str, str]) -> None:
    """Keep what couldn't be fetched from a catalogue or bucket, and why: rows of the archive's items."""
    write_whole(root.parent / "_downloads" / root.name / _NOT_FETCHED, json.dumps(reasons))


def _not_fetched(root: Path) -> dict[str, str]:
    try:
        told = (root.parent / "_downloads" / root.name / _NOT_FETCHED).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    return dict(json.loads(told))


def _labels(archive: Archive, root: Path) -> Mapping[str, SourceItem]:
    if archive.dataset is None:
        return {}
    return {item.path: item for item in dataset(archive.dataset).read_items(root)}


def _merge(
    archive: Archive,
    root: Path,
    known: Mapping[str, LedgerItem],
    seen: Mapping[str, Seen],
    *,
    labelled: Mapping[str, SourceItem] | None,
    hash_all: Callable[[list[str]], Iterable[tuple[str, str]]],
) -> tuple[list[LedgerItem], dict[str, int]]:
    def is_due(path: str) -> bool:
        # What couldn't be read last time is read again, though its size and date are the same.
        old = known.get(path)
        is_unread = labelled is not None and old is not None and not old.content_hash
        return not seen[path].reason and (is_unread or is_other(seen[path], old))

    to_hash = [path for path in seen if is_due(path)]
    hashed = dict(zip(to_hash, hash_all(to_hash), strict=True))
    placer = placer_of(archive, root, known.values())
    readable = [path for path in seen if not seen[path].reason and not hashed.get(path, ("", ""))[1]]
    looks = placer.look({path: known.get(path) for path in readable}, to_hash)
    counts = {"new": 0, "changed": 0, "removed": 0, "unchanged": 0}
    written = []
    for path, found in seen.items():
        old, look = known.get(path), looks.get(path)
        digest, reason = hashed.get(path, ("", found.reason))
        if old is not None and path not in hashed and not found.reason:
            digest, reason = old.content_hash, "" if old.content_hash else old.reason
        facts: dict[str, Any] = {
            "bytes": found.bytes, "mtime_ns": found.mtime_ns, "content_hash": digest, "reason": reason,
            "removed": False,
        }  # fmt: skip
        if look is not None:
            facts |= {"reason": look.reason, "facts": look.facts}
        elif old is not None and not reason and old.content_hash:
            facts["reason"] = old.reason if archive.kind == "scene" else ""
        if labelled is not None:
            facts |= _label(labelled.get(path))
        if old is None:
            item, shard, seq = placer.place(path, found.bytes, look)
            written.append(LedgerItem(path=path, item=item, shard=shard, seq=seq, **facts))
            counts["new"] += 1
        else:
            # A scene whose file now tells another date or place goes to the cell of that.
            new = old.seen_as(**facts, **({"shard": look.shard} if look else {}))
            counts["changed" if _content(new) != _content(old) else "unchanged"] += 1
            if new != old:
                written.append(new)
    for path, old in known.items():
        if path not in seen and not old.removed:
            written.append(old.seen_as(removed=True))
            counts["removed"] += 1
    return written, counts


def _content(item: LedgerItem) -> tuple[str, str, bool]:
    return item.content_hash, item.reason, item.removed


def _label(about: SourceItem | None) -> dict[str, str | None]:
    if about is None:
        return {"label": None, "split": None, "segments": "[]"}
    segments = json.dumps([asdict(segment) for segment in about.segments])
    return {"label": about.label, "split": about.split, "segments": segments}


def _hash_or_reason(path: Path) -> tuple[str, str]:
    try:
        return content_hash(path), ""
    except FileNotFoundError:
        return "", "it vanished while it was being read"
    except OSError as error:
        return "", f"{UNREADABLE}{error.strerror}"
