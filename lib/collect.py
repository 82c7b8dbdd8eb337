"""What nothing in a lake points to any more: found with its reason, and removed after a delay.

Whoever reads may hold what was just superseded, so nothing goes before it was out of use for a while.
"""

import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from lib.catalog import Archive
from lib.errors import DinolakeError, LakeError
from lib.folders import entries_of, mtime_of, newest_in, size_of
from lib.lake import WHOLE, Lake, Place
from lib.processes import is_alive
from lib.serving import INDEX_STAGES, Pointer, contracts_by_stage, drop_published, read_pointer
from lib.stages.change_set_line import CHANGE_SET_LINE
from lib.stages.line import LINES, line_of
from lib.stages.making import Work
from lib.stages.stage import Stage

DAY_S = 86_400.0
_KNOWN_STAGES = {stage.name for line in (*LINES.values(), CHANGE_SET_LINE) for stage in line.stages}
# Stages that make folders beside their file, and what those are called.
_FOLDERS = {**dict.fromkeys(INDEX_STAGES.values(), "index"), "aligner": "aligner"}


@dataclass(frozen=True, slots=True)
class Litter:
    """A file or a folder that nothing points to.

    Attributes:
        path: Where it is.
        bytes: On the disk, links counted whole.
        why: Why it is of no more use.
        since_s: When it was of use last, as far as can be told: seconds since 1970.
        archive: Whose it is; "" for the lake's own.
        contract: That it holds vectors of; "" for none.
        place: Of the file that would name it, were it in use.
    """

    path: Path
    bytes: int
    why: str
    since_s: float
    archive: str = ""
    contract: str = ""
    place: Place | None = None


@dataclass(slots=True)
class Found:
    """What may go, and what couldn't be judged."""

    litter: list[Litter] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_litter(
    lake: Lake, archives: Mapping[str, Archive], names: Sequence[str], *, older_than_s: float,
    dropped_archives: bool = False,
) -> Found:  # fmt: skip
    """Everything that was out of use for so long; nothing is touched.

    Args:
        lake: Where to look.
        archives: All of the catalog.
        names: Those of them to look at.
        older_than_s: Delay in seconds.
        dropped_archives: Whether archives that left the catalog are litter too; else they are only named.
    """
    found, now = Found(), time.time()
    for name in names:
        every = _of_archive(lake, archives[name], older_than_s, now, found.notes)
        found.litter += [one for one in every if now - one.since_s >= older_than_s]
    if set(names) == set(archives):
        found.litter += [one for one in _of_lake(lake) if now - one.since_s >= older_than_s]
        for name in sorted(_without_entry(lake, archives)):
            if dropped_archives:
                found.litter += _whole_archive(lake, name)
            else:
                found.notes.append(
                    f"archive {name!r} is in the lake and not in the catalog: "
                    "`dinolake gc --dropped-archives` removes it, for good."
                )
    return found


def remove(lake: Lake, litter: Sequence[Litter]) -> int:
    """Remove what was found; bytes that were freed. What a pointer or the ledger tells of it goes first."""
    for name in sorted({one.archive for one in litter if one.contract}):
        contracts = {one.contract for one in litter if one.archive == name}
        if (lake.root / name).is_dir():
            drop_published(lake, name, sorted(_indexed_under(lake, name, contracts)))
    freed = 0
    for one in litter:
        with _as_found(lake, one) as still_is:
            if not still_is:
                continue
            _strike_off(lake, one)
            lake.remove(one.path)
        freed += 0 if one.path.exists() else one.bytes
    return freed


@contextmanager
def _as_found(lake: Lake, one: Litter) -> Iterator[bool]:
    """Whether it is litter still: nobody publishes it, or works under it, while the block runs."""
    if one.path.suffix == ".lock":
        try:
            with FileLock(one.path, timeout=0):
                yield True
        except Timeout:
            yield False
    elif one.place is not None:
        with lake.lock(one.place):
            yield one.path.name not in _named(lake, one.place)
    else:
        yield True


def _strike_off(lake: Lake, one: Litter) -> None:
    """What the ledger's cache tells of files that are about to go."""
    inside = one.path.relative_to(lake.root).parts
    if one.archive and one.path.suffix == ".parquet":
        lake.ledger.drop_stage(inside[0], inside[1], inside[2] if len(inside) == 4 else "", one.path.stem)
    elif one.contract and len(inside) == 3:
        for shard in lake.ledger.stage(inside[0], inside[1], inside[2]):
            lake.ledger.drop_stage(inside[0], inside[1], inside[2], shard)
    elif one.archive and inside == (one.archive,):
        lake.ledger.drop_items(one.archive, [item.item for item in lake.ledger.items(one.archive)])
        lake.ledger.drop_shards(one.archive, _noted_shards(lake, one.archive))


def _noted_shards(lake: Lake, name: str) -> set[str]:
    files = (lake.root / name).rglob("*.parquet")
    return {file.stem for file in files} | set(lake.ledger.shards(name)) | {WHOLE}


def _indexed_under(lake: Lake, name: str, contracts: set[str]) -> set[str]:
    """Of the contracts that go, with all published ones that some part of goes with them."""
    try:
        pointer = read_pointer(lake, name)
    except LakeError:
        return set()
    published = pointer.published if pointer else []
    return {one.contract for one in published if contracts & {one.contract, *one.stages.values()}}


def _of_archive(
    lake: Lake, archive: Archive, older_than_s: float, now: float, notes: list[str]
) -> Iterator[Litter]:
    folder = lake.root / archive.name
    shards = set(lake.ledger.shards(archive.name))
    stages = {stage.name: stage for stage in line_of(archive).stages}
    try:
        kept = _kept_contracts(lake, archive, older_than_s, now)
    except DinolakeError as error:
        notes.append(f"{archive.name}: what is of use can't be told, so its contracts stay: {error}")
        kept = None
    for path in entries_of(folder):
        if not path.is_dir() or path.name not in _KNOWN_STAGES:
            continue
        stage = stages.get(path.name)
        if stage is None:
            yield _litter(path, f"no stage of a {archive.line.replace('_', ' ')} archive", archive.name)
        elif not stage.has_contract:
            yield from _of_stage(lake, archive, stage, path, shards)
        else:
            for each in entries_of(path):
                if not each.is_dir():
                    continue
                if kept is None or each.name in kept[stage.name]:
                    yield from _of_stage(lake, archive, stage, each, shards)
                else:
                    why = "a contract that neither answers nor is asked for"
                    yield _litter(each, why, archive.name, contract=each.name)


def _kept_contracts(lake: Lake, archive: Archive, older_than_s: float, now: float) -> dict[str, set[str]]:
    """Stage -> contracts that the catalog asks for, that answer, or that did so not long ago.

    Raises:
        DinolakeError: The catalog's backbone can't be had, or the pointer is damaged.
    """
    wanted = contracts_by_stage(Work(lake, archive))
    kept = {stage: {contract} for stage, contract in wanted.items()}
    pointer = read_pointer(lake, archive.name)
    if pointer is None:
        return kept
    standing = {pointer.now} | (set() if _is_over(pointer, older_than_s, now) else {pointer.before})
    for one in pointer.published:
        if one.contract in standing:
            for stage, contract in one.stages.items():
                kept.setdefault(stage, set()).add(contract)
    return kept


def _is_over(pointer: Pointer, older_than_s: float, now: float) -> bool:
    """Whether what answers has done so for so long that nobody will go back."""
    one = pointer.of(pointer.now)
    return one is not None and now - datetime.fromisoformat(one.since).timestamp() >= older_than_s


def _of_stage(lake: Lake, archive: Archive, stage: Stage, folder: Path, shards: set[str]) -> Iterator[Litter]:
    """In the folder of a stage: files of shards that are no more, and what was superseded."""
    if stage.name.endswith("_report"):
        return
    for path in entries_of(folder):
        if path.suffix == ".parquet" and path.stem not in (shards if stage.is_sharded else {WHOLE}):
            yield _litter(path, "its shard holds no item any more", archive.name)
    contract = folder.name if stage.has_contract else ""
    place = Place(archive.name, stage.name, WHOLE, contract)
    if stage.name in _FOLDERS:
        yield from _superseded(lake, place)
    elif stage.name == "land_cover" and (lake.path(place)).is_file():
        tiles = set(lake.read(place, ["tile"]).column("tile").to_pylist())
        for path in entries_of(folder):
            # A map has its colours beside it: T31UFU.tif, T31UFU.qml, T31UFU.tif.aux.xml.
            if path.is_file() and path.suffix != ".parquet" and path.name.partition(".")[0] not in tiles:
                yield _litter(path, "a map of a tile that isn't mapped any more", archive.name)


def _named(lake: Lake, place: Place) -> set[str]:
    """The folders that are in use, of those that a stage makes beside its file."""
    what, footers = _FOLDERS[place.stage], [lake.footer(place)]
    if what == "aligner":
        # The index that answers may be of the heads before these.
        footers.append(lake.footer(replace(place, stage=INDEX_STAGES["pair"])))
    return {str(footer[1].notes.get(what, "")) for footer in footers if footer}


def _superseded(lake: Lake, place: Place) -> Iterator[Litter]:
    """Folders that a stage made and doesn't name any more. Each was of use until the next was published."""
    what, current = _FOLDERS[place.stage], _named(lake, place)
    every = [path for path in entries_of(lake.path(place).parent) if path.is_dir()]
    paths = [path for path in every if path.name.startswith((f"{what}-", f"{what}_"))]
    times = {mtime_of(path) for path in (*paths, lake.path(place))}
    for path in paths:
        if path.name not in current:
            since_s = min((at for at in times if at > mtime_of(path)), default=mtime_of(path))
            why = f"{what} that was superseded, or never published"
            yield Litter(path, size_of(path), why, since_s, place.archive, place=place)


def _of_lake(lake: Lake) -> Iterator[Litter]:
    for path in entries_of(lake.root / "_tmp"):
        if not _is_in_work(path):
            yield _litter(path, "left by a process that was killed")
    for path in entries_of(lake.root / "_broken"):
        yield _litter(path, "damaged, put aside and made again")
    for folder in entries_of(lake.root / "_sources" / "_downloads"):
        for path in entries_of(folder):
            if path.name.endswith((".part", ".part.json")) or path.is_dir():
                yield _litter(path, "a download that was never finished")
    for path in entries_of(lake.root / "_locks"):
        yield from _idle_lock(lake, path)


def _is_in_work(path: Path) -> bool:
    """Whether a process of this machine that is alive made it; of another machine's, nothing is known."""
    host, _, rest = path.name.partition(f"{socket.gethostname()}-")
    pid = rest.split("-")[0] if not host else ""
    return pid.isdigit() and is_alive(int(pid))


def _idle_lock(lake: Lake, path: Path) -> Iterator[Litter]:
    """A lock's file of something that isn't there any more; its name tells the archive, stage and shard."""
    archive, _, rest = path.name.removesuffix(".lock").partition(".")
    stage, _, of = rest.partition(".")
    if stage not in _KNOWN_STAGES:
        return
    contract, _, shard = of.rpartition(".")
    if not lake.path(Place(archive, stage, shard, contract)).exists() and not stage.endswith("_report"):
        yield _litter(path, "the lock of what isn't there any more")


def _without_entry(lake: Lake, archives: Mapping[str, Archive]) -> set[str]:
    places = [*entries_of(lake.root), *entries_of(lake.root / "_sources")]
    return {
        path.name
        for path in places
        if path.is_dir() and re.fullmatch(r"[a-z][a-z0-9_]*", path.name) and path.name not in archives
    }


def _whole_archive(lake: Lake, name: str) -> Iterator[Litter]:
    why = "its archive isn't in the catalog any more"
    for path in (
        lake.root / name,
        lake.root / "_sources" / name,
        lake.root / "_sources" / "_downloads" / name,
        lake.root / "_broken" / name,
    ):
        if path.exists():
            yield _litter(path, why, name)


def _litter(path: Path, why: str, archive: str = "", *, contract: str = "") -> Litter:
    return Litter(path, size_of(path), why, newest_in(path), archive, contract)
