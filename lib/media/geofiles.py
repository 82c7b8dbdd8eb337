"""What opens in QGIS: COGs, GeoParquet and GeoJSON, with areas on the ellipsoid.

With `raster`, the only module that imports rasterio; the only one that imports geopandas.
"""

import json
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio import features
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from lib.media.lonlat import on_earth
from lib.media.raster import Grid

if TYPE_CHECKING:
    import geopandas

_LONLAT = "EPSG:4326"
_CACHE_MB = 128
_STRIP_PX = 512


def write_cog(path: Path, strips: Iterable[np.ndarray], grid: Grid, *, descriptions: Sequence[str]) -> None:
    """Write float32 bands as a Cloud Optimized GeoTIFF, NaN where there is nothing to tell.

    Args:
        path: Where to.
        strips: (bands, rows, width) each, from top to bottom: a whole scene's bands needn't stand in memory.
        grid: Where its pixels lie.
        descriptions: Of the bands.
    """
    plain = path.with_suffix(".plain.tif")
    told = {
        "driver": "GTiff", "count": len(descriptions), "height": grid.height, "width": grid.width,
        "dtype": "float32", "nodata": np.nan, "tiled": True, "bigtiff": "IF_SAFER",
    }  # fmt: skip
    if grid.crs is not None:
        told |= {"crs": grid.crs, "transform": grid.transform}
    try:
        # Left to itself, GDAL takes a twentieth of the machine for its cache.
        with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=_CACHE_MB):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a plain picture's map isn't
            with rasterio.open(plain, "w", **told) as file:
                file.descriptions = tuple(descriptions)
                top = 0
                for bands in strips:
                    window = Window(0, top, grid.width, bands.shape[1])
                    file.write(bands.astype(np.float32, copy=False), window=window)
                    top += bands.shape[1]
            # A mask's overviews can't be averaged: half a change is none.
            rasterio.shutil.copy(
                plain, path, driver="COG", compress="DEFLATE", predictor="YES",
                overview_resampling="NEAREST", num_threads="ALL_CPUS",
            )  # fmt: skip
    finally:
        plain.unlink(missing_ok=True)


def polygons_of(labels: np.ndarray, grid: Grid) -> "geopandas.GeoDataFrame":
    """Outlines of labelled pixels, one row a label: `label`, `geometry` (the grid's CRS), `area`.

    Areas are m² on the ellipsoid; pixels where the grid has no CRS.

    Args:
        labels: (height, width) int32; 0 is no region.
        grid: Where its pixels lie.
    """
    frame = _shapes(labels, labels > 0, grid)
    if not frame.empty:
        frame = frame.dissolve("label", as_index=False)
    frame["area"] = areas_of(frame, grid)
    return frame


def regions_of(mask: np.ndarray, grid: Grid) -> "geopandas.GeoDataFrame":
    """Outlines of a mask's regions (pixels that share edges), one row each: `geometry` and `area`, as above.

    Args:
        mask: (height, width) bool.
        grid: Where its pixels lie.
    """
    frame = _shapes(mask.view(np.uint8), mask, grid)[["geometry"]]
    frame["area"] = areas_of(frame, grid)
    return frame


def mean_within(
    frame: "geopandas.GeoDataFrame", values: Callable[[int, int], np.ndarray], grid: Grid
) -> np.ndarray:
    """Mean of a map's finite values within each row's outline, (rows,) float64; NaN where there are none.

    Args:
        frame: Outlines that don't overlap, such as `regions_of` gives.
        values: First and last row (not included) -> (rows, width) of the map.
        grid: Where its pixels lie.
    """
    sums, counts = np.zeros(len(frame) + 1), np.zeros(len(frame) + 1)
    outlines = list(zip(frame.geometry, range(1, len(frame) + 1), strict=True))
    for top in range(0, grid.height if outlines else 0, _STRIP_PX):
        rows = min(_STRIP_PX, grid.height - top)
        moved = grid.transform * rasterio.Affine.translation(0, top)
        numbers = features.rasterize(outlines, (rows, grid.width), transform=moved, dtype="int32")
        inside = numbers > 0
        if inside.any():
            found, of = values(top, top + rows)[inside], numbers[inside]
            is_known = np.isfinite(found)
            sums += np.bincount(of[is_known], weights=found[is_known], minlength=len(sums))
            counts += np.bincount(of[is_known], minlength=len(sums))
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / counts)[1:]


def _shapes(labels: np.ndarray, mask: np.ndarray, grid: Grid) -> "geopandas.GeoDataFrame":
    import geopandas
    from shapely.geometry import shape

    found = features.shapes(labels, mask=mask, transform=grid.transform)
    parts = [(int(value), shape(outline)) for outline, value in found]
    return geopandas.GeoDataFrame(
        {"label": [label for label, _ in parts]},
        geometry=[outline for _, outline in parts],
        crs=_crs_of(grid),
    )


def areas_of(frame: "geopandas.GeoDataFrame", grid: Grid) -> list[float]:
    """Area of each row: m² on the WGS 84 ellipsoid, or pixels where the grid has no CRS."""
    if grid.crs is None:
        return [float(area) for area in frame.geometry.area]
    from pyproj import Geod

    ellipsoid = Geod(ellps="WGS84")
    return [abs(ellipsoid.geometry_area_perimeter(outline)[0]) for outline in _in_degrees(frame)]


def outlines_in_degrees(frame: "geopandas.GeoDataFrame") -> np.ndarray:
    """(rows,) outlines in EPSG:4326, flat, counter-clockwise, parted at the 180th meridian."""
    return on_earth(_in_degrees(frame).to_numpy())


def _in_degrees(frame: "geopandas.GeoDataFrame") -> "geopandas.GeoSeries":
    outlines = frame.geometry
    if frame.crs.is_geographic:
        # A side of more than 180 degrees isn't the shorter way around; nor is a parallel's a straight line.
        outlines = outlines.segmentize(1)
    return outlines.to_crs(_LONLAT)


def mask_area(mask: np.ndarray, grid: Grid) -> float:
    """Area of the pixels of a (height, width) mask, in m², or in pixels where the grid has no CRS."""
    if grid.crs is None or not mask.any():
        return float(mask.sum())
    return float(regions_of(np.ascontiguousarray(mask), grid)["area"].sum())


def write_geoparquet(frame: "geopandas.GeoDataFrame", path: Path) -> None:
    """Write rows as GeoParquet, whole."""
    _whole(path, lambda partial: frame.to_parquet(partial, index=False))


def write_geojson(frame: "geopandas.GeoDataFrame", path: Path) -> None:
    """Write rows as GeoJSON: longitude and latitude, right-hand winding (RFC 7946); pixels without a CRS."""
    if frame.crs is None:
        told = json.loads(frame.to_json(drop_id=True)) | {"note": "coordinates are pixels: no CRS was given"}
        _whole(path, lambda partial: partial.write_text(json.dumps(told)))
        return
    lonlat = frame.set_geometry(outlines_in_degrees(frame), crs=_LONLAT)
    _whole(path, lambda partial: partial.write_text(lonlat.to_json(drop_id=True)))


def _crs_of(grid: Grid) -> str | None:
    return grid.crs.to_wkt() if grid.crs else None


def _whole(path: Path, write: Callable[[Path], Any]) -> None:
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
