"""From a table to pairs in shards: every row is accounted for, and a pair never changes shard nor split."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.catalog import Archive
from lib.datasets import dataset
from lib.errors import CatalogError, UnreadableMediaError
from lib.forget import is_forgotten
from lib.ledger import LedgerItem
from lib.sections import PairsConfig
from lib.stages.pair_splits import Member, split_members
from lib.stages.pair_table import Told, folder_of, read_table
from lib.stages.placing import Filler
from lib.stages.scan import content_hash

SIDES = ("left", "right")
_AT_ONCE = 4
# A text longer than this is no caption and no report.
_TEXT_LIMIT = 1 << 20


@dataclass(slots=True)
class _Side:
    """One side of a row as it was found."""

    value: str
    path: Path | None = None
    bytes: int = 0
    mtime_ns: int = 0
    digest: str = ""
    reason: str = ""


@dataclass(slots=True)
class _Row:
    told: Told
    sides: dict[str, _Side] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """What is wrong with the row, or with its first bad side."""
        faults = [f"{name}: {side.reason}" for name, side in self.sides.items() if side.reason]
        return self.told.reason or (faults[0] if faults else "")


def register_pairs(
    archive: Archive, root: Path, known: Mapping[str, LedgerItem], *, reads: bool = True,
    accept_empty: bool = False, forgotten: Collection[str] = (),
) -> tuple[list[LedgerItem], dict[str, int]]:  # fmt: skip
    """The items of a table as they stand now, and how many are new, changed, removed and as they were.

    Args:
        archive: The catalog entry.
        root: The table, or a dataset's folder.
        known: The items so far, by path, which is a pair's id.
        reads: Whether new and changed files are read for their hash; a plan reads none.
        accept_empty: That no pair is left is right.
        forgotten: Digests of pairs that stay out.

    Raises:
        CatalogError, DatasetError: The table, or its folder, can't be read.
    """
    pairs, folder = archive.pair_sides(), folder_of(archive, root)
    if not folder.is_dir():
        raise CatalogError(f"the folder {folder} isn't there. Mount it, or mend `root` in the catalog entry.")
    table = (told for told in read_table(archive, root) if not is_forgotten(told.row.id, forgotten))
    rows = [_looked_at(told, pairs, folder) for told in table]
    if not rows and reads and not accept_empty and any(not item.removed for item in known.values()):
        raise CatalogError(
            f"{root} tells no pair any more, but {len(known)} were known. Mend it; or, if they are gone for "
            f"good, `dinolake run {archive.name} --accept-empty`."
        )
    _hash(rows, known, reads=reads)
    splits = _splits(rows, known, archive)
    filler = Filler(archive, known.values())
    written, counts = [], {"new": 0, "changed": 0, "removed": 0, "unchanged": 0}
    for row in rows:
        name, old = row.told.row.id, known.get(row.told.row.id)
        split, refused = splits.get(name, (None, ""))
        sizes = [side for side in row.sides.values() if side.path]
        facts: dict[str, Any] = {
            "bytes": sum(side.bytes for side in sizes), "reason": row.reason or refused, "split": split,
            "mtime_ns": max((side.mtime_ns for side in sizes), default=0), "removed": False,
            "content_hash": _both(row.sides), "facts": _facts(row, is_refused=bool(row.reason or refused)),
        }  # fmt: skip
        if old is None:
            _, shard, seq = filler.place(name, facts["bytes"], None)
            written.append(LedgerItem(path=name, item=name, shard=shard, seq=seq, **facts))
            counts["new"] += 1
            continue
        new = old.seen_as(**facts)
        is_other = (new.content_hash, new.reason, new.removed) != (old.content_hash, old.reason, old.removed)
        counts["changed" if is_other else "unchanged"] += 1
        if new != old:
            written.append(new)
    names = {row.told.row.id for row in rows}
    for name, old in known.items():
        if name not in names and not old.removed:
            written.append(old.seen_as(removed=True))
            counts["removed"] += 1
    return written, counts


def _looked_at(told: Told, pairs: PairsConfig, folder: Path) -> _Row:
    row = _Row(told)
    values = {"left": told.row.left, "right": told.row.right}
    if not told.reason:
        for name, value in values.items():
            if value is not None:
                row.sides[name] = _looked_into(value, pairs.side(name).kind, folder)
    return row


def _looked_into(value: str, kind: str, folder: Path) -> _Side:
    """A text as it is, or a file's size and date; nothing is read yet."""
    side = _Side(value)
    if kind == "text" and not _is_text_file(value):
        return side
    path = folder / value
    try:
        target, stat = path.resolve(strict=True), path.stat()
    except (OSError, ValueError) as error:
        told = "it isn't there" if isinstance(error, FileNotFoundError) else f"can't be looked at: {error}"
        side.reason = f"{value[:200]}: {told}"
        return side
    if not target.is_relative_to(folder.resolve()):
        side.reason = f"{value[:200]}: lies outside {folder}; pairs.folder in the catalog entry widens that"
    elif not target.is_file():
        side.reason = f"{value[:200]}: no regular file"
    elif not stat.st_size:
        side.reason = f"{value[:200]}: empty file (0 bytes)"
    elif kind == "text" and stat.st_size > _TEXT_LIMIT:
        side.reason = f"{value[:200]}: {stat.st_size:,} bytes are no text of a pair's"
    side.path, side.bytes, side.mtime_ns = target, stat.st_size, stat.st_mtime_ns
    return side


def _is_text_file(value: str) -> bool:
    return value.endswith(".txt") and len(value.split()) == 1


def _hash(rows: Sequence[_Row], known: Mapping[str, LedgerItem], *, reads: bool) -> None:
    """Each side's content hash, read again only of files whose size or date changed."""
    from lib.stages.sources import UNREAD

    seen: dict[tuple[str, int, int], str] = {}
    for item in known.values():
        for told in json.loads(item.facts).get("sides", {}).values() if item.facts else ():
            if told.get("hash") and "bytes" in told:
                seen[told["value"], told["bytes"], told["mtime_ns"]] = told["hash"]
    due: dict[Path, list[_Side]] = {}
    for row in rows:
        for side in row.sides.values():
            if side.reason:
                continue
            if side.path is None:
                side.digest, side.reason = _text_hash(side.value)
            elif digest := seen.get((side.value, side.bytes, side.mtime_ns)):
                side.digest = digest
            elif reads:
                due.setdefault(side.path, []).append(side)
            else:
                side.digest = UNREAD
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for sides, (digest, reason) in zip(due.values(), pool.map(_file_hash, due), strict=True):
            for side in sides:
                side.digest, side.reason = digest, reason
    for row in rows:
        hashes = [side.digest for side in row.sides.values() if side.path and side.digest != UNREAD]
        if len(hashes) == 2 and hashes[0] == hashes[1] and not row.reason:
            row.sides["right"].reason = "both sides are the same picture"


def _text_hash(text: str) -> tuple[str, str]:
    from lib.sentences import checked_text

    try:
        plain = checked_text(text)
    except UnreadableMediaError as error:
        return "", str(error)
    return hashlib.sha256(plain.encode()).hexdigest()[:32], ""


def _file_hash(path: Path) -> tuple[str, str]:
    try:
        return content_hash(path), ""
    except OSError as error:
        return "", f"can't be read: {error.strerror}"


def _splits(
    rows: Iterable[_Row], known: Mapping[str, LedgerItem], archive: Archive
) -> dict[str, tuple[str | None, str]]:
    """Each good pair's split, or why it can't have the one it claims."""
    pairs, members = archive.pair_sides(), []
    lone: dict[str, tuple[str | None, str]] = {}
    by_content = {item.content_hash: item.split for item in known.values() if item.content_hash}
    for row in rows:
        if row.reason or "left" not in row.sides:
            lone[row.told.row.id] = (row.told.row.split, "")
            continue
        told, old = row.told.row, known.get(row.told.row.id)
        # A caption that two pictures share makes them no one place; a picture does.
        shared = [f"{side.digest}" for name, side in row.sides.items() if pairs.side(name).kind != "text"]
        # By contents, where a file was renamed: the heads have seen those.
        before = (old.split if old else by_content.get(_both(row.sides))) if told.split is None else None
        members.append(Member(told.id, told.split, before, told.group, tuple(shared)))
    shares = archive.dataset is not None and dataset(archive.dataset).shares_places
    return lone | split_members(members, test_share=pairs.test_share, shares_places=shares)


def _both(sides: Mapping[str, _Side]) -> str:
    from lib.stages.sources import UNREAD

    hashes = [side.digest for side in sides.values()]
    if not hashes or not all(hashes):
        return ""
    if UNREAD in hashes:
        return UNREAD
    return hashlib.sha256(" ".join(f"{n}:{s.digest}" for n, s in sides.items()).encode()).hexdigest()[:32]


def _facts(row: _Row, *, is_refused: bool) -> str:
    told = row.told.row
    sides: dict[str, dict[str, Any]] = {}
    for name, side in row.sides.items():
        sides[name] = {"value": side.value, "hash": side.digest}
        if side.path is not None:
            sides[name] |= {"bytes": side.bytes, "mtime_ns": side.mtime_ns}
    facts: dict[str, Any] = {"sides": sides, "group": told.group, "lon": told.lon, "lat": told.lat}
    # Of a good row it would change with every row that is put in above it, and all shards with it.
    if is_refused:
        facts["line"] = row.told.line
    if row.told.note:
        facts["note"] = row.told.note
    return json.dumps(facts | ({"near": list(told.near)} if told.near else {}), sort_keys=True)
