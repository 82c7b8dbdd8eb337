"""Two files of one place as two dates on one grid, the earlier's: opened, scaled alike, co-registered."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from lib.errors import QueryError
from lib.media.image import read_image
from lib.media.raster import Grid, Scaling, is_tiff, open_scene
from lib.tasks.coregister import Shift, View

_SIZE_TOLERANCE = 0.05
# Scenes of more pixels (117 MB of both dates) are read again each time that a part of them is asked for.
_HELD_PX = 1 << 24
_STRIP_PX = 256


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
        self._rows, self._columns = min(height, pixels.shape[0]), min(width, pixels.shape[1])
        pads = (0, height - self._rows), (0, width - self._columns), (0, 0)
        self._pixels = pixels[:height, :width]
        if any(map(any, pads)):
            self._pixels = np.pad(self._pixels, pads)
        self.grid = Grid.plain(height, width)

    def read(self, top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Readable.read`."""
        rows, columns = slice(top, top + height), slice(left, left + width)
        known = np.arange(top, top + height) < self._rows, np.arange(left, left + width) < self._columns
        return self._pixels[rows, columns].transpose(2, 0, 1), np.logical_and.outer(*known)

    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """As `Readable.sample`."""
        step = max(1, max(self.grid.height, self.grid.width) // 1024)
        values, valid = self.read(0, 0, self.grid.height, self.grid.width)
        return values[:, ::step, ::step], valid[::step, ::step]

    def scaling(self) -> Scaling:
        """As they are."""
        return Scaling(np.zeros(3, np.float32), np.full(3, 255, np.float32))


class Shifted:
    """A date read from where its pixels really lie: rows and columns further on, bilinear in between."""

    def __init__(self, date: Readable, shift: Shift):
        self._date, self.grid = date, date.grid
        self._whole = int(np.floor(shift[0])), int(np.floor(shift[1]))
        self._part = shift[0] - self._whole[0], shift[1] - self._whole[1]

    def read(self, top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Readable.read`; a pixel is valid where all that it is made of are."""
        values, valid = self._read(top + self._whole[0], left + self._whole[1], height + 1, width + 1)
        for axis, (size, part) in enumerate(zip((height, width), self._part, strict=True)):
            if part == 0:
                values, valid = values.take(range(size), axis + 1), valid.take(range(size), axis)
                continue
            ends = [slice(0, size), slice(1, size + 1)]
            one, other = ((slice(None),) * axis + (end,) for end in ends)
            valid = valid[one] & valid[other]
            values = values[(slice(None), *one)] * (1 - part) + values[(slice(None), *other)] * part
        return values, valid

    def _read(self, top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """A window that may reach beyond the grid, where nothing is valid."""
        wanted = np.arange(top, top + height), np.arange(left, left + width)
        rows, columns = (
            np.clip(places, 0, length - 1)
            for places, length in zip(wanted, (self.grid.height, self.grid.width), strict=True)
        )
        size = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        values, valid = self._date.read(int(rows[0]), int(columns[0]), *size)
        at = rows[:, None] - rows[0], columns - columns[0]
        values = values[(slice(None), *at)].astype(np.float32)
        within = np.logical_and.outer(rows == wanted[0], columns == wanted[1])
        return np.nan_to_num(values), valid[at] & within

    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """As it is: thinned out, two pixels are nothing."""
        return self._date.sample()

    def scaling(self) -> Scaling:
        """As it is."""
        return self._date.scaling()


@dataclass(frozen=True, slots=True)
class Dates:
    """Both dates on the earlier one's grid, and the scaling that both are seen through."""

    earlier: Readable
    later: Readable
    scaling: Scaling
    _seen: dict[np.dtype, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.earlier.grid.height, self.earlier.grid.width

    def view(self, top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Both dates' (height, width, 3) uint8 in a window within the grid, and what both know of it."""
        window = top, left, height, width
        (before, known), (after, known_too) = (
            self._seen_of(side, window) for side in (self.earlier, self.later)
        )
        return before, after, known & known_too

    def held(self) -> View:
        """`view`, from memory where the dates aren't too large: all is read when the first part is.

        Each date in a thread of its own, for its file is decompressed without Python's lock.
        """
        height, width = self.shape
        if height * width > _HELD_PX:
            return self.view
        read: list[tuple[np.ndarray, ...]] = []

        def view(top: int, left: int, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            if not read:
                with ThreadPoolExecutor(1) as other:
                    reading = other.submit(self._whole, self.later)
                    before, known = self._whole(self.earlier)
                    after, known_too = reading.result()
                known &= known_too
                read.append((before, after, known))
            before, after, valid = (of[top : top + rows, left : left + columns] for of in read[0])
            return before, after, valid

        return view

    def _whole(self, date: Readable) -> tuple[np.ndarray, np.ndarray]:
        """All of a date, read in strips: its values are larger than what is seen of them."""
        height, width = self.shape
        picture, known = np.empty((height, width, 3), np.uint8), np.empty((height, width), bool)
        for top in range(0, height, _STRIP_PX):
            rows = slice(top, min(top + _STRIP_PX, height))
            picture[rows], known[rows] = self._seen_of(date, (top, 0, rows.stop - top, width))
        return picture, known

    def _seen_of(self, date: Readable, window: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
        values, known = date.read(*window)
        return self._scaled(values), known

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        """As the scaling has it; whole numbers of 16 bits are looked up, three times as fast."""
        if values.dtype not in (np.uint8, np.int16, np.uint16):
            return self.scaling.apply(values)
        bits = np.dtype(f"u{values.dtype.itemsize}")
        if values.dtype not in self._seen:
            every = np.arange(1 << 8 * bits.itemsize, dtype=bits).view(values.dtype)
            self._seen[values.dtype] = self.scaling.apply(np.broadcast_to(every, (3, 1, every.size)))[0]
        made = np.empty((*values.shape[1:], 3), np.uint8)
        for channel, seen in enumerate(self._seen[values.dtype].T.copy()):
            made[..., channel] = seen[values[channel].view(bits)]
        return made

    def moved(self, shift: Shift) -> "Dates":
        """The same with the later date read where it really lies."""
        if shift == (0.0, 0.0):
            return self
        return Dates(self.earlier, Shifted(self.later, shift), self.scaling)


@contextmanager
def open_dates(before: Path, after: Path) -> Iterator[Dates]:
    """Open two GeoTIFFs that overlap, or two plain pictures of one frame.

    Raises:
        QueryError: They show no common ground, or where they lie can't be known.
        UnreadableMediaError: One can't be read.
    """
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
            on_grid = later if later.grid == earlier.grid else later.on(earlier.grid)
            yield Dates(earlier, on_grid, earlier.scaling())
            return
        if scenes[0] and scenes[1] and scenes[0].grid == scenes[1].grid:
            yield Dates(scenes[0], scenes[1], scenes[0].scaling())
            return
    pixels = [read_image(path) for path in (before, after)]
    sizes = [(picture.shape[0], picture.shape[1]) for picture in pixels]
    if any(abs(a - b) > _SIZE_TOLERANCE * max(a, b) for a, b in zip(*sizes, strict=True)):
        shown = " and ".join(f"{width} x {height}" for height, width in sizes)
        raise QueryError(f"the pictures are of {shown} px: without a CRS, both must show the same frame.")
    earlier_picture = Picture(pixels[0], sizes[0])
    yield Dates(earlier_picture, Picture(pixels[1], sizes[0]), earlier_picture.scaling())


def _require_overlap(earlier: Grid, later: Grid) -> None:
    if not earlier.overlaps(later):
        shown = [", ".join(f"{degrees:.5f}" for degrees in grid.lonlat_bounds) for grid in (earlier, later)]
        raise QueryError(
            f"the two don't overlap: BEFORE covers {shown[0]}, AFTER {shown[1]} (west, south, east, north)."
        )
