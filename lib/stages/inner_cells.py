"""Cells of a date that the network saw with their surroundings, which is what a class may be told from."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.columns import grids_of
from lib.stages.acquisitions import Acquisition
from lib.stages.making import Work
from lib.tasks.window_views import CELL_PX, CELLS

# Of a cell with less data than this, in percent, nothing is told.
VALID_PCT = 50


def date_blocks(work: Work, one: Acquisition, columns: list[str]) -> Iterator[pa.Table]:
    """A date's stored windows, a row group at a time."""
    return work.blocks("window_embeddings", one.shard, pc.field("item") == one.item, columns)


def inner_cells(work: Work, one: Acquisition) -> dict[tuple[int, int], np.ndarray]:
    """Window (row, column) -> which of its cells have data, as have their eight neighbours; (12, 12) bool.

    Beyond a scene's edge its last pixels are repeated, and what has no data is grey: of the outermost cells
    the network sees streaks. At edges made within a scene, their features had a cosine of .375 to the true
    ones, and their classes agreed in .10 (a folder's labels) to .53 (points) of cells.
    """
    from scipy.ndimage import binary_erosion

    windows: dict[tuple[int, int], np.ndarray] = {}
    for block in date_blocks(work, one, ["row", "column", "cell_valid"]):
        valid = grids_of(block.column("cell_valid"), CELLS, CELLS, dtype=np.uint8) >= VALID_PCT
        places = zip(block.column("row").to_pylist(), block.column("column").to_pylist(), strict=True)
        windows |= dict(zip(places, valid, strict=True))
    if not windows:
        return {}
    rows, columns = zip(*windows, strict=True)
    top, left = min(rows), min(columns)
    shape = (max(rows) - top) // CELL_PX + CELLS, (max(columns) - left) // CELL_PX + CELLS
    known = np.zeros(shape, bool)
    at = {place: _slices(place, top, left) for place in windows}
    for place, valid in windows.items():
        known[at[place]] = valid
    inner = binary_erosion(known, np.ones((3, 3), bool))
    return {place: inner[at[place]] for place in windows}


def _slices(place: tuple[int, int], top: int, left: int) -> tuple[slice, slice]:
    row, column = (place[0] - top) // CELL_PX, (place[1] - left) // CELL_PX
    return slice(row, row + CELLS), slice(column, column + CELLS)
