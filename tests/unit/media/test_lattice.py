"""Lattices and outlines where longitudes jump: across the 180th meridian, and on grids of other turns."""

import json

import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Geod

from lib.hits_map import places_geojson
from lib.media.geofiles import outlines_in_degrees, regions_of, write_geojson
from lib.media.lattice import Lattice
from lib.media.lonlat import on_earth
from lib.media.raster import Grid, Scaling

# Zone 60 south, 17° S: the 180th meridian lies some 819 km east. 10 m pixels, north up and south up.
FIJI = Lattice("EPSG:32760", (10, 0, 818_000, 0, -10, 8_120_000))
FIJI_SOUTH_UP = Lattice("EPSG:32760", (10, 0, 818_000, 0, 10, 8_116_160))


def area_m2(outline) -> float:
    return Geod(ellps="WGS84").geometry_area_perimeter(outline)[0]


@pytest.mark.parametrize("lattice", [FIJI, FIJI_SOUTH_UP], ids=["north up", "south up"])
def test_squares_across_the_180th_meridian_have_two_parts_of_their_area_counter_clockwise(lattice):
    lefts = np.arange(0, 384, 64)
    outlines = lattice.squares(np.zeros(6, int), lefts, 64)
    assert [outline.geom_type for outline in outlines].count("MultiPolygon") == 1
    assert shapely.is_valid(outlines).all()
    for outline in outlines:
        # .9996 and, 319 km off the middle, 1 + 319² / (2 · 6,378²): the map's squares are .17 % too wide.
        assert area_m2(outline) == pytest.approx(640**2 / 1.00085**2, rel=1e-3)
        for part in shapely.get_parts(outline):
            west, _, east, _ = part.bounds
            assert -180 <= west < east <= 180 and east - west < 0.01
            assert part.exterior.is_ccw


def test_a_change_with_a_hole_across_the_180th_meridian_is_its_two_halves():
    mask = np.zeros((384, 384), bool)
    mask[100:300, 20:364] = True
    mask[150:250, 100:300] = False
    grid = FIJI.grid(0, 0, 384, 384)
    frame = regions_of(mask, grid)
    (outline,) = outlines_in_degrees(frame)
    assert outline.is_valid and outline.geom_type == "MultiPolygon"
    assert area_m2(outline) == pytest.approx(frame["area"][0], rel=1e-6)
    middle = shapely.normalize(outline).representative_point()
    (row,), (column,) = FIJI.pixels(np.array([middle.x]), np.array([middle.y]))
    assert mask[int(row), int(column)]


def test_geojson_of_a_change_across_the_180th_meridian_stays_within_it(tmp_path):
    frame = regions_of(np.ones((384, 384), bool), FIJI.grid(0, 0, 384, 384))
    write_geojson(frame, tmp_path / "change.geojson")
    (told,) = json.loads((tmp_path / "change.geojson").read_text())["features"]
    parts = shapely.get_parts(shapely.from_geojson(json.dumps(told["geometry"])))
    assert [part.bounds[2] - part.bounds[0] < 0.1 for part in parts] == [True, True]


def test_every_part_of_a_place_is_counter_clockwise_in_geojson():
    parts = shapely.MultiPolygon(
        [shapely.box(179, 0, 180, 1, ccw=False), shapely.box(-180, 0, -179, 1, ccw=False)]
    )
    (feature,) = json.loads(places_geojson([shapely.to_wkb(parts)], [{"rank": 1}]))["features"]
    drawn = shapely.from_geojson(json.dumps(feature["geometry"]))
    assert [part.exterior.is_ccw for part in shapely.get_parts(drawn)] == [True, True]


def test_an_outline_around_the_pole_holds_the_pole():
    turns = np.radians(np.arange(0, 360, 30))
    lons = np.degrees(np.arctan2(np.sin(turns), np.cos(turns)))
    ring = shapely.Polygon(np.stack([lons, np.full(12, 80.0)], axis=-1))
    (outline,) = on_earth(np.array([ring], object))
    assert outline.is_valid and outline.bounds == (-180, 80, 180, 90)


@pytest.mark.parametrize(
    "origin", [175.0, -180.0, 0.0, -185.0], ids=["across", "-180..180", "0..360", "beyond"]
)
@pytest.mark.parametrize("turn", [-360, 0, 360])
def test_a_place_on_a_grid_of_degrees_is_found_whatever_turn_it_is_told_in(origin, turn):
    lattice = Lattice("EPSG:4326", (0.125, 0, origin, 0, -0.125, 10))
    rows, columns = np.array([8.0, 16.0]), np.array([60.0, 120.0])
    lons, lats = lattice.lonlat(rows, columns)
    assert ((lons >= -180) & (lons < 180)).all()
    found = lattice.pixels(lons + turn, lats)
    np.testing.assert_allclose(found, (rows, columns), atol=1e-9)


def test_the_last_columns_of_the_whole_earth_are_found():
    lattice = Lattice("EPSG:4326", (1, 0, -180, 0, -1, 90))
    _, columns = lattice.pixels(np.array([-179.5, 179.5, 180]), np.zeros(3))
    assert columns.tolist() == [0.5, 359.5, 360]
    lattice = Lattice("EPSG:4326", (1, 0, 0, 0, -1, 90))
    _, columns = lattice.pixels(np.array([0.5, -179.5, -0.5]), np.zeros(3), near=(90, 180))
    assert columns.tolist() == [0.5, 180.5, 359.5]


def test_a_window_more_than_half_way_around_the_earth_is_as_wide_as_it_is():
    lattice = Lattice("EPSG:4326", (1, 0, 0, 0, -1, 90))
    (outline,) = lattice.squares(np.array([0]), np.array([96]), 192)
    # From 96° to 288° east, and no further than the pole.
    assert outline.is_valid and outline.area == pytest.approx(192 * 180)


def test_a_utm_scene_across_the_180th_meridian_takes_its_own_columns_of_a_grid_of_degrees():
    lattice = Lattice("EPSG:4326", (0.001, 0, 179.9, 0, -0.001, -17))
    grid = Grid(rasterio.CRS.from_epsg(32760), rasterio.Affine(10, 0, 818_000, 0, -10, 8_116_000), 300, 300)
    top, left, bottom, right = lattice.span(grid)
    # 3 km at 17° S are .0282° by .0271°.
    assert 0 < left < 200 and 27 <= right - left <= 31 and 27 <= bottom - top <= 31


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_of_any_size_become_black_or_white(dtype):
    ends = np.finfo(dtype)
    values = np.array([ends.min, -np.inf, np.nan, 5000, 5001, ends.max, np.inf], dtype)
    constant = Scaling(np.full(3, 5000, np.float32), np.full(3, 5000, np.float32))
    usual = Scaling(np.zeros(3, np.float32), np.full(3, 10_000, np.float32))
    seen = [scaling.apply(np.tile(values, (3, 1, 1)))[0, :, 0].tolist() for scaling in (constant, usual)]
    assert seen == [[0, 0, 0, 0, 255, 255, 255], [0, 0, 0, 128, 128, 255, 255]]
