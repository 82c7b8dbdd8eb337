"""What opens in QGIS: COGs, GeoParquet and GeoJSON, with areas on the ellipsoid.

With `raster`, the only module that imports rasterio; the only one that imports geopandas.
"""

import json
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio import features
from rasterio.errors import NotGeoreferencedWarning

from lib.media.raster import Grid

if TYPE_CHECKING:
    import geopandas

_LONLAT = "EPSG:4326"


def write_cog(path: Path, bands: np.ndarray, grid: Grid, *, descriptions: Sequence[str]) -> None:
    """Write float32 bands as a Cloud Optimized GeoTIFF, NaN where there is nothing to tell.

    Args:
        path: Where to.
        bands: (bands, height, width).
        grid: Where its pixels lie.
        descriptions: Of the bands.
    """
    plain = path.with_suffix(".plain.tif")
    told = {
        "driver": "GTiff", "count": len(bands), "height": grid.height, "width": grid.width,
        "dtype": "float32", "nodata": np.nan, "tiled": True,
    }  # fmt: skip
    if grid.crs is not None:
        told |= {"crs": grid.crs, "transform": grid.transform}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a plain picture's map isn't
            with rasterio.open(plain, "w", **told) as file:
                file.write(bands.astype(np.float32, copy=False))
                file.descriptions = tuple(descriptions)
            # A mask's overviews can't be averaged: half a change is none.
            rasterio.shutil.copy(
                plain, path, driver="COG", compress="DEFLATE", predictor="YES", overview_resampling="NEAREST"
            )
    finally:
        plain.unlink(missing_ok=True)


def polygons_of(labels: np.ndarray, grid: Grid) -> "geopandas.GeoDataFrame":
    """Outlines of labelled pixels, one row a label: `label`, `geometry` (the grid's CRS), `area`.

    Areas are m² on the ellipsoid; pixels where the grid has no CRS.

    Args:
        labels: (height, width) int32; 0 is no region.
        grid: Where its pixels lie.
    """
    import geopandas
    from shapely.geometry import shape

    found = features.shapes(labels, mask=labels > 0, transform=grid.transform)
    parts = [(int(value), shape(outline)) for outline, value in found]
    frame = geopandas.GeoDataFrame(
        {"label": [label for label, _ in parts]},
        geometry=[outline for _, outline in parts],
        crs=_crs_of(grid),
    )
    if not frame.empty:
        frame = frame.dissolve("label", as_index=False)
    frame["area"] = areas_of(frame, grid)
    return frame


def areas_of(frame: "geopandas.GeoDataFrame", grid: Grid) -> list[float]:
    """Area of each row: m² on the WGS 84 ellipsoid, or pixels where the grid has no CRS."""
    if grid.crs is None:
        return [float(area) for area in frame.geometry.area]
    from pyproj import Geod

    ellipsoid = Geod(ellps="WGS84")
    return [abs(ellipsoid.geometry_area_perimeter(outline)[0]) for outline in frame.geometry.to_crs(_LONLAT)]


def mask_area(mask: np.ndarray, grid: Grid) -> float:
    """Area of the pixels of a (height, width) mask, in m², or in pixels where the grid has no CRS."""
    if grid.crs is None or not mask.any():
        return float(mask.sum())
    return float(polygons_of(mask.astype(np.int32), grid)["area"].sum())


def write_geoparquet(frame: "geopandas.GeoDataFrame", path: Path) -> None:
    """Write rows as GeoParquet, whole."""
    _whole(path, lambda partial: frame.to_parquet(partial, index=False))


def write_geojson(frame: "geopandas.GeoDataFrame", path: Path) -> None:
    """Write rows as GeoJSON: longitude and latitude, right-hand winding (RFC 7946); pixels without a CRS."""
    if frame.crs is None:
        told = json.loads(frame.to_json(drop_id=True)) | {"note": "coordinates are pixels: no CRS was given"}
        _whole(path, lambda partial: partial.write_text(json.dumps(told)))
        return
    from shapely import force_2d
    from shapely.geometry.polygon import orient

    lonlat = frame.to_crs(_LONLAT)
    lonlat["geometry"] = [_wound(outline, orient) for outline in force_2d(lonlat.geometry.values)]
    _whole(path, lambda partial: partial.write_text(lonlat.to_json(drop_id=True)))


def _wound(outline: Any, orient: Callable[..., Any]) -> Any:
    if outline.geom_type == "Polygon":
        return orient(outline)
    return type(outline)([orient(part) for part in outline.geoms])


def _crs_of(grid: Grid) -> str | None:
    return grid.crs.to_wkt() if grid.crs else None


def _whole(path: Path, write: Callable[[Path], Any]) -> None:
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
