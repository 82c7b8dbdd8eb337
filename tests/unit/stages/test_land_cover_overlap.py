"""Ground that two tiles show has one area, whatever their CRS."""

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS

from lib.media.class_maps import class_areas_ha
from lib.media.raster import Grid
from lib.stages.land_cover_overlap import counted_once

NAMES = ("field", "water")


def grid(left: float, *, epsg: int = 32633, top: float = 5_400_000.0, cells: int = 20) -> Grid:
    """Cells of 160 m."""
    return Grid(CRS.from_epsg(epsg), rasterio.Affine(160, 0, left, 0, -160, top), cells, cells)


def test_cells_that_a_map_before_it_told_are_zero_and_only_those():
    first, second = np.full((20, 20), 1, np.uint8), np.full((20, 20), 2, np.uint8)
    first[:4] = 0  # no data: told by nobody
    second[19, 19] = 0
    # 15 columns further on, the first five lie on the first map's last five.
    made = list(counted_once([(grid(500_000), first), (grid(500_000 + 15 * 160), second)]))
    wanted = second.copy()
    wanted[4:, :5] = 0
    assert (made[0] == first).all() and (made[1] == wanted).all()
    assert (second[:, :5] == 2).all()  # the map itself is left as it is


def test_a_cell_counts_for_the_map_that_shows_its_middle():
    one = np.ones((20, 20), np.uint8)
    # Moved by .4 of a cell, the middles of the last columns are still told; by .6, one column less.
    for part, told in ((0.4, 5), (0.6, 4)):
        _, second = counted_once([(grid(500_000), one), (grid(500_000 + (15 + part) * 160), one)])
        assert (second == 0).all(axis=0).sum() == told


def test_overlapping_tiles_of_two_zones_have_the_area_of_their_union():
    west = grid(936_000, top=5_500_000, cells=40)
    # The same ground from the next zone: its corner is that of the western one, and its axes are turned.
    left, top = (
        v[0] for v in rasterio.warp.transform(west.crs, CRS.from_epsg(32634), [936_000], [5_500_000])
    )
    east = grid(left, epsg=32634, top=top, cells=40)
    one = np.ones((40, 40), np.uint8)
    counted = list(counted_once([(west, one), (east, one)]))
    total = sum(class_areas_ha(c, g, NAMES)["field"] for c, g in zip(counted, (west, east), strict=True))
    shapes = [g.lonlat_bounds for g in (west, east)]
    assert shapes[0] != shapes[1]
    union = _union_ha(west, east)
    assert total == pytest.approx(union, rel=0.02)
    assert total < 0.7 * sum(class_areas_ha(one, g, NAMES)["field"] for g in (west, east))


def _union_ha(*grids: Grid) -> float:
    import geopandas
    import shapely

    outlines = [
        geopandas.GeoSeries([shapely.box(left, top - side, left + side, top)], crs=g.crs).to_crs(32633)[0]
        for g in grids
        for left, top, side in [(g.transform.c, g.transform.f, 160 * g.width)]
    ]
    from pyproj import Geod

    lonlat = geopandas.GeoSeries([shapely.union_all(outlines)], crs=32633).segmentize(500).to_crs(4326)[0]
    return abs(Geod(ellps="WGS84").geometry_area_perimeter(lonlat)[0]) / 1e4


def test_tiles_apart_are_left_as_they_are():
    one = np.ones((20, 20), np.uint8)
    made = list(counted_once([(grid(500_000), one), (grid(510_000), one)]))
    assert all((classes == one).all() for classes in made)
