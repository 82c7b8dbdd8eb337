"""Ground that several tiles show, counted once: tiles of a grid overlap, and areas are of ground."""

from collections.abc import Iterator, Sequence

import numpy as np

from lib.media.lattice import Lattice
from lib.media.raster import Grid

# Cells whose places are told at once.
_ROWS = 512


def counted_once(maps: Sequence[tuple[Grid, np.ndarray]]) -> Iterator[np.ndarray]:
    """Each map's classes, 0 where the middle of a cell lies on ground that a map before it has told.

    Args:
        maps: Grid and (rows, columns) uint8 classes of each, 0 where there is no data.
    """
    for number, (grid, classes) in enumerate(maps):
        others = [other for other in maps[:number] if grid.overlaps(other[0])]
        made = classes.copy() if others else classes
        own = _lattice(grid)
        for top in range(0, len(classes), _ROWS) if others else ():
            part = made[top : top + _ROWS]
            rows, columns = np.nonzero(part)
            lons, lats = own.lonlat(top + rows + 0.5, columns + 0.5)
            is_told = np.zeros(len(rows), bool)
            for other, told in others:
                is_told |= _is_told(other, told, lons, lats)
            part[rows[is_told], columns[is_told]] = 0
        yield made


def _is_told(grid: Grid, classes: np.ndarray, lons: np.ndarray, lats: np.ndarray) -> np.ndarray:
    middle = grid.height / 2, grid.width / 2
    rows, columns = (np.floor(v) for v in _lattice(grid).pixels(lons, lats, near=middle))
    is_within = (rows >= 0) & (rows < grid.height) & (columns >= 0) & (columns < grid.width)
    made = np.zeros(len(lons), bool)
    made[is_within] = classes[rows[is_within].astype(int), columns[is_within].astype(int)] > 0
    return made


def _lattice(grid: Grid) -> Lattice:
    return Lattice(grid.crs.to_wkt() if grid.crs else "", tuple(grid.transform[:6]))
