"""Labelled examples of land cover: cells under points and areas, or whole pictures of a folder."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.columns import grids_of, vectors_of
from lib.embedding.vectors import unit
from lib.errors import QueryError, UnreadableMediaError
from lib.media.lattice import STRIDE_PX
from lib.stages.acquisitions import Acquisition
from lib.stages.centring import frame_features
from lib.stages.making import Work
from lib.stages.tiles import Tile
from lib.tasks.probe import default_block_m, spatial_blocks
from lib.tasks.window_views import CELL_PX, CELLS

VALID_PCT = 50
_PICTURES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True, slots=True)
class Examples:
    """What a head is fitted to.

    Attributes:
        features: (n, d) float32.
        labels: (n,) names.
        blocks: (n,) ids of blocks of ground; None where examples have no place.
        naive: (n, D) unit CLS vectors, of the window that holds the example.
        is_of_cells: Whether they are cells; else whole pictures, and windows get a class as a whole.
        notes: What a user should know.
    """

    features: np.ndarray
    labels: np.ndarray
    blocks: np.ndarray | None
    naive: np.ndarray
    is_of_cells: bool
    notes: list[str] = field(default_factory=list)


def date_blocks(work: Work, one: Acquisition, columns: list[str]) -> Iterator[pa.Table]:
    """A date's stored windows, a row group at a time."""
    return work.blocks("window_embeddings", one.shard, pc.field("item") == one.item, columns)


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
        for block in date_blocks(work, one, GRID_COLUMNS):
            rows, columns = block.column("row").to_numpy(), block.column("column").to_numpy()
            near = shapely.intersects(_squares(tile, rows, columns, STRIDE_PX), reach)
            if not near.any():
                continue
            block = block.filter(pa.array(near))
            cells = cell_features(work, block)
            valid = grids_of(block.column("cell_valid"), CELLS, CELLS, dtype=np.uint8) >= VALID_PCT
            at = np.argwhere(valid)
            tops = block.column("row").to_numpy()[at[:, 0]] + at[:, 1] * CELL_PX
            lefts = block.column("column").to_numpy()[at[:, 0]] + at[:, 2] * CELL_PX
            features.append(cells[valid])
            naive.append(unit(vectors_of(block, "cls"))[at[:, 0]])
            outlines.append(_squares(tile, tops, lefts, CELL_PX))
            places.append(_metres(tile, tops, lefts))
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
    xy_m = np.concatenate(places)[kept]
    window_m = STRIDE_PX * (dates[0][0].lattice.grid(0, 0, 1, 1).pixel_m or 1.0)
    return Examples(
        np.concatenate(features)[kept],
        np.array([told.labels[at] for at in kept]),
        spatial_blocks(xy_m, default_block_m(xy_m, least_m=window_m)),
        np.concatenate(naive)[kept],
        is_of_cells=True,
        notes=notes,
    )


def examples_from_folder(work: Work, folder: Path) -> Examples:
    """Whole pictures, by the name of the folder that they lie in."""
    from lib.embedding.embed import Embedder
    from lib.media.image import read_image

    files = [
        (file, file.parent.name) for file in sorted(folder.rglob("*")) if file.suffix.lower() in _PICTURES
    ]
    if not files:
        raise UnreadableMediaError(f"{folder} has no picture: give a folder with a folder a class")
    entry = work.archive.embedding
    embedder = Embedder(entry.backbone, size_px=entry.size_px, pooling=work.archive.pooling())
    kept: list[str] = []
    refused: list[str] = []

    def pictures() -> Iterator[np.ndarray]:
        for file, label in files:
            try:
                picture = read_image(file)
            except UnreadableMediaError as error:
                refused.append(f"{file.name}: {error}")
                continue
            kept.append(label)
            yield picture

    cls, patch_mean = [], []
    for vectors in embedder.embed(pictures()):
        cls.append(vectors.cls)
        patch_mean.append(vectors.patch_mean)
    features = frame_features(np.concatenate(cls), np.concatenate(patch_mean))
    notes = ["examples are whole pictures: each window of the map has one class"]
    if refused:
        notes.append(f"{len(refused)} pictures can't be read, the first: {refused[0]}")
    return Examples(features, np.array(kept), None, unit(np.concatenate(cls)), is_of_cells=False, notes=notes)


def _squares(tile: Tile, tops: np.ndarray, lefts: np.ndarray, side: int) -> np.ndarray:
    """Outlines of squares on the lattice, shapely polygons in EPSG:4326."""
    import shapely

    corners = [
        np.stack(tile.lattice.lonlat(tops + down * side, lefts + along * side), axis=-1)
        for down, along in ((0, 0), (1, 0), (1, 1), (0, 1))
    ]
    return np.asarray(shapely.polygons(np.stack(corners, axis=1)))


def _metres(tile: Tile, tops: np.ndarray, lefts: np.ndarray) -> np.ndarray:
    """Places in metres east and north of the tile's origin, near enough for blocks: (n, 2)."""
    lons, lats = tile.lattice.lonlat(tops, lefts)
    return np.stack([111_320 * lons * np.cos(np.radians(lats.mean())), 110_574 * lats], axis=-1)
