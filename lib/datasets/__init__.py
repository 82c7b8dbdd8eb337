"""Public datasets, one module each, and what they all say of themselves.

Adding a dataset is adding one file here that defines `DATASET`: no list elsewhere knows the names. A module
says where the dataset is, what its licence asks, how large it is, and how its folder becomes sources with
labels and splits.
"""

import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lib.errors import CatalogError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Licence:
    """What a dataset may be used for, and what has to be done before it is downloaded."""

    name: str
    url: str
    asks: str  # of the user, in a sentence or two
    needs_acknowledgement: bool


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file to download. Without a hash, the server's length is what a download is held against."""

    url: str
    name: str
    size_bytes: int | None = None  # as published or seen; only for planning and progress
    sha256: str | None = None
    md5: str | None = None
    unpack: bool = True
    is_nested: bool = False  # holds archives, which are unpacked where they lie


@dataclass(frozen=True, slots=True)
class Segment:
    """A labelled stretch of a video, in seconds."""

    start_s: float
    end_s: float
    label: str
    # Where the stretch was copied from, if it was: a source's path and the second in it. Both are one moment.
    copy_of: str | None = None
    copy_start_s: float | None = None


@dataclass(frozen=True, slots=True)
class SourceItem:
    """What a dataset knows of one of its files."""

    path: str  # relative to the root, with "/"
    label: str | None = None
    split: str | None = None
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangePair:
    """Two pictures of one place, and what is known of the change between them.

    Paths are relative to the root, with "/". Both pictures are files that open as RGB: of a set with more
    bands, the pictures that its authors made of them; its module says where the bands lie.
    """

    name: str  # unique within the dataset
    before: str
    after: str
    label: str | None  # mask of the change, on the earlier picture's pixels; None: withheld or not unpacked
    split: str | None = None
    polygons: str | None = None  # xBD's post-disaster JSON of buildings


@dataclass(frozen=True, slots=True)
class Side:
    """What one side of a dataset's pairs is."""

    kind: Literal["picture", "depth", "text"]
    # turned: the heading is unknown, so that a vector is best averaged over flips, turns and a centre crop.
    views: Literal["upright", "turned"] = "upright"
    # Of text: `report` keeps a radiology report's findings and impression.
    cleaned: Literal["", "report"] = ""
    # A full turn of 360 degrees, much wider than high: every column of it is kept and the aspect is given up,
    # on purpose; a centre crop would see a part of the horizon and miss the rest.
    panorama: bool = False


@dataclass(frozen=True, slots=True)
class PairRow:
    """Two sides that belong together, or a right side alone, which is gallery.

    A side is a path relative to the root, with "/"; where the side is text, the text itself, or a `.txt` file
    that holds it. Rows of one `group` (a place, a patient, a scene) belong on one side of any split.
    """

    id: str  # unique within the dataset
    left: str | None
    right: str | None  # None: what belongs there is missing
    split: str | None = None  # train, val or test
    group: str | None = None  # None: no other row is of its place
    lon: float | None = None  # degrees, east and north positive
    lat: float | None = None
    near: tuple[str, ...] = ()  # right sides that are neither right nor wrong: VIGOR's semi-positives


def _no_items(root: Path) -> Iterator[SourceItem]:
    return iter(())


@dataclass(frozen=True, slots=True)
class Dataset:
    """One public dataset."""

    name: str  # the module's
    kind: Literal["video", "scene", "pair", "image"]
    title: str
    licence: Licence
    files: tuple[RemoteFile, ...]
    size_bytes: int  # download and unpacked together: the room that must be free
    # Labelled files that are there, from the root: of all but pair datasets, which tell rows.
    read_items: Callable[[Path], Iterator[SourceItem]] = _no_items
    credentials: str | None = None  # environment variable that holds an access token
    by_hand: str = ""  # why nothing can be downloaded, and what to do instead
    # Scene datasets that know what changed: GeoJSON, a feature a change with `kind`, `date`, `area_m2`.
    true_changes: Callable[[Path], Path] | None = None
    prepare: Callable[[Path], None] | None = None  # makes what no download gives, in the root; may run twice
    # Summary datasets only: (users, frames) float32 by the video's stem, and how F is taken over users.
    read_user_scores: Callable[[Path], "dict[str, np.ndarray]"] | None = None
    over_users: Literal["mean", "max"] | None = None
    # Change sets only: the labelled pairs that are there, from the root.
    read_pairs: Callable[[Path], Iterator[ChangePair]] | None = None
    changed_from: int = 1  # of `ChangePair.label`: the smallest value that means changed
    # Shell patterns of "/" + path: files of its layout that are neither a pair's pictures nor its labels.
    beside: tuple[str, ...] = ()
    # Pair datasets only: their rows, whether the files are there or not, and what left and right are.
    read_pair_rows: Callable[[Path], Iterator[PairRow]] | None = None
    sides: tuple[Side, Side] | None = None
    # Its published split has the same right sides, and groups, in train and test, and is meant to: VIGOR's
    # same-area protocol. Nothing of it is then refused for that.
    shares_places: bool = False
    notes: str = ""


def dataset_names() -> tuple[str, ...]:
    """Names of all datasets, sorted."""
    return tuple(sorted(name for name in _module_names() if _read(name) is not None))


def dataset(name: str) -> Dataset:
    """The dataset of that name.

    Raises:
        CatalogError: There is none; the message lists those that there are.
    """
    found = _read(name) if name in _module_names() else None
    if found is None:
        raise CatalogError(f"there is no dataset {name!r}. Known: {', '.join(dataset_names())}.")
    return found


def _module_names() -> set[str]:
    return {module.name for module in pkgutil.iter_modules(__path__)}


def _read(name: str) -> Dataset | None:
    found = getattr(import_module(f"{__name__}.{name}"), "DATASET", None)
    return found if isinstance(found, Dataset) else None
