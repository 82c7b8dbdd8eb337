"""How a window is seen: whole, and in four parts at twice its size; its cells' features under both.

The patches of the whole and the last map of the parts have the same cells of 16 px. Both lines of change, the
pair's and the archive's, see windows so: what is stored of one is what the other would compute.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from lib.embedding.embed import Embedder
from lib.media.lattice import MARGIN_PX, WINDOW_PX
from lib.tasks.change import cell_distance

CELL_PX = 16
CELLS = (WINDOW_PX - 2 * MARGIN_PX) // CELL_PX  # a side, of a window's own ground
POOLING = ("cls", "patch_mean", "patch_grid", "deep_grid")
_PARTS = tuple((top, left) for top in (16, 112) for left in (16, 112))
_PART_PX = 128
VIEWS = 1 + len(_PARTS)


@dataclass(frozen=True, slots=True)
class WindowFeatures:
    """`cls` (D,), `patch_mean` (P,), and of its own cells `whole` (12, 12, P) and `deep` (12, 12, E)."""

    cls: np.ndarray
    patch_mean: np.ndarray
    whole: np.ndarray
    deep: np.ndarray


def views_of(picture: np.ndarray) -> Iterator[np.ndarray]:
    """The pictures that the network is shown of a (256, 256, 3) window."""
    yield picture
    for top, left in _PARTS:
        yield picture[top : top + _PART_PX, left : left + _PART_PX]


def features_of(embedder: Embedder, views: Iterable[np.ndarray]) -> Iterator[WindowFeatures]:
    """Features of each window, its views coming one after the other."""
    edge = MARGIN_PX // CELL_PX
    first: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    parts: list[np.ndarray] = []
    for vectors in embedder.embed(views):
        patches, deep = vectors.patch_grid, vectors.deep_grid
        if patches is None or deep is None:
            raise ValueError(f"an embedder that keeps {POOLING} is needed")
        for at in range(len(vectors)):
            if first is None:
                whole = _averaged(patches[at], WINDOW_PX // CELL_PX)[edge:-edge, edge:-edge]
                first = vectors.cls[at], vectors.patch_mean[at], whole
                continue
            # Of a part, 16 px on each side are seen by its neighbour better.
            parts.append(_averaged(deep[at], _PART_PX // CELL_PX)[1:-1, 1:-1])
            if len(parts) == len(_PARTS):
                upper, lower = np.hstack(parts[:2]), np.hstack(parts[2:])
                yield WindowFeatures(*first, np.vstack([upper, lower]))
                first, parts = None, []


def distance_of(before: WindowFeatures, after: WindowFeatures) -> np.ndarray:
    """How far apart a window's cells are, over both maps: (12, 12) float32."""
    levels = [
        cell_distance(one, other) for one, other in ((before.whole, after.whole), (before.deep, after.deep))
    ]
    return np.asarray(sum(levels) / len(levels), np.float32)


def cells_of(valid: np.ndarray) -> np.ndarray:
    """Percent of each own cell's pixels that have data: (12, 12) uint8 of a window's (256, 256) bool."""
    own = valid[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    shares = own.reshape(CELLS, CELL_PX, CELLS, CELL_PX).mean((1, 3))
    return np.asarray(np.ceil(100 * shares), np.uint8)


def _averaged(grid: np.ndarray, side: int) -> np.ndarray:
    """A grid at the given number of cells a side: finer ones (a ViT's, at twice the size) are averaged."""
    times = grid.shape[0] // side
    if times == 1:
        return grid
    return np.asarray(grid.reshape(side, times, side, times, -1).astype(np.float32).mean((1, 3)))
