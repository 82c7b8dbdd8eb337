"""From a folder to items in shards: every file is accounted for, and an item never changes shard.

`scan` looks, `register` decides under the ledger's lock. Content hashes are made here, so that everything
after depends on what a file holds and not on when it was touched.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from filelock import FileLock

from lib.catalog import Archive
from lib.datasets import SourceItem, dataset
from lib.errors import CatalogError
from lib.lake import Lake, write_whole
from lib.ledger import LedgerItem
from lib.stages.placing import placer_of
from lib.stages.scan import SOUGHT, Seen, content_hash, scan

# Stands for the content hash of a file that a plan saw and didn't read.
UNREAD = "unread"
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
    """The folder that holds an archive's sources: its own, or where its dataset is unpacked.

    Raises:
        CatalogError: The entry names neither.
    """
    if archive.root is not None:
        return Path(archive.root).expanduser().absolute()
    if archive.dataset is None and archive.stac is None:
        raise CatalogError(
            f"the catalog entry [archives.{archive.name}] has no `root`, nor a `dataset` to download: "
            'give it the folder of its files, root = "/path/to/them".'
        )
    return lake.root / "_sources" / archive.name


def register(archive: Archive, lake: Lake, *, accept_empty: bool = False) -> Registered:
    """Bring the ledger up to date with the sources: new items get a shard, changed ones a new hash.

    Raises:
        CatalogError: The root can't be read, or is empty where it wasn't: an unmounted disk looks like that.
    """
    root = root_of(archive, lake)
    lake.ledger.require_writable()
    with FileLock(lake.root / f".{archive.name}.register.lock"):
        known = {item.path: item for item in lake.ledger.items(archive.name)}
        if archive.kind == "pair":
            from lib.stages.pair_sources import register_pairs

            items, counts = register_pairs(archive, root, known, accept_empty=accept_empty)
        else:
            items, counts = _read_folder(archive, root, known, accept_empty=accept_empty)
        lake.ledger.write_items(archive.name, items)
        left = {known[item.path].shard for item in items if item.path in known} - {
            item.shard for item in items
        }
        for shard in left - set(lake.ledger.shards(archive.name)):
            lake.drop_shard(archive.name, shard)
    return Registered(tuple(lake.ledger.shards(archive.name)), **counts)


def _read_folder(
    archive: Archive, root: Path, known: Mapping[str, LedgerItem], *, accept_empty: bool
) -> tuple[list[LedgerItem], dict[str, int]]:
    def hash_all(paths: list[str]) -> Iterable[tuple[str, str]]:
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda path: _hash_or_reason(root / path), paths))

    seen = _seen(archive, root, known, accept_empty=accept_empty)
    return _merge(archive, root, known, seen, labelled=_labels(archive, root), hash_all=hash_all)


def foresee(archive: Archive, lake: Lake) -> list[LedgerItem]:
    """The items as `register` would leave them, told from names, sizes and dates: nothing is read or written.

    A new or changed file has `UNREAD` for its content hash, so that whatever is made from it counts as due.

    Raises:
        CatalogError: As `register`.
    """
    root = root_of(archive, lake)
    known = {item.path: item for item in lake.ledger.items(archive.name)}
    if archive.kind == "pair":
        from lib.stages.pair_sources import register_pairs

        items, _ = register_pairs(archive, root, known, reads=False)
        return sorted((known | {item.path: item for item in items}).values(), key=lambda item: item.seq)
    # A ledger that was lost is rebuilt without dates: there, the same size is taken for the same file.
    seen = {
        path: replace(found, mtime_ns=-1) if path in known and known[path].mtime_ns == -1 else found
        for path, found in _seen(archive, root, known).items()
    }
    changed, _ = _merge(
        archive, root, known, seen, labelled=None, hash_all=lambda paths: [(UNREAD, "")] * len(paths)
    )
    return sorted((known | {item.path: item for item in changed}).values(), key=lambda item: item.seq)


def _seen(
    archive: Archive, root: Path, known: Mapping[str, LedgerItem], *, accept_empty: bool = False
) -> dict[str, Seen]:
    seen = {found.path: found for found in scan(root, SOUGHT[archive.line])}
    if archive.line == "change_set":
        beside = dataset(archive.dataset or "").beside
        seen = {
            path: found for path, found in seen.items() if not any(fnmatch(f"/{path}", p) for p in beside)
        }
    if not seen and any(not item.removed for item in known.values()) and not accept_empty:
        raise CatalogError(
            f"{root} is empty, but {len(known)} files were known there. Mount it; "
            f"or, if they are gone for good, `dinolake run {archive.name} --accept-empty`."
        )
    if archive.stac is not None:
        seen |= {path: Seen(path, 0, 0, reason) for path, reason in _not_fetched(root).items()}
    return seen


def note_not_fetched(root: Path, reasons: Mapping[str, str]) -> None:
    """Keep what couldn't be fetched from a catalogue, and why: rows of the archive's items."""
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
    def is_same(path: str) -> bool:
        old = known.get(path)
        return (
            old is not None
            and not old.removed
            and (old.bytes, old.mtime_ns) == (seen[path].bytes, seen[path].mtime_ns)
        )

    to_hash = [path for path in seen if not seen[path].reason and not is_same(path)]
    hashed = dict(zip(to_hash, hash_all(to_hash), strict=True))
    placer = placer_of(archive, root, known.values())
    readable = [path for path in seen if not seen[path].reason and not hashed.get(path, ("", ""))[1]]
    looks = placer.look({path: known.get(path) for path in readable}, to_hash)
    counts = {"new": 0, "changed": 0, "removed": 0, "unchanged": 0}
    written = []
    for path, found in seen.items():
        old, look = known.get(path), looks.get(path)
        digest, reason = hashed.get(
            path, (old.content_hash if old and not found.reason else "", found.reason)
        )
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
            is_other = _content(new) != _content(old)
            counts["changed" if is_other else "unchanged"] += 1
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
        return "", f"can't be read: {error.strerror}"
