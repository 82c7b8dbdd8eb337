"""Two files of one place, GeoTIFFs or plain pictures: what changed, on the earlier one's grid."""

import contextlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from lib.embedding.embed import Embedder
from lib.errors import QueryError, UnreadableMediaError
from lib.media.image import read_image
from lib.media.raster import Grid, Scaling, is_tiff, open_scene
from lib.tasks.change import REACH, Levels, as_score, outlined, pixel_difference, threshold_of
from lib.tasks.change_windows import CELL_PX, SIDE_PX, Distances, Reader, distances

# Regions of fewer pixels are specks.
LEAST_PX = 64
_STRIP_PX = 512
_SIZE_TOLERANCE = 0.05
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?!\d)")


class Readable(Protocol):
    """One date: a `Scene`, or a plain picture."""

    grid: Grid

    def read(self, top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Values (3, height, width) and what is valid of them (height, width)."""
        ...

    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """The same of the whole, thinned out."""
        ...

    def scaling(self) -> Scaling:
        """How its values become 8 bits."""
        ...


class Picture:
    """A plain picture on a grid without a CRS; what the grid has more than the picture isn't valid."""

    def __init__(self, pixels: np.ndarray, size: tuple[int, int]):
        height, width = size
        self._pixels = np.zeros((height, width, 3), np.uint8)
        self._valid = np.zeros(size, bool)
        rows, columns = min(height, pixels.shape[0]), min(width, pixels.shape[1])
        self._pixels[:rows, :columns] = pixels[:rows, :columns]
        self._valid[:rows, :columns] = True
        self.grid = Grid.plain(height, width)

    def read(self, top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Readable.read`."""
        window = slice(top, top + height), slice(left, left + width)
        return self._pixels[window].transpose(2, 0, 1), self._valid[window]

    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """As `Readable.sample`."""
        step = max(1, max(self._valid.shape) // 1024)
        return self._pixels[::step, ::step].transpose(2, 0, 1), self._valid[::step, ::step]

    def scaling(self) -> Scaling:
        """As they are."""
        return Scaling(np.zeros(3, np.float32), np.full(3, 255, np.float32))


@dataclass(slots=True)
class Changes:
    """What changed.

    Attributes:
        grid: The earlier date's.
        score: (height, width) float32 in [0, 1), comparable between pairs; NaN where it can't be judged.
        mask: (height, width) bool.
        gate: The score that perturbations of the earlier date alone reach.
        threshold: The score from which on a cell was taken for changed; 1 where none was.
        forwards: Pictures that went through the network.
        dates: As the files tell, `YYYY-MM-DD`; "" where they don't.
        thumbnails: Both dates, (height, width, 3) uint8, at most 1,024 px a side.
    """

    grid: Grid
    score: np.ndarray
    mask: np.ndarray
    gate: float
    threshold: float
    forwards: int
    dates: tuple[str, str]
    thumbnails: tuple[np.ndarray, np.ndarray]


def find_changes(before: Path, after: Path, embedder: Embedder) -> Changes:
    """Hold a later file against an earlier one.

    Raises:
        QueryError: One can't be read, or they show no common ground.
    """
    try:
        return _changes(before, after, embedder)
    except UnreadableMediaError as error:
        raise QueryError(f"{before} and {after} can't be compared: {error}.") from error


def _changes(before: Path, after: Path, embedder: Embedder) -> Changes:
    with _pair(before, after) as (earlier, later):
        scaling = earlier.scaling()
        found = distances(
            embedder, _reader(earlier, later, scaling), (earlier.grid.height, earlier.grid.width)
        )
        distance = _pixelwise(found, earlier, later)
        threshold = threshold_of(distance, found.gate)
        known = np.nan_to_num(distance)
        mask, reach = known > threshold, known > REACH * threshold
        mask = _refined(mask, reach, earlier, later, scaling) & np.isfinite(distance)
        shown = tuple(scaling.apply(side.sample()[0]) for side in (earlier, later))
        return Changes(
            grid=earlier.grid,
            score=as_score(distance).astype(np.float32),
            mask=_without_specks(mask),
            gate=float(as_score(np.array(found.gate))),
            threshold=float(as_score(np.array(threshold))),
            forwards=found.forwards,
            dates=(_date_of(before), _date_of(after)),
            thumbnails=(shown[0], shown[1]),
        )


@contextmanager
def _pair(before: Path, after: Path) -> Iterator[tuple[Readable, Readable]]:
    with contextlib.ExitStack() as open_files:
        scenes = [
            open_files.enter_context(open_scene(path)) if is_tiff(path) else None for path in (before, after)
        ]
        placed = [scene is not None and scene.grid.crs is not None for scene in scenes]
        if any(placed):
            earlier, later = scenes
            if earlier is None or later is None or not all(placed):
                raise QueryError(
                    f"{(before, after)[placed.index(False)]} has no CRS, and the other has: where it lies is "
                    "not known. Give two GeoTIFFs, or two plain pictures of one frame."
                )
            _require_overlap(earlier.grid, later.grid)
            yield earlier, later if later.grid == earlier.grid else later.on(earlier.grid)
            return
        if scenes[0] and scenes[1] and scenes[0].grid == scenes[1].grid:
            yield scenes[0], scenes[1]
            return
    pixels = [read_image(path) for path in (before, after)]
    sizes = [(picture.shape[0], picture.shape[1]) for picture in pixels]
    if any(abs(a - b) > _SIZE_TOLERANCE * max(a, b) for a, b in zip(*sizes, strict=True)):
        shown = " and ".join(f"{width} x {height}" for height, width in sizes)
        raise QueryError(f"the pictures are of {shown} px: without a CRS, both must show the same frame.")
    yield Picture(pixels[0], sizes[0]), Picture(pixels[1], sizes[0])


def _require_overlap(earlier: Grid, later: Grid) -> None:
    one, other = earlier.lonlat_bounds, later.lonlat_bounds
    apart = one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]
    if apart:
        shown = [", ".join(f"{degrees:.5f}" for degrees in bounds) for bounds in (one, other)]
        raise QueryError(
            f"the two don't overlap: BEFORE covers {shown[0]}, AFTER {shown[1]} (west, south, east, north)."
        )


def _reader(earlier: Readable, later: Readable, scaling: Scaling) -> Reader:
    height, width = earlier.grid.height, earlier.grid.width

    def read(top: int, left: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = max(0, top), min(height, top + SIDE_PX)
        columns = max(0, left), min(width, left + SIDE_PX)
        pads = (rows[0] - top, top + SIDE_PX - rows[1]), (columns[0] - left, left + SIDE_PX - columns[1])
        size = rows[1] - rows[0], columns[1] - columns[0]
        parts = [side.read(rows[0], columns[0], *size) for side in (earlier, later)]
        pictures = [np.pad(scaling.apply(values), (*pads, (0, 0)), mode="edge") for values, _ in parts]
        return pictures[0], pictures[1], np.pad(parts[0][1] & parts[1][1], pads, mode="edge")

    return read


def _pixelwise(found: Distances, earlier: Readable, later: Readable) -> np.ndarray:
    """Cells' distances at each pixel, in between interpolated; NaN where a date has no pixel."""
    from PIL import Image
    from scipy import ndimage

    height, width = earlier.grid.height, earlier.grid.width
    if not np.isfinite(found.cells).any():
        return np.full((height, width), np.nan, np.float32)
    # Cells without data take their nearest neighbour's distance: a gap's edge is no change.
    lacking = ~np.isfinite(found.cells)
    at = ndimage.distance_transform_edt(lacking, return_distances=False, return_indices=True)
    rows, columns = found.cells.shape
    wide = Image.fromarray(found.cells[tuple(at)]).resize(
        (columns * CELL_PX, rows * CELL_PX), Image.Resampling.BILINEAR
    )
    distance = np.asarray(wide)[:height, :width].copy()
    for top in range(0, height, _STRIP_PX):
        count = min(_STRIP_PX, height - top)
        valid = earlier.read(top, 0, count, width)[1] & later.read(top, 0, count, width)[1]
        distance[top : top + count][~valid] = np.nan
    return distance


def _refined(
    mask: np.ndarray, reach: np.ndarray, earlier: Readable, later: Readable, scaling: Scaling
) -> np.ndarray:
    """The mask with each region's own outline, where pixels show one within its reach."""
    from scipy import ndimage

    if not mask.any():
        return mask
    (one, valid_one), (other, valid_other) = earlier.sample(), later.sample()
    valid = valid_one & valid_other
    levels = Levels.of(scaling.apply(one)[valid]), Levels.of(scaling.apply(other)[valid])
    labels, _ = ndimage.label(reach)
    made = np.zeros_like(mask)
    for label, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        core = (labels[rows, columns] == label) & mask[rows, columns]
        if not core.any():
            continue
        top, left = max(0, rows.start - CELL_PX), max(0, columns.start - CELL_PX)
        bottom, right = min(len(mask), rows.stop + CELL_PX), min(mask.shape[1], columns.stop + CELL_PX)
        window = top, left, bottom - top, right - left
        (before, known), (after, also) = earlier.read(*window), later.read(*window)
        difference = pixel_difference(scaling.apply(before), scaling.apply(after), levels)
        difference[~(known & also)] = 0
        region = labels[top:bottom, left:right] == label
        made[top:bottom, left:right] |= outlined(region & mask[top:bottom, left:right], region, difference)
    return made


def _without_specks(mask: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    is_kept = sizes >= LEAST_PX
    is_kept[0] = False
    return np.asarray(is_kept[labels])


def _date_of(path: Path) -> str:
    """`YYYY-MM-DD` out of a file's name; "" where it has none."""
    found = _DATE.search(path.stem)
    return "-".join(found.groups()) if found else ""
