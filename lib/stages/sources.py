"""From a folder to items in shards: every file is accounted for, and an item never changes shard.

`scan` looks, `register` decides under the ledger's lock. Content hashes are made here, so that everything
after depends on what a file holds and not on when it was touched.
"""

import hashlib
import json
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from lib.catalog import Archive
from lib.datasets import SourceItem, dataset
from lib.errors import CatalogError, LakeError
from lib.lake import Lake
from lib.ledger import LedgerItem

VIDEO_SUFFIXES = frozenset(
    [
        ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".flv", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg",
        ".vob", ".ogv", ".wmv", ".asf", ".3gp", ".3g2", ".mxf", ".gif", ".f4v",
    ]
)  # fmt: skip
# Stands for the content hash of a file that a plan saw and didn't read.
UNREAD = "unread"
AUDIO_SUFFIXES = frozenset([".mp3", ".wav", ".flac", ".aac", ".m4a", ".ogg", ".opus", ".wma"])


@dataclass(frozen=True, slots=True)
class Seen:
    """One file as a scan found it. `reason` says why it won't be opened; "" when it will."""

    path: str
    bytes: int
    mtime_ns: int
    reason: str = ""


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
    if archive.dataset is None:
        raise CatalogError(
            f"the catalog entry [archives.{archive.name}] has no `root`, nor a `dataset` to download: "
            'give it the folder of its files, root = "/path/to/them".'
        )
    return lake.root / "_sources" / archive.name


def scan(root: Path, suffixes: frozenset[str] = VIDEO_SUFFIXES) -> Iterator[Seen]:
    """Every file below a folder, in a stable order; what is no candidate carries its reason.

    Raises:
        CatalogError: The root is no readable folder: an unmounted disk must not look like a deleted archive.
    """
    if not root.is_dir():
        raise CatalogError(
            f"the sources' folder {root} isn't there. Mount it, or set `root` in the catalog entry."
        )
    if not os.access(root, os.R_OK | os.X_OK):
        raise CatalogError(f"the sources' folder {root} can't be read. Give this user read access to it.")
    yield from _scan_folder(root.resolve(), root, suffixes)


def _scan_folder(root: Path, folder: Path, suffixes: frozenset[str]) -> Iterator[Seen]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        yield Seen(_shown(folder, root), 0, 0, f"folder can't be read: {error.strerror}")
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            if path.suffix.lower() in suffixes:
                yield Seen(_shown(path, root), 0, 0, "a folder, though its name ends like a video's")
            yield from _scan_folder(root, path, suffixes)
        else:
            yield _look(root, path, suffixes)


def _look(root: Path, path: Path, suffixes: frozenset[str]) -> Seen:
    shown = _shown(path, root)
    try:
        facts = path.stat()
        target = path.resolve(strict=True)
    except OSError as error:
        reason = "a broken link" if path.is_symlink() else f"can't be looked at: {error.strerror}"
        return Seen(shown, 0, 0, reason)
    seen = Seen(shown, facts.st_size, facts.st_mtime_ns)
    suffix = path.suffix.lower()
    if path.is_symlink() and not target.is_relative_to(root):
        return Seen(shown, 0, 0, "a link that leads out of the archive's folder")
    if stat.S_ISDIR(facts.st_mode):
        return Seen(shown, 0, 0, "a link to a folder; links to folders aren't followed")
    if not stat.S_ISREG(facts.st_mode):
        return Seen(shown, 0, 0, "not a regular file (a pipe, socket or device)")
    if not _is_utf8(path):
        return Seen(shown, facts.st_size, facts.st_mtime_ns, "its name is no valid UTF-8: rename it")
    if suffix in AUDIO_SUFFIXES:
        return Seen(shown, facts.st_size, facts.st_mtime_ns, f"sound only, by its name ({suffix})")
    if suffix not in suffixes:
        return Seen(
            shown, facts.st_size, facts.st_mtime_ns, f"no video, by its name ({suffix or 'no ending'})"
        )
    if facts.st_size == 0:
        return Seen(shown, 0, facts.st_mtime_ns, "empty file (0 bytes)")
    return seen


def _shown(path: Path, root: Path) -> str:
    for base in (root, root.resolve()):
        if path.is_relative_to(base):
            path = path.relative_to(base)
            break
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def _is_utf8(path: Path) -> bool:
    try:
        path.name.encode()
    except UnicodeEncodeError:
        return False
    return True


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, 32 hex digits of it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def register(archive: Archive, lake: Lake, *, accept_empty: bool = False) -> Registered:
    """Bring the ledger up to date with the sources: new items get a shard, changed ones a new hash.

    Raises:
        CatalogError: The root can't be read, or is empty where it wasn't: an unmounted disk looks like that.
    """
    root = root_of(archive, lake)
    lake.ledger.require_writable()
    with FileLock(lake.root / f".{archive.name}.register.lock"):
        known = {item.path: item for item in lake.ledger.items(archive.name)}
        seen = _seen(archive, root, known, accept_empty=accept_empty)
        labelled = _labels(archive, root)

        def hash_all(paths: list[str]) -> Iterable[tuple[str, str]]:
            with ThreadPoolExecutor(4) as pool:
                return list(pool.map(lambda path: _hash_or_reason(root / path), paths))

        items, counts = _merge(archive, known, seen, labelled=labelled, hash_all=hash_all)
        lake.ledger.write_items(archive.name, items)
    return Registered(tuple(lake.ledger.shards(archive.name)), **counts)


def foresee(archive: Archive, lake: Lake) -> list[LedgerItem]:
    """The items as `register` would leave them, told from names, sizes and dates: nothing is read or written.

    A new or changed file has `UNREAD` for its content hash, so that whatever is made from it counts as due.

    Raises:
        CatalogError: As `register`.
    """
    root = root_of(archive, lake)
    known = {item.path: item for item in lake.ledger.items(archive.name)}
    # A ledger that was lost is rebuilt without dates: there, the same size is taken for the same file.
    seen = {
        path: replace(found, mtime_ns=-1) if path in known and known[path].mtime_ns == -1 else found
        for path, found in _seen(archive, root, known).items()
    }
    changed, _ = _merge(
        archive, known, seen, labelled=None, hash_all=lambda paths: [(UNREAD, "")] * len(paths)
    )
    return sorted((known | {item.path: item for item in changed}).values(), key=lambda item: item.seq)


def _seen(
    archive: Archive, root: Path, known: Mapping[str, LedgerItem], *, accept_empty: bool = False
) -> dict[str, Seen]:
    seen = {found.path: found for found in scan(root)}
    if not seen and any(not item.removed for item in known.values()) and not accept_empty:
        raise CatalogError(
            f"{root} is empty, but {len(known)} files were known there. Mount it; "
            f"or, if they are gone for good, `dinolake run {archive.name} --accept-empty`."
        )
    return seen


def _labels(archive: Archive, root: Path) -> Mapping[str, SourceItem]:
    if archive.dataset is None:
        return {}
    return {item.path: item for item in dataset(archive.dataset).read_items(root)}


def _merge(
    archive: Archive,
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
    placer = _Placer(archive, known.values())
    counts = {"new": 0, "changed": 0, "removed": 0, "unchanged": 0}
    written = []
    for path, found in seen.items():
        old = known.get(path)
        digest, reason = hashed.get(
            path, (old.content_hash if old and not found.reason else "", found.reason)
        )
        facts: dict[str, Any] = {
            "bytes": found.bytes, "mtime_ns": found.mtime_ns, "content_hash": digest, "reason": reason,
            "removed": False,
        }  # fmt: skip
        if labelled is not None:
            facts |= _label(labelled.get(path))
        if old is None:
            item, shard, seq = placer.place(path, found.bytes)
            written.append(LedgerItem(path=path, item=item, shard=shard, seq=seq, **facts))
            counts["new"] += 1
        else:
            new = old.seen_as(**facts)
            is_other = (new.content_hash, new.reason, new.removed) != (
                old.content_hash,
                old.reason,
                old.removed,
            )
            counts["changed" if is_other else "unchanged"] += 1
            if new != old:
                written.append(new)
    for path, old in known.items():
        if path not in seen and not old.removed:
            written.append(old.seen_as(removed=True))
            counts["removed"] += 1
    return written, counts


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


class _Placer:
    """Hands out item ids and shards: the last shard is filled, then the next is opened."""

    def __init__(self, archive: Archive, known: Iterable[LedgerItem]):
        items = list(known)
        self._archive = archive
        self._taken = {item.item for item in items}
        self._seq = max((item.seq for item in items), default=-1)
        self._number = max((int(item.shard[1:]) for item in items), default=0)
        in_last = [item for item in items if int(item.shard[1:]) == self._number]
        self._items, self._bytes = len(in_last), sum(item.bytes for item in in_last)

    def place(self, path: str, size: int) -> tuple[str, str, int]:
        """Id, shard and order of a new item."""
        is_full = self._items >= self._archive.shard_items or self._bytes + size > self._archive.shard_bytes
        if self._items and is_full:
            self._number, self._items, self._bytes = self._number + 1, 0, 0
        self._items, self._bytes, self._seq = self._items + 1, self._bytes + size, self._seq + 1
        return self._name(path), f"s{self._number:05d}", self._seq

    def _name(self, path: str) -> str:
        # `#` parts an item from a place in it; control characters would break listings.
        plain = re.sub(r"[\x00-\x1f\x7f#]", "_", unicodedata.normalize("NFC", path))
        stem = plain[: -len(Path(plain).suffix)] if Path(plain).suffix else plain
        for name in (stem, plain, *(f"{plain}~{n}" for n in range(2, 1 << 20))):
            if name not in self._taken:
                self._taken.add(name)
                return name
        raise LakeError(f"no id left for {path!r}; rename the file.")
