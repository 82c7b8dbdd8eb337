"""The distance map of a pair of any size: read by windows, embedded in one stream, a value for each cell.

Windows are seen as `lib.tasks.window_views` says, both dates of each one after the other.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from lib.ahead import ahead
from lib.embedding.embed import Embedder
from lib.embedding.pictures import squash
from lib.media.lattice import MARGIN_PX, STRIDE_PX
from lib.tasks.change import gate_of, perturbed
from lib.tasks.window_views import (
    CELL_PX,
    CELLS,
    VIEWS,
    WindowFeatures,
    distance_of,
    features_of,
    views_of,
)

GATE_WINDOWS = 4
# Of all windows, where there are many: a window's perturbations cost four times what the pair itself does.
GATE_SHARE = 0.04
_GREY = 127

_AHEAD = 4  # windows made ready ahead of the network

# Both dates' (256, 256, 3) uint8 pictures and which pixels are valid in both.
_Window = tuple[np.ndarray, np.ndarray, np.ndarray]
# Top, left -> a window.
Reader = Callable[[int, int], _Window]


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
        embedder: Of `lattice.WINDOW_PX` and `window_views.POOLING`.
        read: Gives windows; beyond the picture's edge it repeats the edge.
        shape: Height and width in pixels.
    """
    tops, lefts = (range(0, length, STRIDE_PX) for length in shape)
    cells = np.full((len(tops) * CELLS, len(lefts) * CELLS), np.nan, np.float32)
    places = [(top, left) for top in tops for left in lefts]
    judged: list[tuple[int, int]] = []
    known: list[np.ndarray] = []
    forwards = 0

    def seen(window: _Window) -> tuple[np.ndarray, list[np.ndarray]]:
        before, after, valid = _shared(window)
        cells_known = np.asarray(valid.reshape(CELLS, CELL_PX, CELLS, CELL_PX).any((1, 3)))
        return cells_known, _squashed(embedder, (before, after)) if cells_known.any() else []

    def pictures() -> Iterator[np.ndarray]:
        # Read by one thread, as files have to be, and made ready ahead of the network by others.
        reads = ((place, _read(read, *place)) for place in places)
        for (place, _), made in ahead(lambda one: seen(one[1]), reads, most=_AHEAD):
            cells_known, views = made.result()
            if views:
                judged.append(place)
                known.append(cells_known)
                yield from views

    for number, (before, after) in enumerate(_pairs(features_of(embedder, pictures()))):
        top, left = judged[number]
        row, column = top // CELL_PX, left // CELL_PX
        made = distance_of(before, after)
        cells[row : row + CELLS, column : column + CELLS] = np.where(known[number], made, np.nan)
        forwards += 2 * (VIEWS)
    gate, more = _gate(embedder, read, judged)
    rows, columns = (-(-length // CELL_PX) for length in shape)
    return Distances(cells[:rows, :columns], gate, forwards + more)


def _gate(embedder: Embedder, read: Reader, judged: list[tuple[int, int]]) -> tuple[float, int]:
    if not judged:
        return np.inf, 0
    count = min(len(judged), max(GATE_WINDOWS, round(GATE_SHARE * len(judged))))
    chosen = [judged[at] for at in np.linspace(0, len(judged) - 1, count).astype(int)]
    kinds: list[list[np.ndarray]] = []

    def seen(window: _Window) -> list[np.ndarray]:
        before, _, _ = _shared(window)
        return _squashed(embedder, (before, *perturbed(before)))

    def pictures() -> Iterator[np.ndarray]:
        for _, made in ahead(seen, (_read(read, *place) for place in chosen), most=_AHEAD):
            yield from made.result()

    # A window's first picture is the one that the others are held against.
    window: list[WindowFeatures] = []
    forwards = 0
    for made in features_of(embedder, pictures()):
        forwards += VIEWS
        window.append(made)
        if len(window) == 1 + _perturbations():
            kinds.append([distance_of(window[0], other) for other in window[1:]])
            window = []
    return gate_of([np.stack(kind) for kind in zip(*kinds, strict=True)]), forwards


def _perturbations() -> int:
    return sum(1 for _ in perturbed(np.zeros((8, 8, 3), np.uint8)))


def _read(read: Reader, top: int, left: int) -> _Window:
    return read(top - MARGIN_PX, left - MARGIN_PX)


def _squashed(embedder: Embedder, pictures: Iterable[np.ndarray]) -> list[np.ndarray]:
    """All views of windows, of the size that the network sees."""
    size_px = embedder.contract.preprocessing.size_px
    return [squash(view, size_px) for picture in pictures for view in views_of(picture)]


def _shared(window: _Window) -> _Window:
    """Both dates, the margin included; pixels that one date lacks are grey in both, and known without it."""
    before, after, valid = window
    shown = before.copy(), after.copy()
    for picture in shown:
        picture[~valid] = _GREY
    return *shown, valid[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]


def _pairs(features: Iterator[WindowFeatures]) -> Iterator[tuple[WindowFeatures, WindowFeatures]]:
    for before in features:
        yield before, next(features)
