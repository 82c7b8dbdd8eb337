"""The change recipe with one part left out, or one part alone: what each part is worth on labelled pairs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from lib.embedding.embed import Embedder
from lib.media.lattice import MARGIN_PX, STRIDE_PX, WINDOW_PX
from lib.tasks.cell_maps import at_pixels, filled
from lib.tasks.change import as_score
from lib.tasks.change_benchmark import otsu_mask
from lib.tasks.change_dates import Dates, open_dates
from lib.tasks.change_pair import Changes
from lib.tasks.window_views import CELL_PX, CELLS, WindowFeatures, distance_of, features_of, views_of

# Other distances: they cost forwards of their own.
DISTANCES = ("first map alone", "last map alone", "direction alone", "not co-registered")
# Other masks of the recipe's own distances.
MASKS = (
    "Otsu in place of gate and threshold",
    "gate in place of the threshold",
    "without outlines by pixels",
)
_GREY = 127


def masks_without(changes: Changes, judged: np.ndarray) -> dict[str, np.ndarray]:
    """What the recipe's own score finds under simpler rules: (height, width) bool, by name of `MASKS`."""
    score = changes.score
    known = np.nan_to_num(score)
    rules = (otsu_mask(score, judged), known > changes.gate, known > changes.threshold)
    return {name: np.asarray(mask & judged) for name, mask in zip(MASKS, rules, strict=True)}


def scores_without(before: Path, after: Path, embedder: Embedder, changes: Changes) -> dict[str, np.ndarray]:
    """Scores of simpler distances, (height, width) float32 each, by name of `DISTANCES`; not for large files.

    Args:
        before: The earlier picture.
        after: The later.
        embedder: As `find_changes` needs it.
        changes: What the recipe found.

    Raises:
        QueryError, UnreadableMediaError: As `find_changes`.
    """
    with open_dates(before, after) as dates:
        windows = list(_features(dates.moved(changes.shift_px), embedder))
        made = {name: _score(windows, name, dates.shape) for name in DISTANCES[:-1]}
        if changes.shift_px == (0.0, 0.0):
            made[DISTANCES[-1]] = _on_pixels(changes.cells, dates.shape)
        else:
            made[DISTANCES[-1]] = _score(list(_features(dates, embedder)), "", dates.shape)
    return made


def whole_cells(before: Path, after: Path, embedder: Embedder, changes: Changes) -> np.ndarray:
    """The recipe's own distances, (rows, columns), as made here: what the ablation starts from."""
    with open_dates(before, after) as dates:
        return _cells(list(_features(dates.moved(changes.shift_px), embedder)), "", dates.shape)


_Window = tuple[int, int, WindowFeatures, WindowFeatures]


def _features(dates: Dates, embedder: Embedder) -> Iterator[_Window]:
    """Row and column of the first cell, and both dates' features, of every window."""
    height, width = dates.shape
    before, after, known = dates.view(0, 0, height, width)
    sides = [before.copy(), after.copy()]
    pads = [(MARGIN_PX, -length % STRIDE_PX + MARGIN_PX) for length in dates.shape]
    for side in sides:
        side[~known] = _GREY
    wide = [np.pad(side, (*pads, (0, 0)), mode="edge") for side in sides]
    places = [(top, left) for top in range(0, height, STRIDE_PX) for left in range(0, width, STRIDE_PX)]
    views = (
        view
        for top, left in places
        for side in wide
        for view in views_of(side[top : top + WINDOW_PX, left : left + WINDOW_PX])
    )
    made = features_of(embedder, views)
    for top, left in places:
        yield top // CELL_PX, left // CELL_PX, next(made), next(made)


def _score(windows: list[_Window], name: str, shape: tuple[int, int]) -> np.ndarray:
    return _on_pixels(_cells(windows, name, shape), shape)


def _cells(windows: list[_Window], name: str, shape: tuple[int, int]) -> np.ndarray:
    rows, columns = (-(-length // CELL_PX) for length in shape)
    ends = max(row for row, *_ in windows) + CELLS, max(column for _, column, *_ in windows) + CELLS
    made = np.empty(ends, np.float32)
    for row, column, before, after in windows:
        made[row : row + CELLS, column : column + CELLS] = _distance(before, after, name)
    return made[:rows, :columns]


def _distance(before: WindowFeatures, after: WindowFeatures, name: str) -> np.ndarray:
    if name == "direction alone":
        maps = (before.whole, after.whole), (before.deep, after.deep)
        return np.asarray(sum(_angle(*pair) for pair in maps) / len(maps), np.float32)
    if name:
        # Both maps the same: their mean is that one.
        side = "whole" if name == "first map alone" else "deep"
        one, other = (
            replace(features, whole=getattr(features, side), deep=getattr(features, side))
            for features in (before, after)
        )
        return distance_of(one, other)
    return distance_of(before, after)


def _angle(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    one, other = before.astype(np.float32), after.astype(np.float32)
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return np.asarray(1 - (one * other).sum(-1) / np.maximum(lengths, 1e-6))


def _on_pixels(cells: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return as_score(at_pixels(filled(cells, np.isfinite(cells)), (0, 0, *shape)))
