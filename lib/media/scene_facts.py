"""What a scene's file tells of itself: when and where it was taken, and how its numbers are meant.

The only module that imports mgrs.
"""

import hashlib
import math
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from lib.errors import CatalogError, UnreadableMediaError
from lib.media.acquired import acquisition_of, check_pattern, require_past
from lib.media.lonlat import parted, unrolled
from lib.media.raster import Grid, Scene, open_scene

__all__ = ["SceneFacts", "check_pattern", "check_tile_grid", "probe_scene"]

_LONLAT = "EPSG:4326"
# A side that is straight in a projection is none in degrees: so many steps, of which few are kept.
_STEPS = 32
_FLATNESS = 1e-5  # of the footprint's extent
_HAIR_DEG = 1e-9
_FIXED = re.compile(r"fixed:([0-9.]+(?:e[0-9]+)?)")


@dataclass(frozen=True, slots=True)
class SceneFacts:
    """A scene as its file tells.

    Attributes:
        acquired: When it was taken, in UTC.
        tile: Letters, digits, `.`, `-` and single `_`.
        platform: Such as `sentinel-2a`; "" where nothing says.
        crs: `EPSG:…`, else WKT.
        transform: a, b, c, d, e, f from (column, row) to the CRS.
        height: In pixels.
        width: In pixels.
        gsd_m: Width of a pixel in the middle, in metres on the ellipsoid.
        bands: How many.
        band_names: Their descriptions, else their colours, else `band 1` ….
        dtype: As stored.
        nodata: None where none is set.
        scale: Of the first band seen: a value is the stored number × scale + offset.
        offset: See `scale`.
        cloud_cover: Percent, where metadata says.
        footprint: WKB in EPSG:4326, counter-clockwise; two parts where it crosses the 180th meridian.
        lon: Of its centre, in [-180, 180).
        lat: Of its centre.
    """

    acquired: datetime
    tile: str
    platform: str
    crs: str
    transform: tuple[float, ...]
    height: int
    width: int
    gsd_m: float
    bands: int
    band_names: tuple[str, ...]
    dtype: str
    nodata: float | None
    scale: float
    offset: float
    cloud_cover: float | None
    footprint: bytes
    lon: float
    lat: float


def probe_scene(path: Path, *, pattern: str = "", tile_grid: str = "mgrs") -> SceneFacts:
    """Read a scene's header, what stands beside it, and one block of its pixels (more, where that is empty).

    Args:
        path: Of a GeoTIFF.
        pattern: How its name tells its date and tile (`acquired.check_pattern`); "": as products do.
        tile_grid: Tiles of scenes that name none: `mgrs`, the 100 km square of the centre; or `fixed:SIZE`,
            squares of so many units of the scene's CRS.

    Raises:
        UnreadableMediaError: Why it can't be used, and what to do.
        CatalogError: `pattern` or `tile_grid` can't be used as written.
    """
    check_pattern(pattern)
    check_tile_grid(tile_grid)
    with open_scene(path) as scene:
        grid, header = scene.grid, scene.header
        _require_place(scene)
        told = acquisition_of(path, header.tags, pattern=pattern)
        acquired = require_past(told)
        footprint = footprint_of(grid)
        (lon,), (lat,) = _lonlat(grid, np.array([0.5]), np.array([0.5]))
        lon = float((lon + 180) % 360 - 180)
        _require_whole(path, scene)
        gsd_m = grid.pixel_m
        first = scene.choice.bands[0] - 1
        return SceneFacts(
            acquired=acquired,
            tile=told.tile or _tile_of(grid, tile_grid, lonlat=(lon, float(lat))),
            platform=told.platform,
            crs=grid.crs.to_string() if grid.crs else "",
            transform=tuple(float(value) for value in grid.transform[:6]),
            height=grid.height,
            width=grid.width,
            gsd_m=gsd_m or math.nan,
            bands=header.count,
            band_names=tuple(
                map(_band_name, range(1, header.count + 1), header.descriptions, header.colours)
            ),
            dtype=header.dtypes[first],
            nodata=header.nodata,
            scale=float(header.scales[first]),
            offset=float(header.offsets[first]),
            cloud_cover=told.cloud_cover,
            footprint=footprint,
            lon=lon,
            lat=float(lat),
        )


def check_tile_grid(tile_grid: str) -> None:
    """Refuse what names no grid of tiles.

    Raises:
        CatalogError: Neither `mgrs` nor `fixed:SIZE` with a size above 0.
    """
    found = _FIXED.fullmatch(tile_grid)
    try:
        is_known = tile_grid == "mgrs" or (found is not None and float(found[1]) > 0)
    except ValueError:
        is_known = False
    if not is_known:
        raise CatalogError(
            f"tile_grid {tile_grid!r} won't do: mgrs, or fixed:SIZE in units of the CRS, as fixed:50000."
        )


def footprint_of(grid: Grid) -> bytes:
    """A grid's outline on the earth: WKB in EPSG:4326, counter-clockwise, parted at the 180th meridian.

    Raises:
        UnreadableMediaError: It doesn't lie on the earth.
    """
    import shapely

    steps, zeros = np.arange(_STEPS) / _STEPS, np.zeros(_STEPS)
    lons, lats = _lonlat(
        grid,
        np.concatenate([zeros, steps, zeros + 1, 1 - steps]),
        np.concatenate([steps, zeros + 1, 1 - steps, zeros]),
    )
    outline = shapely.make_valid(shapely.Polygon(unrolled(*(np.append(v, v[0]) for v in (lons, lats)))))
    west, south, east, north = outline.bounds
    outline = outline.simplify(_FLATNESS * max(east - west, north - south))
    return bytes(shapely.to_wkb(shapely.orient_polygons(parted(outline))))


def _lonlat(grid: Grid, across: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes and latitudes of points at shares of a grid's width and height."""
    from pyproj import Transformer
    from pyproj.exceptions import ProjError

    columns, rows = across * grid.width, down * grid.height
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    name = grid.crs.to_wkt() if grid.crs else ""
    try:
        to_degrees = Transformer.from_crs(name, _LONLAT, always_xy=True)
        lons, lats = to_degrees.transform(a * columns + b * rows + c, d * columns + e * rows + f)
    except ProjError as error:
        raise UnreadableMediaError(
            f"its CRS isn't tied to the earth ({str(error)[:120]}): write the right one into it "
            "(`rio edit-info --crs EPSG:… FILE`)"
        ) from error
    if not (np.isfinite(lons).all() and np.isfinite(lats).all() and (np.abs(lats) <= 90 + _HAIR_DEG).all()):
        raise UnreadableMediaError(
            "its CRS and its transform don't fit: its corners lie nowhere on the earth. Write the right ones "
            "into it (`rio edit-info --crs EPSG:… --transform … FILE`)"
        )
    return lons, np.clip(lats, -90, 90)


def _require_place(scene: Scene) -> None:
    if scene.grid.crs is None and scene.header.gcps:
        raise UnreadableMediaError(
            "only ground control points place it: warp it by them first (`gdalwarp -t_srs EPSG:… IN OUT`)"
        )
    if scene.grid.crs is None:
        raise UnreadableMediaError(
            "no CRS: where it lies is not known. Write one into it (`rio edit-info --crs EPSG:… FILE`)"
        )
    if scene.grid.transform.is_identity or not scene.grid.transform.determinant:
        raise UnreadableMediaError(
            "it has a CRS but no transform: where it lies is not known. Write one into it "
            "(`rio edit-info --transform … FILE`)"
        )


def _require_whole(path: Path, scene: Scene) -> None:
    end, size = scene.end_byte(), path.stat().st_size
    if end > size:
        raise UnreadableMediaError(
            f"cut short: by its header its pixels take {end} bytes, and it has {size}. Fetch it again"
        )
    if not scene.has_valid_pixel():
        raise UnreadableMediaError("no valid pixel")


def _band_name(number: int, description: str, colour: str) -> str:
    return description or (colour if colour not in ("gray", "undefined") else f"band {number}")


def _tile_of(grid: Grid, tile_grid: str, *, lonlat: tuple[float, float]) -> str:
    fixed = _FIXED.fullmatch(tile_grid)
    if fixed is None:
        import mgrs  # type: ignore[import-untyped]

        lon, lat = lonlat
        # As Sentinel-2 names its tiles; beyond 84° N and 80° S the squares of the poles, of three letters.
        return f"T{mgrs.MGRS().toMGRS(lat, lon, MGRSPrecision=0)}"
    x, y = grid.transform @ (grid.width / 2, grid.height / 2)
    # Two zones have squares of the same numbers.
    name = grid.crs.to_string() if grid.crs else ""
    plain = re.fullmatch(r"([A-Z]+):([0-9]+)", name)
    zone = f"{plain[1]}{plain[2]}".lower() if plain else f"crs{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return f"x{math.floor(x / float(fixed[1]))}_y{math.floor(y / float(fixed[1]))}_{zone}"
