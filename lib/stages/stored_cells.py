"""Distances between dates from what is stored: nothing is read from a scene, no network runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.columns import grids_of
from lib.stages.acquisitions import Acquisition
from lib.stages.making import Work
from lib.tasks.change import cell_distance, gate_of
from lib.tasks.change_history import against_history, beyond_usual
from lib.tasks.outline import Gates
from lib.tasks.window_views import CELL_PX, CELLS

Span = tuple[int, int, int, int]  # top, left, bottom, right in pixels of the lattice
_STRIDE_PX = CELLS * CELL_PX
_GRIDS = ("patch_grid", "deep_grid")
# Of a cell's pixels, what may lack on one date alone; and how many cells further features see it.
_GAP_PCT, _GAP_REACH = 2, 2


@dataclass(frozen=True, slots=True)
class StoredDistances:
    """How far a date's cells are from those before it.

    Attributes:
        span: Pixels of the lattice that the cells lie on.
        cells: (rows, columns) float32; NaN where either date lacks data.
        gates: What perturbations of the earlier date alone reach.
    """

    span: Span
    cells: np.ndarray
    gates: Gates

    def within(self, extent: Span) -> "StoredDistances":
        """The part that a scene reaches, in whole cells at its start: windows go on beyond its edges."""
        starts = zip(self.span[:2], extent[:2], strict=True)
        ends = zip(self.span[2:], extent[2:], strict=True)
        top, left = (max(mine, wanted // CELL_PX * CELL_PX) for mine, wanted in starts)
        bottom, right = (min(mine, wanted) for mine, wanted in ends)
        rows = slice((top - self.span[0]) // CELL_PX, -(-(bottom - self.span[0]) // CELL_PX))
        columns = slice((left - self.span[1]) // CELL_PX, -(-(right - self.span[1]) // CELL_PX))
        return StoredDistances((top, left, bottom, right), self.cells[rows, columns], self.gates)


def stored_distances(work: Work, one: Acquisition, earlier: Sequence[Acquisition]) -> StoredDistances | None:
    """A date against its previous (one earlier) or its history (several); None where no window is shared.

    Args:
        work: The archive.
        one: The date that is judged.
        earlier: Those that it is held against, the latest first.
    """
    dates = (one, *earlier)
    known = [_known(work, date) for date in dates]
    shared = sorted(place for place in known[0] if any(place in other for other in known[1:]))
    if not shared:
        return None
    tops, lefts = ([place[axis] for place in shared] for axis in (0, 1))
    span = min(tops), min(lefts), max(tops) + _STRIDE_PX, max(lefts) + _STRIDE_PX
    valid = [_laid_out(places, span) for places in known]
    # Features near a gap know of it: where only one of two dates has it, they can't be compared.
    doubtful = [_near_gap(valid[0], other) for other in valid[1:]]
    shape = valid[0].shape
    nearest, usual = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    readers = [_Rows(work, date) for date in dates]
    for top in sorted(set(tops)):
        # A row of windows of every date at a time: however large the scenes, so much stands in memory.
        rows = [reader.at(top) for reader in readers]
        for left in (place[1] for place in shared if place[0] == top):
            cell = _cells_at(top, left, span)
            now = np.stack([_apart(rows[0], other, left) for other in rows[1:]])
            now[np.stack([each[cell] for each in doubtful])] = np.nan
            if len(earlier) == 1:
                nearest[cell] = now[0]
            else:
                nearest[cell], usual[cell] = against_history(now, _among(rows[1:], left))
    gates = Gates(stored_gate(work, dates), stored_pixel_gate(work, earlier[0]))
    return StoredDistances(span, beyond_usual(nearest, usual), gates)


def stored_gate(work: Work, dates: Sequence[Acquisition]) -> float:
    """What perturbations alone reach, from those that were embedded with the dates.

    Of a small scene few windows were perturbed, one a kind: those of all dates that are compared are taken
    together, each date's from other places.
    """
    kinds: dict[int, list[np.ndarray]] = {}
    for one in dates:
        wanted = (pc.field("item") == one.item) & pc.field("perturbed").is_valid()
        for block in work.blocks("window_embeddings", one.shard, wanted, ["perturbed"]):
            for spoiled in block.column("perturbed").to_pylist():
                for each in spoiled:
                    cells = np.frombuffer(each["distance"], np.float16).astype(np.float32)
                    kinds.setdefault(each["kind"], []).append(cells.reshape(CELLS, CELLS))
    return gate_of([np.stack(cells) for cells in kinds.values()]) if kinds else np.inf


def stored_pixel_gate(work: Work, one: Acquisition) -> float:
    """What perturbations of a date alone move its pixels by, in grey levels, as it was counted."""
    from lib.tasks.pixel_difference import gate_of_noise

    noise = np.zeros((0, 256), int)
    wanted = (pc.field("item") == one.item) & pc.field("pixel_noise").is_valid()
    for block in work.blocks("window_embeddings", one.shard, wanted, ["pixel_noise"]):
        counts = grids_of(block.column("pixel_noise"), -1, 256, dtype=np.uint16).sum(0, dtype=int)
        noise = noise + counts if noise.size else counts
    return gate_of_noise(noise) if noise.size else np.inf


def _known(work: Work, one: Acquisition) -> dict[tuple[int, int], np.ndarray]:
    """A date's windows by first pixel, and what percent of each of their cells has data."""
    found: dict[tuple[int, int], np.ndarray] = {}
    wanted, columns = pc.field("item") == one.item, ["row", "column", "cell_valid"]
    for block in work.blocks("window_embeddings", one.shard, wanted, columns):
        valid = grids_of(block.column("cell_valid"), CELLS, CELLS, dtype=np.uint8)
        places = zip(block.column("row").to_pylist(), block.column("column").to_pylist(), strict=True)
        found |= dict(zip(places, valid, strict=True))
    return found


def _laid_out(places: dict[tuple[int, int], np.ndarray], span: Span) -> np.ndarray:
    """Windows' cells on the ground they share: (rows, columns) uint8 percent, 0 where there is no window."""
    made = np.zeros(((span[2] - span[0]) // CELL_PX, (span[3] - span[1]) // CELL_PX), np.uint8)
    for (top, left), valid in places.items():
        if span[0] <= top < span[2] and span[1] <= left < span[3]:
            made[_cells_at(top, left, span)] = valid
    return made


def _cells_at(top: int, left: int, span: Span) -> tuple[slice, slice]:
    row, column = (top - span[0]) // CELL_PX, (left - span[1]) // CELL_PX
    return slice(row, row + CELLS), slice(column, column + CELLS)


def _near_gap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Cells so near to a gap that only one date has that its features tell of it."""
    from scipy import ndimage

    only_one: np.ndarray = np.abs(one.astype(int) - other) > _GAP_PCT
    if not only_one.any():
        return only_one
    return np.asarray(ndimage.binary_dilation(only_one, np.ones((3, 3), bool), iterations=_GAP_REACH))


@dataclass(frozen=True, slots=True)
class _Cells:
    """A row of windows: column -> the cells' features, and which have data."""

    whole: dict[int, np.ndarray]
    deep: dict[int, np.ndarray]
    valid: dict[int, np.ndarray]


class _Rows:
    """A date's windows, a row of them at a time, from the top down."""

    def __init__(self, work: Work, one: Acquisition):
        columns = ["row", "column", *_GRIDS, "cell_valid"]
        wanted = pc.field("item") == one.item
        self._dims = work.contract.patch_dim, work.contract.deep[-1]
        self._blocks = work.blocks("window_embeddings", one.shard, wanted, columns)
        self._ahead: list[pa.Table] = []

    def at(self, top: int) -> _Cells:
        """The windows of a row; rows above it are let go."""
        kept: list[pa.Table] = []
        for block in self._until(top):
            rows = block.column("row").to_numpy()
            kept.append(block.filter(pa.array(rows == top)))
        self._ahead = [block for block in self._ahead if block.column("row").to_numpy().max() > top]
        found = _Cells({}, {}, {})
        for table in kept:
            lefts = table.column("column").to_pylist()
            whole = grids_of(table.column("patch_grid"), CELLS, CELLS, self._dims[0])
            deep = grids_of(table.column("deep_grid"), CELLS, CELLS, self._dims[1])
            valid = grids_of(table.column("cell_valid"), CELLS, CELLS, dtype=np.uint8)
            for number, left in enumerate(lefts):
                found.whole[left], found.deep[left] = whole[number], deep[number]
                found.valid[left] = valid[number] > 0
        return found

    def _until(self, top: int) -> Iterator[pa.Table]:
        """Blocks that may hold windows of a row, those read already and those that come."""
        yield from self._ahead
        while not self._ahead or self._ahead[-1].column("row").to_numpy().max() <= top:
            block = next(self._blocks, None)
            if block is None:
                return
            self._ahead.append(block)
            yield block


def _apart(one: _Cells, other: _Cells, left: int) -> np.ndarray:
    """Distances of a window's cells, (12, 12); NaN where either date has no data there."""
    if left not in one.valid or left not in other.valid:
        return np.full((CELLS, CELLS), np.nan, np.float32)
    whole = cell_distance(one.whole[left], other.whole[left])
    made = np.asarray((whole + cell_distance(one.deep[left], other.deep[left])) / 2)
    made[~(one.valid[left] & other.valid[left])] = np.nan
    return made


def _among(past: Sequence[_Cells], left: int) -> np.ndarray:
    """Distances among earlier dates, (K, K, 12, 12); NaN on the diagonal."""
    made = np.full((len(past), len(past), CELLS, CELLS), np.nan, np.float32)
    for a in range(len(past)):
        for b in range(a):
            made[a, b] = made[b, a] = _apart(past[a], past[b], left)
    return made
