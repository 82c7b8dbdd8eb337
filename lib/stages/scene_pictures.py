"""Pictures of scenes from stored thumbnails, as PNG: no scene is opened for them."""

from typing import Any

import numpy as np
import pyarrow.compute as pc

from lib.media.lattice import STRIDE_PX, Lattice
from lib.stages.acquisitions import tile_of
from lib.stages.making import Work
from lib.stages.pictures import sheet, thumbnail_pixels
from lib.stages.tiles import Tile, read_tile

_MOST_WINDOWS, _MOST_PAIRS = 24, 6
_MOSAIC_PX = 720
_RED = (235, 60, 40)


def windows_sheet(work: Work, shard: str) -> bytes | None:
    """Windows of a cell, spread evenly; None where it has none."""
    table = work.rows("windows", shard, ["sample", "thumbnail", "valid"])
    if not table.num_rows:
        return None
    spread = np.linspace(0, table.num_rows - 1, _MOST_WINDOWS).round().astype(int)
    rows = table.take(np.unique(spread)).to_pylist()
    captions = [f"{row['sample']}" + (f" {row['valid']:.0%}" if row["valid"] < 1 else "") for row in rows]
    return sheet([thumbnail_pixels(row["thumbnail"]) for row in rows], captions)


def changes_sheet(work: Work, shard: str) -> bytes | None:
    """Before and after of a cell's first acquisitions, changes outlined; None where nothing was compared."""
    from lib.media.image import contact_sheet, png_bytes

    footer = work.lake.footer(work.place("changes", shard))
    tile = read_tile(work, tile_of(shard))
    compared = [scene for scene in (footer[1].notes["scenes"] if footer else []) if scene.get("before")]
    if tile is None or not compared:
        return None
    pictures, captions = [], []
    for scene in compared[:_MOST_PAIRS]:
        before, after = pair_pictures(work, tile, shard, scene)
        pictures += [before, after]
        captions.append(f"{scene['before']} {scene['before_acquired'][:10]}")
        captions.append(f"{scene['item']} {scene['acquired'][:10]}: {scene['polygons']} changes")
    return png_bytes(contact_sheet(pictures, captions, columns=2, tile_px=480))


def pair_pictures(work: Work, tile: Tile, shard: str, scene: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Both dates of a comparison, (h, w, 3) uint8 each, changes outlined on the later."""
    from PIL import Image, ImageDraw
    from shapely import from_wkb, get_coordinates, get_parts

    shards = {item.item: item.shard for item in work.prints.items()}
    later, origin, scale = mosaic(work, shard, scene["item"])
    earlier, *_ = mosaic(work, shards[scene["before"]], scene["before"], like=(origin, later.shape, scale))
    table = work.rows("changes", shard, ["item", "geometry"])
    outlines = from_wkb(
        table.filter(pc.equal(table.column("item"), scene["item"])).column("geometry").to_pylist()
    )
    drawn = Image.fromarray(later)
    pen = ImageDraw.Draw(drawn)
    for outline in get_parts(np.asarray(outlines)):
        lons, lats = get_coordinates(outline.exterior).T
        rows, columns = tile.lattice.pixels(lons, lats, near=origin)
        points = np.stack([(columns - origin[1]) * scale, (rows - origin[0]) * scale], axis=-1)
        pen.line([tuple(point) for point in points.tolist()], fill=_RED, width=2)
    return earlier, np.asarray(drawn)


def mosaic(
    work: Work,
    shard: str,
    item: str,
    *,
    like: tuple[tuple[int, int], tuple[int, ...], float] | None = None,
) -> tuple[np.ndarray, tuple[int, int], float]:
    """A scene put together of its windows' thumbnails.

    Args:
        work: The archive.
        shard: Its cell.
        item: The scene.
        like: Origin, shape and scale of another date's, to lie on the same ground.

    Returns:
        (h, w, 3) uint8, its first pixel on the lattice, and its pixels for each of the lattice's.
    """
    from PIL import Image

    columns = ["item", "row", "column", "thumbnail"]
    table = work.rows("windows", shard, columns)
    rows = table.filter(pc.equal(table.column("item"), item)).to_pylist()
    if like is not None:
        (top, left), shape, scale = like
    else:
        top, left, bottom, right = _reach(work, shard, item, rows)
        scale = min(1.0, _MOSAIC_PX / max(bottom - top, right - left, 1))
        shape = round((bottom - top) * scale), round((right - left) * scale), 3
    made = np.full(shape, 127, np.uint8)
    side = STRIDE_PX * scale
    for row in rows:
        first = round((row["row"] - top) * scale), round((row["column"] - left) * scale)
        last = round((row["row"] - top) * scale + side), round((row["column"] - left) * scale + side)
        picture = Image.fromarray(thumbnail_pixels(row["thumbnail"]))
        size = max(1, last[1] - first[1]), max(1, last[0] - first[0])
        cell = np.asarray(picture.resize(size, Image.Resampling.BILINEAR))
        down, along = slice(max(0, first[0]), last[0]), slice(max(0, first[1]), last[1])
        place = made[down, along]
        place[:] = cell[max(0, -first[0]) :, max(0, -first[1]) :][: place.shape[0], : place.shape[1]]
    return made, (top, left), scale


def _reach(work: Work, shard: str, item: str, rows: list[dict[str, Any]]) -> tuple[int, int, int, int]:
    """First and last row and column of a scene on the lattice: the last windows reach beyond it."""
    top, left = (min((row[name] for row in rows), default=0) for name in ("row", "column"))
    bottom, right = (max((row[name] for row in rows), default=0) + STRIDE_PX for name in ("row", "column"))
    table = work.rows("items", shard, ["item", "crs", "transform", "height", "width"])
    found = table.filter(pc.equal(table.column("item"), item)).to_pylist()
    tile = read_tile(work, tile_of(shard))
    if tile is None or not found:
        return top, left, bottom, right
    scene = found[0]
    own = Lattice(scene["crs"], tuple(scene["transform"])).grid(0, 0, scene["height"], scene["width"])
    span = tile.lattice.span(own)
    return top, left, max(min(bottom, span[2]), top + 1), max(min(right, span[3]), left + 1)
