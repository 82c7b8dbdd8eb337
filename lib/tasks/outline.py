"""From cells' distances to the pixels that changed: features find, pixels draw, and find what screams."""

from dataclasses import dataclass

import numpy as np

from lib.tasks.cell_maps import at_pixels, filled
from lib.tasks.change import NEVER, threshold_of
from lib.tasks.coregister import View
from lib.tasks.morphology import least_near, most_near
from lib.tasks.pixel_difference import GREY_LEVELS, UNKNOWN, difference_map
from lib.tasks.regions import STRIP_PX, Regions
from lib.tasks.window_views import CELL_PX

UNCHANGED, CHANGED, UNJUDGED = 0, 1, 255
# Regions of fewer pixels are specks.
LEAST_PX = 64
# Grey levels, a twentieth of the range: what differs by less is never told by pixels alone.
_SEEN = 12.0
# How many times the scene's usual difference a pixel's must be, to tell by itself that there is a change; to
# confirm what features found; to belong to what is confirmed. Between dates of one light and season the usual
# is 1 of 255 grey levels, between seasons 6 to 19: there the most that is seen anywhere is 16 times that.
ALONE, CONFIRMED, BELONGING = 16.0, 12.0, 6.0
# Of the gate, what belongs to a change: its darker parts look more like what was there.
_BELONGING_GATE = 0.5
# What is weaker than this share of the strongest pixel near it is its smeared edge.
_EDGE, _EDGE_PX = 0.4, 7
# Fewer pixels that tell by themselves are chance.
_ALONE_PX = 16
# Of a change's rim, this share is sharp. What fades out all around is air, haze or a cloud, which pixels
# neither find nor draw.
_HARD = 0.5
_CLOSING_PX = 7
# A region of features is left as it is where pixels draw less of it than this.
_DRAWN = 0.25
_STEP_PX = 4
# Of each strongest byte, the least one that isn't weak beside it.
_WEAK = np.searchsorted(GREY_LEVELS, _EDGE * GREY_LEVELS, "right").astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Outlined:
    """What changed.

    Attributes:
        states: (height, width) uint8: `UNCHANGED`, `CHANGED`, `UNJUDGED` where a date has no data.
        threshold: The distance from which on a cell is changed; infinite where none is.
    """

    states: np.ndarray
    threshold: float


@dataclass(frozen=True, slots=True)
class Gates:
    """What perturbations alone reach: a distance of cells, and a difference of pixels in grey levels."""

    cells: float
    pixels: float


def outline(cells: np.ndarray, gates: Gates, view: View, *, shape: tuple[int, int]) -> Outlined:
    """Which pixels changed.

    Args:
        cells: (rows, columns) distances of cells of 16 px; NaN where there is no data.
        gates: What only a change exceeds.
        view: Reads both dates, co-registered.
        shape: Height and width in pixels.
    """
    known = np.isfinite(cells)
    if not known.any():
        return Outlined(np.full(shape, UNJUDGED, np.uint8), NEVER)
    smooth = filled(cells, known)
    with np.errstate(invalid="ignore"):
        differences = difference_map(view, shape, doubtful=~(cells <= gates.cells))
    distance = at_pixels(smooth, (0, 0, *shape), step=_STEP_PX)
    is_lacking = differences[::_STEP_PX, ::_STEP_PX] == UNKNOWN
    threshold = threshold_of(np.where(is_lacking, np.nan, distance), gates.cells)
    changed = _drawn(differences, smooth, threshold, gates.pixels)
    _add_undrawn(changed, smooth, threshold)
    states = changed.view(np.uint8)
    for top in range(0, shape[0], STRIP_PX):
        rows = slice(top, top + STRIP_PX)
        states[rows][differences[rows] == UNKNOWN] = UNJUDGED
    del differences
    _drop_specks(states)
    return Outlined(states, threshold)


def _drawn(differences: np.ndarray, cells: np.ndarray, threshold: float, gate: float) -> np.ndarray:
    """Regions of pixels that stand out of the scene, and that features confirm or that need no confirming."""
    grey = GREY_LEVELS
    height, width = differences.shape
    # A row at a time, for what is counted is made eight times as large.
    counts = np.sum([np.bincount(row, minlength=256) for row in differences], axis=0)
    counts[UNKNOWN] = 0
    usual = grey[int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))]
    alone, confirmed = max(gate, ALONE * usual, _SEEN), max(gate, CONFIRMED * usual)
    belonging = max(_BELONGING_GATE * gate, BELONGING * usual)

    def above(level: float, top: int, bottom: int) -> np.ndarray:
        return np.asarray(differences[top:bottom] >= _byte_above(level))

    def rims(top: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
        return _rim(differences, belonging, top, bottom)

    regions = Regions(
        lambda top, bottom: above(belonging, top, bottom),
        height,
        {
            "alone": lambda top, bottom: above(alone, top, bottom),
            "confirmed": lambda top, bottom: above(confirmed, top, bottom),
            "rim": lambda top, bottom: rims(top, bottom)[0],
            "hard_rim": lambda top, bottom: rims(top, bottom)[1],
            "features": lambda top, bottom: _beyond(cells, threshold, (top, bottom, width)),
        },
    )
    sums = regions.sums
    is_found = sums["alone"] >= _ALONE_PX
    is_found |= (sums["confirmed"] > 0) & (sums["features"] > 0)
    is_kept = is_found & (sums["hard_rim"] > _HARD * sums["rim"])
    is_kept[0] = False
    made = np.zeros((height, width), bool)
    for top, marked in regions.marked(is_kept):
        made[top : top + len(marked)] = marked
    _cut_edges(made, differences)
    return _closed(made)


def _byte_above(level: float) -> int:
    """The least byte of a difference map whose difference is above a level."""
    return int(np.searchsorted(GREY_LEVELS, level, "right"))


def _beyond(cells: np.ndarray, threshold: float, rows: tuple[int, int, int]) -> np.ndarray:
    """Pixels whose distance is above the threshold: of rows from a first to a last, and so many columns."""
    top, bottom, width = rows
    made = np.zeros((bottom - top, width), bool)
    near = cells[max(0, top // CELL_PX - 1) : bottom // CELL_PX + 2]
    columns = np.flatnonzero((near > threshold).any(0))
    if columns.size:
        # No pixel is above the cells that it lies between.
        left, right = max(0, columns[0] - 1) * CELL_PX, min(width, (columns[-1] + 2) * CELL_PX)
        made[:, left:right] = at_pixels(cells, (top, left, bottom - top, right - left)) > threshold
    return made


def _rim(differences: np.ndarray, level: float, top: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels above a level beside ones that aren't, and those of them that are at a change's sharp edge."""
    half = _EDGE_PX // 2
    start, stop = max(0, top - half), min(len(differences), bottom + half)
    near = differences[start:stop]
    above = near >= _byte_above(level)
    within = above.copy()
    for axis in (0, 1):
        inner, of = np.moveaxis(within, axis, 0), np.moveaxis(above, axis, 0)
        inner[1:] &= of[:-1]
        inner[:-1] &= of[1:]
    rim = above & ~within
    hard = rim & (least_near(near, _EDGE_PX) < _WEAK[most_near(near, _EDGE_PX)])
    return rim[top - start :][: bottom - top], hard[top - start :][: bottom - top]


def _cut_edges(mask: np.ndarray, differences: np.ndarray) -> None:
    """Take off what is weak beside a stronger neighbour: a change smeared by resampling and compression."""
    half = _EDGE_PX // 2
    for top in range(0, len(mask), STRIP_PX):
        start, stop = max(0, top - half), min(len(mask), top + STRIP_PX + half)
        if mask[top : top + STRIP_PX].any():
            strongest = most_near(differences[start:stop], _EDGE_PX)[top - start :][:STRIP_PX]
            rows = slice(top, top + len(strongest))
            mask[rows] &= differences[rows] >= _WEAK[strongest]


def _closed(mask: np.ndarray) -> np.ndarray:
    """The same with gaps of a few pixels closed: a roof's pattern, a pixel that looks as before."""
    made = np.zeros_like(mask)
    for top in range(0, len(mask), STRIP_PX):
        start, stop = max(0, top - 2 * _CLOSING_PX), min(len(mask), top + STRIP_PX + 2 * _CLOSING_PX)
        if mask[start:stop].any():
            wide = np.pad(mask[start:stop], _CLOSING_PX, mode="edge")
            wide = least_near(most_near(wide, _CLOSING_PX), _CLOSING_PX)
            inner = wide[_CLOSING_PX:-_CLOSING_PX, _CLOSING_PX:-_CLOSING_PX]
            made[top : top + STRIP_PX] = inner[top - start :][:STRIP_PX]
    return made


def _add_undrawn(changed: np.ndarray, cells: np.ndarray, threshold: float) -> None:
    """What features found and pixels don't tell from its surroundings stands as features see it; in place."""
    height, width = changed.shape

    def found(top: int, bottom: int) -> np.ndarray:
        return _beyond(cells, threshold, (top, bottom, width))

    regions = Regions(found, height, {"drawn": lambda top, bottom: changed[top:bottom]})
    is_added = regions.sums["drawn"] < _DRAWN * regions.sizes
    is_added[0] = False
    for top, marked in regions.marked(is_added):
        changed[top : top + len(marked)] |= marked


def _drop_specks(states: np.ndarray) -> None:
    regions = Regions(lambda top, bottom: states[top:bottom] == CHANGED, len(states))
    is_speck = regions.sizes < LEAST_PX
    is_speck[0] = False
    for top, marked in regions.marked(is_speck):
        states[top : top + len(marked)][marked] = UNCHANGED
