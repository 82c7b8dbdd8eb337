"""The distance map of a pair of any size: read by windows, embedded in one stream, a value for each cell.

Each window is seen twice, as it is and, in four parts, at twice its size: the patches of the first and the
last map of the second have the same cells of 16 px, and their distances are averaged.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from lib.embedding.embed import Embedder
from lib.tasks.change import cell_distance, gate_of, perturbed

CELL_PX = 16
SIDE_PX = 256
# What a window shares with its neighbours on each side: cells near an edge see too little around them.
MARGIN_PX = 32
STRIDE_PX = SIDE_PX - 2 * MARGIN_PX
POOLING = ("cls", "patch_grid", "deep_grid")
_PARTS = tuple((top, left) for top in (16, 112) for left in (16, 112))
_PART_PX = 128
GATE_WINDOWS = 4
# Of all windows, where there are many: a window's perturbations cost four times what the pair itself does.
GATE_SHARE = 0.04
_GREY = 127

# Top, left -> both dates' (SIDE_PX, SIDE_PX, 3) uint8 pictures and which pixels are valid in both.
Reader = Callable[[int, int], tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True, slots=True)
class Distances:
    """What a pair's windows came to.

    Attributes:
        cells: (rows, columns) float32; NaN where a cell has no pixel that both dates know.
        gate: What perturbations alone reach.
        forwards: Pictures that went through the network.
    """

    cells: np.ndarray
    gate: float
    forwards: int


def distances(embedder: Embedder, read: Reader, shape: tuple[int, int]) -> Distances:
    """Distances of a pair of (height, width) pixels, and the gate from its earlier date.

    Args:
        embedder: Of `SIDE_PX` and `POOLING`.
        read: Gives windows; beyond the picture's edge it repeats the edge.
        shape: Height and width in pixels.
    """
    tops, lefts = (range(0, length, STRIDE_PX) for length in shape)
    per_window = STRIDE_PX // CELL_PX
    cells = np.full((len(tops) * per_window, len(lefts) * per_window), np.nan, np.float32)
    places = [(top, left) for top in tops for left in lefts]
    judged: list[tuple[int, int]] = []
    known: list[np.ndarray] = []
    forwards = 0

    def pictures() -> Iterator[np.ndarray]:
        for top, left in places:
            before, after, valid = _shared(read, top, left)
            if valid.any():
                judged.append((top, left))
                known.append(_cells(valid[..., None], per_window)[..., 0] > 0)
                yield from _views(before)
                yield from _views(after)

    for number, (before, after) in enumerate(_pairs(_features(embedder, pictures()))):
        top, left = judged[number]
        row, column = top // CELL_PX, left // CELL_PX
        made = _distance(before, after)
        cells[row : row + per_window, column : column + per_window] = np.where(known[number], made, np.nan)
        forwards += 2 * (1 + len(_PARTS))
    gate, more = _gate(embedder, read, judged)
    rows, columns = (-(-length // CELL_PX) for length in shape)
    return Distances(cells[:rows, :columns], gate, forwards + more)


def _gate(embedder: Embedder, read: Reader, judged: list[tuple[int, int]]) -> tuple[float, int]:
    if not judged:
        return np.inf, 0
    count = min(len(judged), max(GATE_WINDOWS, round(GATE_SHARE * len(judged))))
    chosen = [judged[at] for at in np.linspace(0, len(judged) - 1, count).astype(int)]
    kinds: list[list[np.ndarray]] = []

    def pictures() -> Iterator[np.ndarray]:
        for top, left in chosen:
            before, _, _ = _shared(read, top, left)
            for picture in (before, *perturbed(before)):
                yield from _views(picture)

    # A window's first picture is the one that the others are held against.
    window: list[tuple[np.ndarray, np.ndarray]] = []
    forwards = 0
    for made in _features(embedder, pictures()):
        forwards += 1 + len(_PARTS)
        window.append(made)
        if len(window) == 1 + _perturbations():
            kinds.append([_distance(window[0], other) for other in window[1:]])
            window = []
    return gate_of([np.stack(kind) for kind in zip(*kinds, strict=True)]), forwards


def _perturbations() -> int:
    return sum(1 for _ in perturbed(np.zeros((8, 8, 3), np.uint8)))


def _shared(read: Reader, top: int, left: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A window of both dates, its margin included; pixels that one date lacks are grey in both."""
    before, after, valid = read(top - MARGIN_PX, left - MARGIN_PX)
    shown = before.copy(), after.copy()
    for picture in shown:
        picture[~valid] = _GREY
    return *shown, valid[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]


def _views(picture: np.ndarray) -> Iterator[np.ndarray]:
    yield picture
    for top, left in _PARTS:
        yield picture[top : top + _PART_PX, left : left + _PART_PX]


def _features(embedder: Embedder, pictures: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each picture of a window, the inner cells' patches and last-map vectors, (12, 12, dim) each."""
    edge = MARGIN_PX // CELL_PX
    whole: np.ndarray | None = None
    parts: list[np.ndarray] = []
    for vectors in embedder.embed(pictures):
        patches, deep = vectors.patch_grid, vectors.deep_grid
        if patches is None or deep is None:
            raise ValueError(f"an embedder that keeps {POOLING} is needed")
        for at in range(len(vectors)):
            if whole is None:
                whole = _cells(patches[at], SIDE_PX // CELL_PX)[edge:-edge, edge:-edge]
                continue
            # Of a part, 16 px on each side are seen by its neighbour better.
            parts.append(_cells(deep[at], _PART_PX // CELL_PX)[1:-1, 1:-1])
            if len(parts) == len(_PARTS):
                upper, lower = np.hstack(parts[:2]), np.hstack(parts[2:])
                yield whole, np.vstack([upper, lower])
                whole, parts = None, []


def _cells(grid: np.ndarray, side: int) -> np.ndarray:
    """A grid at the given number of cells a side: finer ones (a ViT's, at twice the size) are averaged."""
    times = grid.shape[0] // side
    if times == 1:
        return grid
    return np.asarray(grid.reshape(side, times, side, times, -1).astype(np.float32).mean((1, 3)))


def _pairs(
    features: Iterator[tuple[np.ndarray, np.ndarray]],
) -> Iterator[tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]]:
    for before in features:
        yield before, next(features)


def _distance(before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    levels = [cell_distance(one, other) for one, other in zip(before, after, strict=True)]
    return np.asarray(sum(levels) / len(levels), np.float32)
