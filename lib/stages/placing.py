"""Which shard a new source file goes to, and what it is called from then on."""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from lib.catalog import Archive
from lib.errors import LakeError, UnreadableMediaError
from lib.lake import fingerprint
from lib.ledger import LedgerItem
from lib.stages.acquisitions import UNPLACED, cell_name

# Goes up when scenes are looked at otherwise: every file is looked at again then.
_LOOK_VERSION = 1
_AT_ONCE = 4
_HAIR_DEG = 1e-9
# `T31UFU_20240105T105331_B04_10m`, `LC08_..._T1_SR_B4`, `HLS.S30.T31UFU.2024005T105331.v2.0.B8A`.
_BAND = re.compile(
    r"(?P<product>.+?)[._-](?:SR_|ST_|TOA_)?(?P<band>B(?:[0-9]{1,2}|8A))(?:_[0-9]{2}m)?", re.IGNORECASE
)
# Shards of files that belong to no pair, and of pairs of no split.
_REST, _NO_SPLIT = "rest", "pairs"


@dataclass(frozen=True, slots=True)
class Look:
    """What a file tells of itself before it is placed: `facts` as JSON, or why it is refused; its shard."""

    facts: str
    reason: str
    shard: str


class Placer(Protocol):
    """How one kind of archive puts files into shards."""

    def look(self, known: Mapping[str, LedgerItem | None], changed: Iterable[str]) -> dict[str, Look]:
        """Look into files, where that decides their shard.

        Args:
            known: Path -> the item as it was known, of every file that can be opened.
            changed: Those of them that are new or have changed.
        """
        ...

    def place(self, path: str, size: int, look: Look | None) -> tuple[str, str, int]:
        """Id, shard and order of a new item."""
        ...


def placer_of(archive: Archive, root: Path, known: Iterable[LedgerItem]) -> Placer:
    """The placer of an archive's kind."""
    if archive.line == "change_set":
        return ChangeSetPlacer(archive, root, known)
    return ScenePlacer(archive, root, known) if archive.line == "scene" else Filler(archive, known)


class _Names:
    """Ids handed out once."""

    def __init__(self, known: Iterable[LedgerItem]):
        items = list(known)
        self._taken = {item.item for item in items}
        self.seq = max((item.seq for item in items), default=-1)

    def next(self, path: str) -> tuple[str, int]:
        self.seq += 1
        # `#` parts an item from a place in it; control characters would break listings.
        plain = re.sub(r"[\x00-\x1f\x7f#]", "_", unicodedata.normalize("NFC", path))
        stem = plain[: -len(Path(plain).suffix)] if Path(plain).suffix else plain
        for name in chain((stem, plain), (f"{plain}~{n}" for n in range(2, 1 << 20))):
            if name not in self._taken:
                self._taken.add(name)
                return name, self.seq
        raise LakeError(f"no id left for {path!r}; rename the file.")


class Filler:
    """Files in the order they come: the last shard is filled, then the next is opened."""

    def __init__(self, archive: Archive, known: Iterable[LedgerItem]):
        items = list(known)
        self._archive = archive
        self._names = _Names(items)
        self._number = max((int(item.shard[1:]) for item in items), default=0)
        in_last = [item for item in items if int(item.shard[1:]) == self._number]
        self._items, self._bytes = len(in_last), sum(item.bytes for item in in_last)

    def look(self, known: Mapping[str, LedgerItem | None], changed: Iterable[str]) -> dict[str, Look]:
        """Nothing in a file decides its shard."""
        return {}

    def place(self, path: str, size: int, look: Look | None) -> tuple[str, str, int]:
        """Id, shard and order of a new item."""
        is_full = self._items >= self._archive.shard_items or self._bytes + size > self._archive.shard_bytes
        if self._items and is_full:
            self._number, self._items, self._bytes = self._number + 1, 0, 0
        self._items, self._bytes = self._items + 1, self._bytes + size
        name, seq = self._names.next(path)
        return name, f"s{self._number:05d}", seq


class ChangeSetPlacer:
    """The files of a pair together, pairs of one split in the order they come: `test_00000`, `test_00001`."""

    def __init__(self, archive: Archive, root: Path, known: Iterable[LedgerItem]):
        items = list(known)
        self._archive, self._root, self._names = archive, root, _Names(items)
        self._parts = _pair_parts(archive, root)
        self._files: dict[str, list[str]] = {}
        for path, told in self._parts.items():
            self._files.setdefault(told["pair"] or "", []).append(path)
        self._shards = {told["pair"]: i.shard for i in items if (told := json.loads(i.facts or "{}"))}
        # By split: number, items and bytes of its last shard.
        self._last: dict[str, tuple[int, int, int]] = {}
        for item in sorted(items, key=lambda item: item.shard):
            split, _, number = item.shard.rpartition("_")
            last, count, size = self._last.get(split, (0, 0, 0))
            count, size = (count, size) if int(number) == last else (0, 0)
            self._last[split] = int(number), count + 1, size + item.bytes

    def look(self, known: Mapping[str, LedgerItem | None], changed: Iterable[str]) -> dict[str, Look]:
        """Which pair each file belongs to, as the dataset's layout tells; nothing is opened."""
        looks = {}
        for path, item in known.items():
            told = self._parts.get(path)
            facts = json.dumps(told) if told else ""
            reason = "" if told else f"belongs to no pair of {self._archive.dataset}"
            # A pair stays where its first file was put, whatever split it is said to be of later.
            looks[path] = Look(facts, reason, item.shard if item else self._shard_for(path))
        return looks

    def place(self, path: str, size: int, look: Look | None) -> tuple[str, str, int]:
        """Id, shard and order of a new item."""
        name, seq = self._names.next(path)
        return name, look.shard if look else self._shard_for(path), seq

    def _shard_for(self, path: str) -> str:
        told = self._parts.get(path)
        if told is None:
            return self._fill(_REST, [path])
        pair = told["pair"] or ""
        if pair not in self._shards:
            self._shards[pair] = self._fill(told["split"] or _NO_SPLIT, self._files[pair])
        return self._shards[pair]

    def _fill(self, split: str, paths: list[str]) -> str:
        """The split's last shard, or the next one where these files would be too many for it."""
        number, items, taken = self._last.get(split, (0, 0, 0))
        size = sum((self._root / path).stat().st_size for path in paths if (self._root / path).is_file())
        is_full = items + len(paths) > self._archive.shard_items or taken + size > self._archive.shard_bytes
        if items and is_full:
            number, items, taken = number + 1, 0, 0
        self._last[split] = number, items + len(paths), taken + size
        return f"{split}_{number:05d}"


def _pair_parts(archive: Archive, root: Path) -> dict[str, dict[str, str | None]]:
    """Path -> pair, side and split, of every file that a pair is made of."""
    from lib.datasets import dataset

    read_pairs = dataset(archive.dataset or "").read_pairs
    found: dict[str, dict[str, str | None]] = {}
    for pair in read_pairs(root) if read_pairs else ():
        for side in ("before", "after", "label", "polygons"):
            path = getattr(pair, side)
            if path is not None:
                found[path] = {"pair": pair.name, "side": side, "split": pair.split}
    return found


class ScenePlacer:
    """Scenes by tile and period, as their files tell; those that don't are rows of a cell of their own."""

    def __init__(self, archive: Archive, root: Path, known: Iterable[LedgerItem]):
        self._root, self._config = root, archive.scenes
        self._names = _Names(known)
        self._unplaced = cell_name(UNPLACED, period_start(archive.scenes.start, archive.scenes.period))
        self._apart: set[str] = set()

    def look(self, known: Mapping[str, LedgerItem | None], changed: Iterable[str]) -> dict[str, Look]:
        """When and where each scene was taken; asked again of all when the entry changed."""
        renewed = set(changed)
        self._apart = bands_apart(known)
        due = [
            path
            for path, item in known.items()
            if path in renewed or item is None or _asked(item.facts) != self._stamp(path)
        ]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return dict(zip(due, pool.map(self._look, due), strict=True))

    def place(self, path: str, size: int, look: Look | None) -> tuple[str, str, int]:
        """Id, shard and order of a new item."""
        name, seq = self._names.next(path)
        return name, look.shard if look else self._unplaced, seq

    def _stamp(self, path: str) -> str:
        """What was asked of a file: when that changes, the answer may."""
        try:
            facts = (self._root / path).with_suffix(".json").stat()
            beside = [facts.st_size, facts.st_mtime_ns]
        except OSError:
            beside = []
        apart = [True] if path in self._apart else []
        return fingerprint(_LOOK_VERSION, self._config.model_dump(mode="json"), beside, *apart)

    def _look(self, path: str) -> Look:
        from lib.media.scene_facts import probe_scene

        asked = {"asked": self._stamp(path)}
        config = self._config
        try:
            found = probe_scene(self._root / path, pattern=config.pattern, tile_grid=config.tile_grid)
            bounds = _bounds(found.footprint)
        except UnreadableMediaError as error:
            return Look(json.dumps(asked), str(error), self._unplaced)
        except FileNotFoundError:
            return Look(json.dumps(asked), "it vanished while it was being read", self._unplaced)
        except (ValueError, ArithmeticError, RuntimeError) as error:
            # Libraries of geodesy say it in many ways; one file's oddity is no reason to stop the run.
            told_of = next(iter(str(error).splitlines()), type(error).__name__)
            return Look(json.dumps(asked), f"its place can't be understood: {told_of}", self._unplaced)
        if path in self._apart and found.bands == 1:
            reason = (
                "one band of a product whose other bands are files beside it: stack the bands of one product "
                "into one file (`rio stack` does it)"
            )
            return Look(json.dumps(asked), reason, self._unplaced)
        first = period_start(found.acquired.date(), config.period)
        if found.acquired.date() < config.start:
            day = found.acquired.date()
            reason = (
                f"acquired {day}, before the archive's first day {config.start}: set an earlier "
                "scenes.start in its catalog entry"
            )
            return Look(json.dumps(asked), reason, self._unplaced)
        told: dict[str, Any] = asdict(found) | asked
        told |= {
            "acquired": found.acquired.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "footprint": found.footprint.hex(),
            "bounds": bounds,
        }
        # A scene that calls its tile so isn't one of those that have none.
        tile = f"{found.tile}_" if found.tile == UNPLACED else found.tile
        return Look(json.dumps(told | {"tile": tile}, sort_keys=True), "", cell_name(tile, first))


def bands_apart(paths: Iterable[str]) -> set[str]:
    """Those of the files that are called after one band of a product, beside others called after another."""
    groups: dict[tuple[str, str], dict[str, set[str]]] = {}
    for path in paths:
        if told := _BAND.fullmatch(PurePosixPath(path).stem):
            product = str(PurePosixPath(path).parent), told["product"].casefold()
            groups.setdefault(product, {}).setdefault(told["band"].casefold(), set()).add(path)
    return {path for bands in groups.values() if len(bands) > 1 for found in bands.values() for path in found}


def period_start(day: date, period: str) -> str:
    """The first day of the period that a day lies in: a Monday, or the first of a month."""
    first = day.replace(day=1) if period == "month" else day - timedelta(days=day.weekday())
    return first.isoformat()


def _asked(facts: str) -> str:
    return str(json.loads(facts).get("asked", "")) if facts else ""


def _bounds(footprint: bytes) -> list[float]:
    """West, south, east, north in degrees; west is above east where the 180th meridian is crossed."""
    import shapely

    shape = shapely.from_wkb(footprint)
    west, south, east, north = shape.bounds
    sides = [part.bounds for part in shapely.get_parts(shape)]
    enders = [side[0] for side in sides if side[2] >= 180 - _HAIR_DEG]
    beginners = [side[2] for side in sides if side[0] <= -180 + _HAIR_DEG]
    if enders and beginners and min(enders) > max(beginners):
        west, east = min(enders), max(beginners)
    return [west, south, east, north]
