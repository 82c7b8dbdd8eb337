"""land_cover: a class for every cell of 16 px from a handful of labels, by a head on stored features."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lib import schemas
from lib.errors import QueryError, UnreadableMediaError, UsageError
from lib.lake import Facts
from lib.media.lattice import STRIDE_PX
from lib.media.raster import Grid
from lib.stages.acquisitions import Acquisition, acquisitions_of, tile_of
from lib.stages.inner_cells import date_blocks, inner_cells
from lib.stages.land_cover_examples import (
    GRID_COLUMNS,
    cell_features,
    examples_from_folder,
    examples_from_shapes,
)
from lib.stages.making import Work
from lib.stages.stage import usable
from lib.stages.tiles import Tile, read_tile
from lib.tasks.probe import (
    CrossValidation,
    Head,
    cross_validated,
    fit_centroids,
    fit_probe,
)
from lib.tasks.window_views import CELL_PX, CELLS


@dataclass(frozen=True, slots=True)
class TileMap:
    """One tile's map: (rows, columns) uint8 classes (0 no data) and float32 confidence, a pixel a cell."""

    tile: str
    item: str
    acquired: str
    grid: Grid
    classes: np.ndarray
    confidence: np.ndarray


@dataclass(frozen=True, slots=True)
class LandCover:
    """Maps of all tiles, and how good the head is on examples that it wasn't fitted to.

    `spatial` holds out whole blocks of ground, or whole pictures; `naive` is the nearest centroid of CLS
    vectors.
    """

    names: tuple[str, ...]
    maps: list[TileMap]
    random: CrossValidation
    spatial: CrossValidation
    naive_random: CrossValidation
    naive_spatial: CrossValidation
    examples: dict[str, int]
    notes: list[str]


def map_land_cover(work: Work, labels: Path, *, class_column: str = "class", until: str = "") -> LandCover:
    """Fit a head to labelled places, or to a folder of labelled pictures, and map every tile's latest date.

    Args:
        work: A scene archive that has been run.
        labels: A vector file of points and areas, or a folder with a folder of pictures a class.
        class_column: Of the vector file.
        until: The last day that may be mapped, `YYYY-MM-DD`; "" for any.

    Raises:
        QueryError: No label lies on stored ground, fewer than two classes, nothing to be mapped.
        UnreadableMediaError: The labels can't be read.
    """
    if until:
        _require_day(until)
    dates = _latest(work, until)
    if not dates:
        told = f" up to {until}" if until else ""
        raise QueryError(f"archive {work.archive.name!r} has no embedded scene{told}: `dinolake run` first.")
    if labels.is_dir():
        examples = examples_from_folder(work, labels)
    else:
        examples = examples_from_shapes(work, labels, class_column, dates)
    head = fit_probe(examples.features, examples.labels, groups=examples.blocks)
    names = tuple(head.classes.tolist())
    maps = [_mapped(work, tile, one, head, names) for tile, one in dates]
    counted = dict(zip(*np.unique(examples.labels, return_counts=True), strict=True))
    blocks = examples.blocks
    return LandCover(
        names,
        maps,
        cross_validated(examples.features, examples.labels),
        cross_validated(examples.features, examples.labels, groups=blocks),
        cross_validated(examples.naive, examples.labels, fit=fit_centroids),
        cross_validated(examples.naive, examples.labels, groups=blocks, fit=fit_centroids),
        {str(name): int(count) for name, count in counted.items()},
        examples.notes,
    )


def areas_of_maps(found: LandCover) -> dict[str, float]:
    """Hectares of each class over all tiles; ground that several of them show counts once."""
    totals = dict.fromkeys(found.names, 0.0)
    for areas in _areas_by_map(found):
        for name, area in areas.items():
            totals[name] += area
    return totals


def _areas_by_map(found: LandCover) -> list[dict[str, float]]:
    """Hectares of each class in each map, without the ground that a map before it shows."""
    from lib.media.class_maps import class_areas_ha
    from lib.stages.land_cover_overlap import counted_once

    grids = [made.grid for made in found.maps]
    counted = counted_once([(made.grid, made.classes) for made in found.maps])
    return [class_areas_ha(classes, grid, found.names) for classes, grid in zip(counted, grids, strict=True)]


def make_land_cover(work: Work) -> Facts:
    """The stage: maps by the labels that the catalog names; empty where it names none."""
    from lib.media.class_maps import colours_for, write_class_cog

    place, config = work.place("land_cover"), work.archive.land_cover
    with work.lake.lock(place):
        if facts := work.done("land_cover"):
            return facts
        with work.lake.writing(place, schemas.LAND_COVER, work.prints.of("land_cover")) as writer:
            if config.labels is None or not any(usable(work.prints.items())):
                return writer.facts
            labels = Path(config.labels).expanduser()
            try:
                found = map_land_cover(work, labels, class_column=config.class_column)
            except UnreadableMediaError as error:
                raise QueryError(f"land_cover.labels = {config.labels!r}: {error}") from error
            folder = work.lake.path(place).parent
            for made, areas in zip(found.maps, _areas_by_map(found), strict=True):
                write_class_cog(
                    folder / f"{made.tile}.tif", made.classes, made.confidence, grid=made.grid,
                    names=found.names, colours=colours_for(len(found.names)),
                )  # fmt: skip
                writer.write(
                    pa.Table.from_pylist(
                        [
                            {"tile": made.tile, "item": made.item, "class": name, "area_ha": area}
                            for name, area in areas.items()
                        ],
                        schema=schemas.LAND_COVER,
                    )
                )
            writer.facts.made = len(found.maps)
            writer.facts.notes = {"names": list(found.names), "examples": found.examples} | _scores(found)
        return writer.facts


def _scores(found: LandCover) -> dict[str, Any]:
    sides = {
        "random": found.random, "spatial": found.spatial, "naive_random": found.naive_random,
        "naive_spatial": found.naive_spatial,
    }  # fmt: skip
    return {
        name: None
        if scored is None
        else {
            "accuracy": scored.accuracy, "folds": list(scored.folds), "chance": scored.confusion.chance,
            "recall": scored.confusion.recall, "n": scored.n, "note": scored.note,
        }
        for name, scored in sides.items()
    }  # fmt: skip


def _require_day(text: str) -> None:
    try:
        date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--until is {text!r}; give a day such as 2024-06-30.") from error


def _latest(work: Work, until: str) -> list[tuple[Tile, Acquisition]]:
    """Each tile's latest date that has vectors."""
    items = work.prints.items()
    found = []
    for name in sorted({tile_of(item.shard) for item in usable(items)}):
        tile = read_tile(work, name)
        for one in reversed(acquisitions_of(items, name)):
            is_due = not until or one.acquired[:10] <= until
            if tile is not None and is_due and next(date_blocks(work, one, ["row"]), None) is not None:
                found.append((tile, one))
                break
    return found


def _mapped(work: Work, tile: Tile, one: Acquisition, head: Head, names: tuple[str, ...]) -> TileMap:
    numbers = {name: number for number, name in enumerate(names, 1)}
    windows: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}
    inner = inner_cells(work, one)
    for block in date_blocks(work, one, GRID_COLUMNS):
        places = list(zip(block.column("row").to_pylist(), block.column("column").to_pylist(), strict=True))
        valid = np.stack([inner[place] for place in places])
        classes, confidence = np.zeros(valid.shape, np.uint8), np.zeros(valid.shape, np.float32)
        if valid.any():
            told, sure = head.predict(cell_features(work, block)[valid])
            classes[valid], confidence[valid] = [numbers[name] for name in told], sure
        windows |= {place: (classes[n], confidence[n]) for n, place in enumerate(places)}
    tops, lefts = zip(*windows, strict=True)
    top, left = min(tops), min(lefts)
    shape = (max(tops) + STRIDE_PX - top) // CELL_PX, (max(lefts) + STRIDE_PX - left) // CELL_PX
    all_classes, all_confidence = np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
    for (row, column), (classes, confidence) in windows.items():
        at = (row - top) // CELL_PX, (column - left) // CELL_PX
        cell = slice(at[0], at[0] + CELLS), slice(at[1], at[1] + CELLS)
        all_classes[cell], all_confidence[cell] = classes, confidence
    # The last windows reach beyond the scene.
    known = np.argwhere(all_classes > 0)
    last = known.max(axis=0) + 1 if len(known) else np.array(shape)
    rows, columns = slice(0, int(last[0])), slice(0, int(last[1]))
    grid = tile.lattice.cells(top, left, int(last[0]), int(last[1]), CELL_PX)
    return TileMap(
        tile.name, one.item, one.acquired, grid, all_classes[rows, columns], all_confidence[rows, columns]
    )
