"""changes: each acquisition against the tile's one before, or against its own history: polygons in m².

Cells come from stored vectors: the network doesn't run. Pixels are read to draw the outlines only.
"""

from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from lib import schemas
from lib.errors import UnreadableMediaError
from lib.lake import Facts, ShardWriter
from lib.media.raster import Grid, Scene, open_scene
from lib.stages.acquisitions import Acquisition, acquisitions_of, compared_with, tile_of
from lib.stages.making import Work, ensure
from lib.stages.stage import usable
from lib.stages.stored_cells import StoredDistances, stored_distances
from lib.stages.tiles import Tile, read_tile
from lib.tasks.change_dates import Dates
from lib.tasks.coregister import shift_between
from lib.tasks.outline import CHANGED, UNJUDGED, outline

SCHEMA = schemas.as_geoparquet(schemas.CHANGES, "geometry", ["Polygon", "MultiPolygon"])


def make_changes(work: Work, shard: str) -> Facts:
    """Judge every acquisition of a cell; a tile's first has nothing to be held against."""

    def fill(writer: ShardWriter) -> None:
        tile = read_tile(work, tile_of(shard))
        # Asked of the ledger once: the same items that the fingerprint was computed from.
        items = work.prints.items()
        everything = acquisitions_of(items, tile_of(shard))
        paths = {item.item: item.path for item in items}
        scenes: list[dict[str, Any]] = []
        for item in usable([i for i in items if i.shard == shard]):
            one = Acquisition.of(item)
            earlier = compared_with(one, everything, history=work.archive.change.history)
            if not earlier or tile is None:
                scenes.append({"item": one.item, "before": None, "acquired": one.acquired})
                continue
            try:
                told = _judged(work, tile, one, earlier, paths, writer)
            except (UnreadableMediaError, FileNotFoundError) as error:
                writer.facts.rejected += 1
                writer.facts.reasons[item.path] = str(error)
                continue
            scenes.append(told)
            writer.facts.made += 1
        writer.facts.notes = {"scenes": scenes, "totals": _totals(scenes)}

    return ensure(work, "changes", shard, SCHEMA, fill)


def _judged(
    work: Work,
    tile: Tile,
    one: Acquisition,
    earlier: list[Acquisition],
    paths: dict[str, str],
    writer: ShardWriter,
) -> dict[str, Any]:
    """Write what changed at one acquisition; its summary."""
    before = earlier[0]
    told: dict[str, Any] = {
        "item": one.item, "before": before.item, "acquired": one.acquired, "before_acquired": before.acquired,
        "dates": len(earlier), "polygons": 0, "changed_m2": 0.0, "judged_m2": 0.0, "unjudged_m2": 0.0,
    }  # fmt: skip
    stored = stored_distances(work, one, earlier)
    if stored is None:
        with _opened(work, paths[one.item]) as scene:
            own = tile.lattice.whole(tile.lattice.span(scene.grid))
        nothing = _areas(np.full((1, 1), UNJUDGED, np.uint8), own, own, whole=own)
        return told | nothing | {"note": "shares no window with the one before"}
    with ExitStack() as open_files:
        earlier_scene, later_scene = (
            open_files.enter_context(_opened(work, paths[name])) for name in (before.item, one.item)
        )
        extent = tile.lattice.span(later_scene.grid)
        own = tile.lattice.whole(extent)
        stored = stored.within(extent)
        top, left, bottom, right = stored.span
        grid = tile.lattice.grid(top, left, bottom - top, right - left)
        # Seen as they were embedded: one scaling for all of a tile's dates.
        dates = Dates(earlier_scene.on(grid), later_scene.on(grid), tile.scaling)
        view = dates.held()
        shift = shift_between(view, dates.shape)
        moved = dates.moved(shift)
        view = view if moved is dates else moved.held()
        found = outline(stored.cells, stored.gates, view, shape=dates.shape)
    frame = _polygons(stored, found.states == CHANGED, grid)
    if work.archive.change.min_area_m2:
        frame = frame[frame["area"] >= work.archive.change.min_area_m2]
    writer.write(_table(frame, tile.name, one, before, len(earlier)))
    return told | {
        "polygons": len(frame),
        "changed_m2": round(float(frame["area"].sum()), 2),
        **_areas(found.states, grid, own, whole=tile.lattice.whole(stored.span)),
        "gate": _plain(stored.gates.cells),
        "threshold": _plain(found.threshold),
        "shift_px": list(shift),
    }


def _opened(work: Work, path: str) -> AbstractContextManager[Scene]:
    config = work.archive.scenes
    return open_scene(work.root / path, bands=config.bands, cloud_band=config.cloud_band)


def _polygons(stored: StoredDistances, mask: np.ndarray, grid: Grid) -> Any:
    """One row a region: its outline in the grid's CRS, `area` in m², `mean_score`."""
    from lib.media.geofiles import mean_within, regions_of
    from lib.tasks.cell_maps import at_pixels, filled
    from lib.tasks.change import as_score

    frame = regions_of(mask, grid)
    cells = filled(stored.cells, np.isfinite(stored.cells))

    def scores(top: int, bottom: int) -> np.ndarray:
        return as_score(at_pixels(cells, (top, 0, bottom - top, grid.width)))

    return frame.assign(mean_score=mean_within(frame, scores, grid))


def _table(frame: Any, tile: str, one: Acquisition, before: Acquisition, dates: int) -> pa.Table:
    from shapely import normalize, to_wkb

    from lib.media.geofiles import outlines_in_degrees

    outlines = outlines_in_degrees(frame)
    middles = [outline.representative_point() for outline in normalize(outlines)]
    rows = [
        {
            "change": f"{one.item}#change={number}", "item": one.item, "before_item": before.item,
            "tile": tile, "before": datetime.fromisoformat(before.acquired),
            "after": datetime.fromisoformat(one.acquired), "dates": dates, "area_m2": area,
            "mean_score": score, "lon": middle.x, "lat": middle.y, "geometry": to_wkb(outline),
        }
        for number, (outline, middle, area, score) in enumerate(
            zip(outlines, middles, frame["area"], frame["mean_score"], strict=True)
        )
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _areas(states: np.ndarray, grid: Grid, own: Grid, *, whole: Grid) -> dict[str, float]:
    """What could be judged, and the rest of the later date's ground, whatever it lacks there.

    Args:
        states: (height, width) of the outlined ground.
        grid: Of its pixels.
        own: The later date's ground, as one pixel.
        whole: The outlined ground, as one pixel: its outline is soon drawn.
    """
    from lib.media.geofiles import mask_area

    known, one = states != UNJUDGED, np.ones((1, 1), bool)
    judged = mask_area(one, whole) if known.all() else mask_area(known, grid)
    return {"judged_m2": round(judged, 2), "unjudged_m2": round(max(0.0, mask_area(one, own) - judged), 2)}


def _totals(scenes: list[dict[str, Any]]) -> dict[str, float]:
    return {
        "polygons": sum(scene.get("polygons", 0) for scene in scenes),
        "changed_m2": round(sum(scene.get("changed_m2", 0.0) for scene in scenes), 2),
    }


def _plain(value: float) -> float | None:
    return round(float(value), 5) if np.isfinite(value) else None
