"""How one side of a pair is seen, and the small blocks that are kept of it. Run by workers.

`upright`: as it is. `turned`, for a side whose heading is unknown: its four turns, mirrored too, whole and
cropped to the middle: sixteen views, whose blocks are averaged. Cells of a grid that turn into each other say
the same then, but for the network's own uneven eye: one is kept of each such ring, at the ring's weight.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from lib.embedding.contract import Contract
from lib.embedding.vectors import to_half, unit
from lib.errors import UsageError

if TYPE_CHECKING:
    from lib.embedding.embed import Embedder, Vectors

VIEWS = ("upright", "turned")
# Each feature, and the vectors of a contract that it is made from.
SOURCES = {"cls": "cls", "patch_mean": "patch_mean", "grid": "patch_grid", "deep": "deep_grid"}
# An odd number has a middle, where a place usually stands: .64 with 5 where 4 and 6 retrieve .55 and .59.
CELLS = 5
CROP = 0.7
_COUNTS = {"upright": 1, "turned": 16}


def pooling_for(features: Sequence[str]) -> tuple[str, ...]:
    """What an embedder has to keep for these features.

    Raises:
        UsageError: A feature is unknown, or there is none.
    """
    unknown = [name for name in features if name not in SOURCES]
    if unknown or not features:
        raise UsageError(f"features {list(features)} can't be had: give some of {', '.join(SOURCES)}")
    wanted = {SOURCES[name] for name in features} | {"cls"}
    return tuple(name for name in SOURCES.values() if name in wanted)


def block_dims(
    contract: Contract, *, views: str, features: Sequence[str], cells: int = CELLS
) -> dict[str, int]:
    """Length of each block that `side_blocks` makes under a contract.

    Raises:
        UsageError: The contract doesn't keep what a feature is made from.
    """
    _require_views(views)
    rings = len(_rings(cells)[1]) if views == "turned" else cells * cells
    dims = {}
    for name in features:
        shape = contract.dims.get(SOURCES.get(name, ""))
        if not shape:
            raise UsageError(
                f"the feature {name!r} needs vectors that {contract.id} doesn't keep: it has "
                f"{', '.join(contract.dims)}. Open the backbone with pooling_for(features)"
            )
        dims[name] = shape[-1] * (rings if len(shape) > 1 else 1)
    return dims


def views_of(picture: np.ndarray, views: str) -> list[np.ndarray]:
    """The views of a picture, uint8 (height, width, 3): itself, or sixteen.

    Raises:
        UsageError: There are no such views.
    """
    _require_views(views)
    if views == "upright":
        return [picture]
    seen = []
    for part in (picture, _middle(picture)):
        for mirrored in (part, part[:, ::-1]):
            seen += [np.ascontiguousarray(np.rot90(mirrored, turns)) for turns in range(4)]
    return seen


def side_blocks(
    embedder: "Embedder",
    pictures: Iterable[np.ndarray],
    *,
    views: str,
    features: Sequence[str],
    cells: int = CELLS,
) -> Iterator[dict[str, np.ndarray]]:
    """Each picture's blocks by feature, one flat float16 vector each, averaged over its views; in order.

    Beside them `plain`, the CLS of the picture as it is: what the original design saw. A view's block has
    unit length before it enters the mean. Pictures are taken as they are needed: the views of one and a few
    batches are held.

    Args:
        embedder: Under a contract that keeps `pooling_for(features)`.
        pictures: uint8 (height, width, 3) of any sizes.
        views: Of `VIEWS`.
        features: Of `SOURCES`.
        cells: Cells a side of the grids.

    Raises:
        UsageError: The views or features can't be had.
        UnreadableMediaError: A picture has another shape or type.
    """
    block_dims(embedder.contract, views=views, features=features, cells=cells)
    rows = _rows(embedder.embed(view for picture in pictures for view in views_of(picture, views)))
    while group := list(islice(rows, _COUNTS[views])):
        blocks = {"plain": to_half(group[0]["cls"])}
        for name in features:
            seen = np.stack([row[SOURCES[name]] for row in group]).astype(np.float32)
            if seen.ndim > 2:
                seen = _cells(seen, cells, is_turned=views == "turned")
            blocks[name] = to_half(unit(seen).mean(axis=0))
        yield blocks


def _rows(batches: "Iterable[Vectors]") -> Iterator[dict[str, np.ndarray]]:
    for batch in batches:
        parts = {name: getattr(batch, name) for name in SOURCES.values()}
        for row in range(len(batch)):
            yield {name: part[row] for name, part in parts.items() if part is not None}


def _cells(grids: np.ndarray, cells: int, *, is_turned: bool) -> np.ndarray:
    """(views, cells * cells or rings, dim) flat, of (views, rows, columns, dim): means over equal areas."""
    down, across = _shares(grids.shape[1], cells), _shares(grids.shape[2], cells)
    made = np.einsum("ai,bj,vijc->vabc", down, across, grids, optimize=True)
    if is_turned:
        ring, sizes = _rings(cells)
        weights = (ring.reshape(-1)[None] == np.arange(len(sizes))[:, None]) / np.sqrt(sizes)[:, None]
        made = weights.astype(np.float32) @ made.reshape(len(made), cells * cells, -1)
    return np.asarray(made.reshape(len(made), -1))


@cache
def _shares(length: int, cells: int) -> np.ndarray:
    """(cells, length): what each patch gives to each cell's mean; a patch on a border is shared by area."""
    edges = np.linspace(0, length, cells + 1)
    first, last = np.arange(length), np.arange(1, length + 1)
    overlap = np.minimum(edges[1:, None], last) - np.maximum(edges[:-1, None], first)
    shares = np.maximum(overlap, 0)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), np.float32)


@cache
def _rings(cells: int) -> tuple[np.ndarray, np.ndarray]:
    """(cells, cells) number of the ring that each cell turns within, and how many cells each ring has."""
    away = np.minimum(np.arange(cells), np.arange(cells)[::-1])
    near, far = np.minimum.outer(away, away), np.maximum.outer(away, away)
    _, ring, sizes = np.unique(near * cells + far, return_inverse=True, return_counts=True)
    return ring.reshape(cells, cells), sizes


def _middle(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    inner = max(1, round(height * CROP)), max(1, round(width * CROP))
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    return picture[top : top + inner[0], left : left + inner[1]]


def _require_views(views: str) -> None:
    if views not in VIEWS:
        raise UsageError(f"there are no views {views!r}: a side is {' or '.join(VIEWS)}")
