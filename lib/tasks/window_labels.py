"""What labelled points and areas say of windows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lib.media.vectorfiles import Shapes

# Of a window: an area that covers less of it doesn't label it.
LEAST_COVER = 0.5
_EQUAL = 1e-6


@dataclass(frozen=True, slots=True)
class WindowLabels:
    """The class of each window, as far as shapes tell.

    Attributes:
        labels: One a window; None where no shape tells, or several contradict each other evenly.
        tied: Windows without a label because of such a contradiction.
        unused: Shapes of a class that count for no window: they lie elsewhere, cover too little, or are
            lines.
        without_class: Shapes whose class is empty.
    """

    labels: list[str | None]
    tied: int
    unused: int
    without_class: int


def labels_of_windows(shapes: "Shapes", class_column: str, windows: np.ndarray) -> WindowLabels:
    """Give windows the classes of the shapes on them.

    An area labels the windows that areas of its class cover by half; of several classes, the one that covers
    more. A point labels the window that it lies deepest in, of several that overlap; windows of one outline
    (its dates) alike. So does an area too small to cover half of a window. Points count where no area labels,
    each once: the most frequent class wins.

    Args:
        shapes: In EPSG:4326.
        class_column: Where their classes stand.
        windows: (n,) shapely polygons in EPSG:4326.

    Raises:
        QueryError: There is no such column, or nothing in it.
    """
    import shapely

    names = shapes.classes(class_column)
    is_told = np.array([name is not None for name in names])
    classes, codes = np.unique([name for name in names if name is not None], return_inverse=True)
    geometries = shapes.geometries[is_told]
    dimensions = shapely.get_dimensions(geometries)
    areas, points = np.flatnonzero(dimensions == 2), np.flatnonzero(dimensions == 0)
    tree = shapely.STRtree(windows)
    cover, is_small, used = _cover(geometries[areas], codes[areas], windows, tree)
    small = areas[is_small]
    singles, owners = shapely.get_parts(geometries[points], return_index=True)
    spots = np.concatenate([singles, shapely.point_on_surface(geometries[small])])
    owners = np.concatenate([points[owners], small])
    counts, hits = _counts(spots, codes[owners], windows, tree)
    by_area, tied_areas = _winners(cover, len(windows))
    by_point, tied_points = _winners(counts, len(windows))
    is_open = (by_area < 0) & ~tied_areas
    winners = np.where(is_open, by_point, by_area)
    counted = np.union1d(areas[used], owners[hits])
    return WindowLabels(
        [str(classes[winner]) if winner >= 0 else None for winner in winners],
        int((tied_areas | (is_open & tied_points)).sum()),
        len(geometries) - len(counted),
        int((~is_told).sum()),
    )


_Votes = dict[tuple[int, int], float]  # (window, class) -> how much speaks for it


def _cover(
    areas: np.ndarray, codes: np.ndarray, windows: np.ndarray, tree: Any
) -> tuple[_Votes, np.ndarray, np.ndarray]:
    """Covers from a half on; and of the areas, which can't cover so much, and which are in one of these."""
    import shapely

    shape, window = tree.query(areas, predicate="intersects")
    pieces = shapely.intersection(areas[shape], windows[window])
    of_class: dict[tuple[int, int], list[int]] = {}
    for pair, key in enumerate(zip(window.tolist(), codes[shape].tolist(), strict=True)):
        of_class.setdefault(key, []).append(pair)
    votes: _Votes = {}
    is_used = np.zeros(len(areas), bool)
    for key, pairs in of_class.items():
        # Overlapping fields of one class don't cover the same ground twice. A share of one window's square
        # degrees is its share of square metres too: so small is a window.
        piece = pieces[pairs[0]] if len(pairs) == 1 else shapely.union_all(pieces[pairs])
        share = piece.area / windows[key[0]].area
        if share >= LEAST_COVER - _EQUAL:
            votes[key] = share
            is_used[shape[pairs]] = True
    usual = float(np.median(shapely.area(windows))) if len(windows) else 0.0
    is_small = (shapely.area(areas) < LEAST_COVER * usual) & ~is_used
    return votes, is_small, is_used


def _counts(
    spots: np.ndarray, codes: np.ndarray, windows: np.ndarray, tree: Any
) -> tuple[_Votes, np.ndarray]:
    """How many points of a class each window has; and the numbers of the points that have a window."""
    import shapely

    spot, window = tree.query(spots, predicate="intersects")
    centres = shapely.centroid(windows[window])
    lats = shapely.get_y(spots[spot])
    east = (shapely.get_x(spots[spot]) - shapely.get_x(centres)) * np.cos(np.radians(lats))
    away = np.hypot(east, lats - shapely.get_y(centres))
    nearest = np.full(len(spots), np.inf)
    np.minimum.at(nearest, spot, away)
    is_nearest = away <= nearest[spot] + 1e-9
    votes: _Votes = {}
    for key in zip(window[is_nearest].tolist(), codes[spot[is_nearest]].tolist(), strict=True):
        votes[key] = votes.get(key, 0) + 1
    return votes, np.unique(spot)


def _winners(votes: _Votes, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each window, the class with most votes (-1: none, or a tie), and whether there is a tie."""
    best, winners, is_tied = np.zeros(count), np.full(count, -1), np.zeros(count, bool)
    for (window, code), weight in sorted(votes.items()):
        if weight > best[window] + _EQUAL:
            best[window], winners[window], is_tied[window] = weight, code, False
        elif weight >= best[window] - _EQUAL:
            winners[window], is_tied[window] = -1, True
    return winners, is_tied
