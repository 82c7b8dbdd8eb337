"""xBD: 11,034 pairs of 1024 x 1024 px before and after 19 disasters, 850,736 buildings and their damage.

The data of the xView2 challenge (https://xview2.org), handed out after registration as tar archives for
`train` (also called `tier1`), `tier3` (more to train on), `test` and `hold`. Each of these folders holds
`images/<disaster>_<number>_pre_disaster.png` and `…_post_disaster.png`, `labels/` with a JSON of the same
name for each, and `targets/…_target.png`, 8-bit masks of the damage: 0 no building, 1 no damage, 2 minor, 3
major, 4 destroyed. Older copies of tier3 have no targets. The geocoded edition has `.tif` for `.png`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lib.datasets import ChangePair, Dataset, Licence, SourceItem
from lib.datasets.change_folders import items_of_pairs, require_all, split_of
from lib.datasets.folders import files_below
from lib.errors import DatasetError

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

# A class's place, counted from 1, is its value in the target masks.
DAMAGE = ("no-damage", "minor-damage", "major-damage", "destroyed")
_SPLITS = {"train": "train", "tier1": "train", "tier3": "train", "test": "test", "hold": "hold"}
_BEFORE, _AFTER = "_pre_disaster", "_post_disaster"


@dataclass(frozen=True, slots=True)
class Building:
    """One outlined building.

    Attributes:
        uid: The same before and after the disaster.
        outline: In pixels of the picture: x to the right, y down.
        damage: One of `DAMAGE`; None before the disaster, or where the annotators couldn't tell.
    """

    uid: str
    outline: "BaseGeometry"
    damage: str | None


def read_pairs(root: Path) -> Iterator[ChangePair]:
    """The pairs that are there, with the damage after the disaster as mask and as polygons.

    A value of at least 2 (minor damage) in the mask is a change. Mask or polygons are None in a folder that
    has no `targets` or no `labels` at all.

    Raises:
        DatasetError: No pairs below the root, or files missing from some.
    """
    folders: dict[PurePosixPath, set[str]] = {}
    for path in files_below(root, frozenset({".png", ".tif", ".json"})):
        if not path.name.startswith("."):
            folders.setdefault(path.parent, set()).add(path.name)
    groups = sorted(folder.parent for folder in folders if folder.name == "images")
    pairs = [pair for group in groups for pair in _pairs_of(root, group, folders)]
    if not pairs:
        raise DatasetError(
            f"there is no images/<disaster>_<number>{_BEFORE}.png below {root}. Unpack xBD's archives there."
        )
    yield from pairs


def read_items(root: Path) -> Iterator[SourceItem]:
    """The pictures of the pairs, with their splits.

    Raises:
        DatasetError: As `read_pairs`.
    """
    yield from items_of_pairs(read_pairs(root))


def read_buildings(file: Path) -> list[Building]:
    """The buildings of a label file, such as `root / pair.polygons`.

    Raises:
        DatasetError: It is no label file of xBD.
    """
    from shapely import from_wkt
    from shapely.errors import ShapelyError

    try:
        features = json.loads(file.read_text(encoding="utf-8"))["features"]["xy"]
        return [
            Building(told["uid"], from_wkt(feature["wkt"]), _damage_of(told.get("subtype")))
            for feature in features
            if (told := feature["properties"])["feature_type"] == "building"
        ]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, ShapelyError) as error:
        raise DatasetError(
            f"{file} is no xBD label file ({type(error).__name__}: {error}). Unpack it again."
        ) from error


def _damage_of(subtype: str | None) -> str | None:
    if subtype is None or subtype == "un-classified":
        return None
    if subtype not in DAMAGE:
        raise ValueError(f"damage is {subtype!r}, not one of {', '.join(DAMAGE)}")
    return subtype


def _pairs_of(root: Path, group: PurePosixPath, folders: dict[PurePosixPath, set[str]]) -> list[ChangePair]:
    pairs = []
    for ident, suffix in sorted({found for name in folders[group / "images"] if (found := _ident(name))}):
        before, after = (group / "images" / f"{ident}{date}{suffix}" for date in (_BEFORE, _AFTER))
        label = group / "targets" / f"{ident}{_AFTER}_target.png"
        polygons = group / "labels" / f"{ident}{_AFTER}.json"
        known = [path for path in (label, polygons) if path.parent in folders]
        require_all(root, [before, after, *known])
        pairs.append(
            ChangePair(
                name=str(group / ident),
                before=str(before),
                after=str(after),
                label=str(label) if label in known else None,
                split=split_of(group, splits=_SPLITS),
                polygons=str(polygons) if polygons in known else None,
            )
        )
    return pairs


def _ident(name: str) -> tuple[str, str] | None:
    path = PurePosixPath(name)
    for date in (_BEFORE, _AFTER):
        if path.stem.endswith(date):
            return path.stem.removesuffix(date), path.suffix
    return None


DATASET = Dataset(
    name="xbd",
    kind="scene",
    title="xBD, assessing building damage from satellite pictures (xView2)",
    licence=Licence(
        name="CC BY-NC-SA 4.0",
        url="https://xview2.org/dataset",
        asks="Attribution, no commercial use, the same licence for what is derived: cite Gupta et al., "
        "Creating xBD, CVPR Workshops 2019. The pictures are Maxar's.",
        needs_acknowledgement=True,
    ),
    files=(),
    # An estimate: 22,068 pictures of 3 MB at most. The archives of train and test have 7.8 and 2.6 GB.
    size_bytes=70_000_000_000,
    read_items=read_items,
    read_pairs=read_pairs,
    changed_from=2,
    beside=(f"*/labels/*{_BEFORE}.json", f"*/targets/*{_BEFORE}_target.png"),
    by_hand="xBD is handed out after registration: log in at https://xview2.org, download the archives of "
    "train, tier3, test and hold that you want, unpack them into one folder, and set `root` to it.",
    notes="2,799 pairs in train, 6,369 in tier3 (both read as train), 933 in test, 933 in hold. "
    "The target masks have no value for buildings that couldn't be judged (`un-classified`).",
)
