"""windows: the grid of windows on each scene, with what share of each has data, and a thumbnail."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib import schemas
from lib.errors import UnreadableMediaError
from lib.lake import Facts, ShardWriter
from lib.media.lattice import MARGIN_PX, STRIDE_PX, WINDOW_PX
from lib.stages.acquisitions import tile_of
from lib.stages.items import OK
from lib.stages.making import Work, ensure
from lib.stages.tiles import Tile, read_tile

SCHEMA = schemas.as_geoparquet(schemas.WINDOWS, "geometry", ["Polygon", "MultiPolygon"])
_THUMBNAIL_PX = 96
_GREY = 127
_INNER = slice(MARGIN_PX, WINDOW_PX - MARGIN_PX)
# Of a window's own ground: where a scene reaches less, it says little of the place.
_SLIVER = 0.25
_AT_ONCE = 512  # rows held before they are written


def make_windows(work: Work, shard: str) -> Facts:
    """Lay the tile's windows over every scene of a cell; windows without a valid pixel are left out."""

    def fill(writer: ShardWriter) -> None:
        tile = read_tile(work, tile_of(shard))
        items = [r for r in work.rows("items", shard).to_pylist() if r["verdict"] == OK and not r["removed"]]
        former = work.former("windows", shard)
        writer.facts.notes = {
            "window_px": WINDOW_PX, "stride_px": STRIDE_PX, "margin_px": MARGIN_PX, "tile": tile_of(shard),
        }  # fmt: skip
        for item in items:
            if tile is None:
                fitting = work.lake.footer(work.place("tiles"))
                told = fitting[1].reasons.get(item["path"]) if fitting else None
                _refuse(writer, item, told or "no scene of its tile can be read: nothing could be fitted")
                continue
            mark = f"{item['content_hash']}@{tile.mark}"
            kept = _standing(former[0] if former else None, item["item"], mark)
            if kept is not None:
                writer.write(kept)
                writer.facts.kept += kept.num_rows
                continue
            try:
                tables = _windows(work, item, tile, mark)
            except (UnreadableMediaError, FileNotFoundError) as error:
                _refuse(writer, item, str(error))
                continue
            for table in tables:
                writer.write(table)
                writer.facts.made += table.num_rows
            if not tables:
                _refuse(writer, item, "no valid pixel")

    return ensure(work, "windows", shard, SCHEMA, fill)


def _refuse(writer: ShardWriter, item: dict[str, Any], reason: str) -> None:
    writer.facts.rejected += 1
    writer.facts.reasons[item["path"]] = reason


def _standing(former: pa.Table | None, item: str, mark: str) -> pa.Table | None:
    """An item's windows in the former file, where they were made of the same content in the same tile."""
    if former is None:
        return None
    rows = former.filter(pc.equal(former.column("item"), item))
    is_same = rows.num_rows and rows.column("sample_hash")[0].as_py().rpartition("@")[0] == mark
    return rows if is_same else None


def _windows(work: Work, item: dict[str, Any], tile: Tile, mark: str) -> list[pa.Table]:
    """All windows of a scene, or none: a scene that can't be read to its end is refused as a whole."""
    tables: list[pa.Table] = []
    rows: list[dict[str, Any]] = []
    with tile.open(work.root / item["path"], work.archive.scenes) as scene:
        for row, column in scene.windows():
            picture, valid = scene.read(row, column)
            share = _share(valid[_INNER, _INNER], scene.reach(row, column))
            if share:
                # The network is shown the edge repeated, where a scene ends; people are not.
                picture[~valid] = _GREY
                rows.append(_row(item["item"], row, column, mark, share, picture))
            if len(rows) == _AT_ONCE:
                tables.append(_table(rows, tile))
                rows = []
    return [*tables, _table(rows, tile)] if rows else tables


def _share(valid: np.ndarray, reached: float) -> float:
    """The share of a window's own ground that has data, of that part which the scene reaches.

    A window at the scene's edge is shown the edge repeated, and is as good as others, unless it is a sliver.
    """
    share = float(valid.mean())
    return min(1.0, share / reached) if reached >= _SLIVER else share


def sample_name(item: str, row: int, column: int) -> str:
    """The id of a window: its scene, and its first pixel on the tile's lattice."""
    return f"{item}#r={row},c={column}"


def _row(item: str, row: int, column: int, mark: str, share: float, picture: np.ndarray) -> dict[str, Any]:
    from lib.media.image import jpeg_bytes

    return {
        "sample": sample_name(item, row, column), "item": item, "row": row, "column": column,
        "sample_hash": f"{mark}@{row},{column}", "valid": share,
        "thumbnail": jpeg_bytes(picture[_INNER, _INNER], max_side=_THUMBNAIL_PX),
    }  # fmt: skip


def _table(rows: list[dict[str, Any]], tile: Tile) -> pa.Table:
    import shapely

    tops, lefts = (np.array([row[name] for row in rows]) for name in ("row", "column"))
    lons, lats = tile.lattice.lonlat(tops + STRIDE_PX / 2, lefts + STRIDE_PX / 2)
    outlines = tile.lattice.squares(tops, lefts, STRIDE_PX)
    for row, lon, lat, geometry in zip(rows, lons, lats, shapely.to_wkb(outlines), strict=True):
        row |= {"lon": lon, "lat": lat, "geometry": geometry}
    return pa.Table.from_pylist(rows, schema=SCHEMA)
