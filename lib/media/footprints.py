"""Footprints of buildings on a grid's pixels. Imports rasterio and geopandas, as `geofiles` does."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from rasterio import features

from lib.errors import QueryError
from lib.media.raster import Grid

if TYPE_CHECKING:
    import geopandas


def footprints_on(geometries: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Which footprint each pixel belongs to, and how large the footprints are.

    Every pixel that a footprint touches is its own, so that one smaller than a pixel has one; where two touch
    the same pixel, the smaller has it.

    Args:
        geometries: (n,) shapely polygons in EPSG:4326.
        grid: Where the pixels lie.

    Returns:
        (height, width) int32, 0 where there is none, else 1 + the footprint's number; and (n,) m² on the
        WGS 84 ellipsoid.

    Raises:
        QueryError: The grid has no CRS.
    """
    import geopandas
    from pyproj import Geod

    if grid.crs is None:
        raise QueryError("the change map has no CRS: where buildings stand on it can't be known.")
    lonlat = geopandas.GeoSeries(geometries, crs="EPSG:4326")
    ellipsoid = Geod(ellps="WGS84")
    areas_m2 = np.array([abs(ellipsoid.geometry_area_perimeter(outline)[0]) for outline in lonlat])
    placed = lonlat.to_crs(grid.crs.to_wkt())
    # Later ones are drawn over earlier ones.
    order = np.argsort(-areas_m2, kind="stable")
    drawn = [(placed.iloc[at], int(at) + 1) for at in order if not placed.iloc[at].is_empty]
    size = grid.height, grid.width
    if not drawn:
        return np.zeros(size, np.int32), areas_m2
    labels = features.rasterize(drawn, size, transform=grid.transform, all_touched=True, dtype="int32")
    return np.asarray(labels), areas_m2


def framed(geometries: np.ndarray, columns: Mapping[str, np.ndarray]) -> "geopandas.GeoDataFrame":
    """(n,) shapely geometries in EPSG:4326 with (n,) values each, as a table that `geofiles` writes."""
    import geopandas

    return geopandas.GeoDataFrame(dict(columns), geometry=list(geometries), crs="EPSG:4326")
