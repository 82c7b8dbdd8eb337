"""Labelled examples of land cover: cells under points and areas, or whole pictures of a folder."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from lib.columns import grids_of, vectors_of
from lib.embedding.vectors import unit
from lib.errors import QueryError, UnreadableMediaError
from lib.media.lattice import MARGIN_PX, STRIDE_PX, WINDOW_PX
from lib.media.lonlat import wrapped
from lib.stages.acquisitions import Acquisition
from lib.stages.inner_cells import date_blocks, inner_cells
from lib.stages.making import Work
from lib.stages.tiles import Tile
from lib.tasks.probe import default_block_m, spatial_blocks
from lib.tasks.window_views import CELL_PX, CELLS

# Cells that a head is fitted to, of a folder of pictures: more cost minutes and tell little.
_MOST_EXAMPLES = 20_000
_PICTURES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True, slots=True)
class Examples:
    """What a head is fitted to.

    Attributes:
        features: (n, d) float32.
        labels: (n,) names.
        blocks: (n,) ids of blocks of ground, or of the pictures that they are of.
        naive: (n, D) unit CLS vectors, of the window that holds the example.
        notes: What a user should know.
    """

    features: np.ndarray
    labels: np.ndarray
    blocks: np.ndarray
    naive: np.ndarray
    notes: list[str] = field(default_factory=list)


def cell_features(work: Work, block: pa.Table) -> np.ndarray:
    """(windows, 12, 12, d) float32: a cell's patches and last map, each of unit length."""
    whole = grids_of(block.column("patch_grid"), CELLS, CELLS, work.contract.patch_dim)
    deep = grids_of(block.column("deep_grid"), CELLS, CELLS, work.contract.deep[-1])
    return np.concatenate([unit(whole), unit(deep)], axis=-1)


GRID_COLUMNS = ["row", "column", "cls", "patch_mean", "patch_grid", "deep_grid", "cell_valid"]


def examples_from_shapes(
    work: Work, path: Path, class_column: str, dates: list[tuple[Tile, Acquisition]]
) -> Examples:
    """Cells of the given dates under points and areas.

    Raises:
        QueryError: No stored ground lies under them, or the column isn't there.
        UnreadableMediaError: The file can't be read.
    """
    import shapely

    from lib.media.vectorfiles import read_shapes
    from lib.tasks.window_labels import labels_of_windows

    shapes = read_shapes(path)
    shapes.classes(class_column)
    reach = shapely.union_all(shapely.buffer(shapely.envelope(shapes.geometries), 1e-6))
    features, naive, outlines, places = [], [], [], []
    for tile, one in dates:
        inner = inner_cells(work, one)
        for block in date_blocks(work, one, GRID_COLUMNS):
            rows, columns = block.column("row").to_numpy(), block.column("column").to_numpy()
            near = shapely.intersects(tile.lattice.squares(rows, columns, STRIDE_PX), reach)
            if not near.any():
                continue
            block = block.filter(pa.array(near))
            cells = cell_features(work, block)
            valid = np.stack([inner[int(r), int(c)] for r, c in zip(rows[near], columns[near], strict=True)])
            at = np.argwhere(valid)
            tops = block.column("row").to_numpy()[at[:, 0]] + at[:, 1] * CELL_PX
            lefts = block.column("column").to_numpy()[at[:, 0]] + at[:, 2] * CELL_PX
            features.append(cells[valid])
            naive.append(unit(vectors_of(block, "cls"))[at[:, 0]])
            outlines.append(tile.lattice.squares(tops, lefts, CELL_PX))
            places.append(np.stack(tile.lattice.lonlat(tops, lefts), axis=-1))
    if not features:
        raise QueryError(f"no stored ground lies under what {path} shows; is it of this place?")
    told = labels_of_windows(shapes, class_column, np.concatenate(outlines))
    kept = np.array([at for at, label in enumerate(told.labels) if label is not None], np.int64)
    if not len(kept):
        raise QueryError(f"no stored ground lies under what {path} shows; is it of this place?")
    notes = [f"{len(kept):,} cells are labelled"]
    if told.unused:
        notes.append(f"{told.unused} shapes label nothing: they lie elsewhere, or contradict others")
    if told.tied:
        notes.append(f"{told.tied} cells are left out: shapes contradict each other there")
    xy_m = _metres(np.concatenate(places)[kept])
    window_m = STRIDE_PX * (dates[0][0].lattice.grid(0, 0, 1, 1).pixel_m or 1.0)
    return Examples(
        np.concatenate(features)[kept],
        np.array([told.labels[at] for at in kept]),
        spatial_blocks(xy_m, default_block_m(xy_m, least_m=window_m)),
        np.concatenate(naive)[kept],
        notes=notes,
    )


def examples_from_folder(work: Work, folder: Path) -> Examples:
    """Cells of labelled pictures, by the name of the folder that they lie in.

    Pictures are taken to have the scenes' own pixel size: a smaller one than a window is repeated to fill it,
    of a larger one the middle is seen. All cells of a picture are held out together.

    Raises:
        UnreadableMediaError: No picture is there that can be read.
    """
    from lib.embedding.embed import Embedder
    from lib.media.image import read_image
    from lib.tasks.window_views import features_of, views_of

    found = (file for file in sorted(folder.rglob("*")) if file.suffix.lower() in _PICTURES)
    files = [(file, file.parent.name) for file in found]
    if not files:
        raise UnreadableMediaError(f"{folder} has no picture: give a folder with a folder a class")
    entry = work.archive.embedding
    embedder = Embedder(entry.backbone, size_px=entry.size_px, pooling=work.archive.pooling())
    kept: list[str] = []
    cells_of_each: list[int] = []
    refused: list[str] = []

    def views() -> Iterator[np.ndarray]:
        for file, label in files:
            try:
                picture = read_image(file)
            except UnreadableMediaError as error:
                refused.append(f"{file.name}: {error}")
                continue
            kept.append(label)
            cells_of_each.append(min(CELLS, max(1, min(picture.shape[:2]) // CELL_PX)))
            yield from views_of(_filling(picture))

    most = max(1, round((_MOST_EXAMPLES / len(files)) ** 0.5))
    features, naive, labels, blocks = [], [], [], []
    for number, window in enumerate(features_of(embedder, views())):
        # A repeated picture's cells repeat, too.
        side = min(cells_of_each[number], most)
        cells = np.concatenate([unit(window.whole), unit(window.deep)], axis=-1)[:side, :side]
        features.append(cells.reshape(side * side, -1))
        naive += [unit(window.cls)] * side**2
        labels += [kept[number]] * side**2
        blocks += [number] * side**2
    if not features:
        raise UnreadableMediaError(f"none of the {len(files)} pictures can be read; the first: {refused[0]}")
    notes = [
        f"cells of {len(features):,} pictures, taken to have the scenes' own pixel size and light: the "
        "accuracy is the pictures' own; label a few places of the scenes to see what it is there"
    ]
    if refused:
        notes.append(f"{len(refused)} pictures can't be read, the first: {refused[0]}")
    return Examples(
        np.concatenate(features), np.array(labels), np.array(blocks), np.stack(naive), notes=notes
    )


def _filling(picture: np.ndarray) -> np.ndarray:
    """A window's worth of a picture, (256, 256, 3): repeated where it is smaller, its middle where larger."""
    times = [-(-WINDOW_PX // length) for length in picture.shape[:2]]
    wide = np.tile(picture, (*times, 1))
    # Phase kept, so that a window's own cells are whole cells of the picture.
    if min(picture.shape[:2]) <= WINDOW_PX:
        return np.roll(wide, (MARGIN_PX, MARGIN_PX), (0, 1))[:WINDOW_PX, :WINDOW_PX]
    top, left = ((length - WINDOW_PX) // 2 for length in wide.shape[:2])
    return wide[top : top + WINDOW_PX, left : left + WINDOW_PX]


def _metres(lonlat: np.ndarray) -> np.ndarray:
    """(n, 2) longitudes and latitudes as metres east and north, near enough for blocks of ground."""
    lons, lats = lonlat.T
    # Counted from the first, so that nothing jumps at the 180th meridian.
    east = wrapped(lons - lons[:1])
    return np.stack([111_320 * east * np.cos(np.radians(lats.mean())), 110_574 * lats], axis=-1)
