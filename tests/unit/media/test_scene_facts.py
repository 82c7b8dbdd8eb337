"""What a scene's file tells of itself: its tile, its footprint, its numbers."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from factories import ground, write_geotiff
from pyproj import Geod, Transformer

from lib.errors import CatalogError, UnreadableMediaError
from lib.media.raster import Grid
from lib.media.scene_facts import check_tile_grid, footprint_of, probe_scene

PIXELS = ground((24, 32))


def scene(folder: Path, name: str, *, pixels=PIXELS, **told) -> Path:
    return write_geotiff(folder / f"{name}.tif", pixels, **told)


def test_gdals_own_place_for_the_acquisition_is_read(tmp_path):
    path = scene(tmp_path, "scene")
    with rasterio.open(path, "r+") as file:
        file.update_tags(
            ns="IMAGERY", ACQUISITIONDATETIME="2022-01-17 10:43:43", SATELLITEID="WV02", CLOUDCOVER="12"
        )
    facts = probe_scene(path)
    assert (facts.acquired.day, facts.platform, facts.cloud_cover) == (17, "WV02", 12.0)


@pytest.mark.parametrize(
    ("lon", "lat", "tile"),
    [
        # The Eiffel tower, Washington's monument, Honolulu; Bergen in Norway's wider zone 32; Svalbard, where
        # there is no zone 34; both sides of the 180th meridian. Beyond UTM the polar grids (UPS): 86° N 10° E
        # lies 77 km east and 437 km south of the pole, 85° S 0.5° E 5 km east and 555 km north of it.
        (2.2945, 48.8582, "T31UDQ"), (-77.0353, 38.8895, "T18SUJ"), (-157.86, 21.3, "T04QFJ"),
        (5.3, 60.4, "T32VKN"), (20.9, 78.0, "T33XXG"), (179.99, 0.5, "T60NZF"), (-179.99, 0.5, "T01NAA"),
        (10.0, 86.0, "TZAC"), (0.5, -85.0, "TBAT"),
    ],
)  # fmt: skip
def test_a_tile_that_nobody_names_is_the_square_of_100_km_of_its_centre(tmp_path, lon, lat, tile):
    path = scene(
        tmp_path, "20240105", crs="EPSG:4326",
        transform=rasterio.transform.from_origin(lon - 16e-5, lat + 12e-5, 1e-5, 1e-5),
    )  # fmt: skip
    assert probe_scene(path).tile == tile


def test_a_fixed_grid_counts_squares_in_the_crs_and_keeps_zones_apart(tmp_path):
    # The centre: 500,160 m east, -120 m north.
    names = [
        probe_scene(scene(tmp_path, "20240105", crs=crs, top=0.0), tile_grid="fixed:100000").tile
        for crs in ("EPSG:32633", "EPSG:32634")
    ]
    assert names == ["x5_y-1_epsg32633", "x5_y-1_epsg32634"]


@pytest.mark.parametrize("tile_grid", ["", "utm", "fixed:", "fixed:0", "fixed:-5", "fixed:1.2.3"])
def test_a_grid_of_tiles_that_is_none_is_refused(tile_grid):
    with pytest.raises(CatalogError, match="mgrs, or fixed:SIZE"):
        check_tile_grid(tile_grid)


def outline(crs: str, transform, *, height: int, width: int):
    return shapely.from_wkb(footprint_of(Grid(rasterio.CRS.from_user_input(crs), transform, height, width)))


def test_a_utm_tiles_footprint_is_its_corners_and_area_on_the_ellipsoid():
    shape = outline(
        "EPSG:32631", rasterio.Affine(10, 0, 600_000, 0, -10, 5_700_000), height=10_980, width=10_980
    )
    to_degrees = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)
    edge = np.linspace(0, 109_800, 1001)
    for x, y in ((600_000 + edge, 5_700_000 + 0 * edge), (709_800 + 0 * edge, 5_590_200 + edge)):
        points = shapely.points(*to_degrees.transform(x, y))
        assert shapely.distance(shape.exterior, points).max() < 4e-5  # degrees: 4 m, of 110 km
    # A transverse Mercator's areas are true but for the square of its scale: .9996, and 1.0002 at 150 km.
    area_m2 = Geod(ellps="WGS84").geometry_area_perimeter(shape)[0]
    assert area_m2 == pytest.approx(109_800**2, rel=1e-3) and area_m2 > 0


@pytest.mark.parametrize("crs", ["EPSG:32601", "EPSG:32660"])
def test_a_scene_across_the_180th_meridian_has_two_parts_that_are_its_area(crs):
    # At the equator 3 degrees are 333.96 km, .9996 of it and a little more on the map: the meridian lies at
    # 166 km (500 - 333.9) east in zone 1, at 834 km in zone 60.
    middle = 166_000 if crs == "EPSG:32601" else 834_000
    shape = outline(crs, rasterio.Affine(100, 0, middle - 50_000, 0, -100, 100_000), height=1000, width=1000)
    west, east = sorted(shape.geoms, key=lambda part: part.centroid.x)
    assert west.bounds[0] == -180 and west.bounds[2] == pytest.approx(-179.55, abs=0.01)
    assert east.bounds[2] == 180 and east.bounds[0] == pytest.approx(179.55, abs=0.01)
    area_m2 = Geod(ellps="WGS84").geometry_area_perimeter(shape)[0]
    assert area_m2 == pytest.approx(100_000**2, rel=2e-3)


def test_degrees_beyond_180_are_those_from_minus_180_on(tmp_path):
    transform = rasterio.transform.from_origin(179, 10, 0.125, 0.125)
    facts = probe_scene(scene(tmp_path, "20240105", crs="EPSG:4326", transform=transform))
    parts = sorted(part.bounds for part in shapely.from_wkb(facts.footprint).geoms)
    assert parts == [(-180, 7, -177, 10), (179, 7, 180, 10)]
    assert (facts.lon, facts.lat) == (-179, 8.5)


def test_a_scene_of_the_pole_holds_the_pole():
    shape = outline("EPSG:3031", rasterio.Affine(1000, 0, -100_000, 0, -1000, 100_000), height=200, width=200)
    assert shape.bounds[:3:2] == (-180, 180) and shape.bounds[1] == -90
    area_m2 = Geod(ellps="WGS84").geometry_area_perimeter(shape)[0]
    # The projection is true at 71° south; at the pole, but for the ellipsoid, its scale is (1 + sin 71°) / 2.
    scale = (1 + np.sin(np.radians(71))) / 2
    assert area_m2 == pytest.approx((200_000 / scale) ** 2, rel=0.01)


def test_the_whole_earth_is_one_part():
    shape = outline("EPSG:4326", rasterio.Affine(1, 0, -180, 0, -1, 90), height=180, width=360)
    assert shape.geom_type == "Polygon" and shape.bounds == (-180, -90, 180, 90)


@pytest.mark.parametrize(
    ("transform", "corners"),
    [
        (rasterio.Affine(0.125, 0, 10, 0, 0.125, 50), [(10, 50), (14, 50), (14, 53), (10, 53)]),
        # Turned by atan(3/4): a column goes (.8, .6) / 8, a row (.6, -.8) / 8.
        (rasterio.Affine(0.1, 0.075, 10, 0.075, -0.1, 50), [(10, 50), (13.2, 52.4), (15, 50), (11.8, 47.6)]),
    ],
    ids=["south up", "turned"],
)
def test_a_footprint_follows_the_transform_however_it_is_turned(tmp_path, transform, corners):
    facts = probe_scene(scene(tmp_path, "20240105", crs="EPSG:4326", transform=transform))
    shape = shapely.from_wkb(facts.footprint)
    assert shape.symmetric_difference(shapely.Polygon(corners)).area < 1e-9
    assert shape.exterior.is_ccw
    assert (facts.lon, facts.lat) == pytest.approx(tuple(np.mean(corners, axis=0)))
    assert facts.transform == pytest.approx(tuple(transform)[:6])


def test_facts_are_the_files_own(tmp_path):
    pixels = np.full((24, 32, 4), 700, np.uint16)
    path = scene(tmp_path, "20240105", pixels=pixels, nodata=0, photometric="RGB", alpha="NO")
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("B04", "", "", "near infrared")
        file.scales, file.offsets = (1e-4,) * 4, (-0.1,) * 4
    facts = probe_scene(path)
    assert (facts.height, facts.width, facts.bands, facts.dtype, facts.nodata) == (24, 32, 4, "uint16", 0)
    assert (facts.scale, facts.offset, facts.crs) == (1e-4, -0.1, "EPSG:32633")
    assert facts.transform == (10, 0, 500_000, 0, -10, 5_400_000)
    assert facts.band_names == ("B04", "green", "blue", "near infrared")
    # On the zone's meridian the map's scale is .9996.
    assert facts.gsd_m == pytest.approx(10 / 0.9996, rel=1e-6) and facts.lat == pytest.approx(48.75, abs=0.01)


def test_a_scene_of_one_valid_pixel_in_the_last_corner_has_a_valid_pixel(tmp_path):
    pixels = np.zeros((700, 600, 1), np.uint8)
    for compress in ("none", "deflate"):
        path = scene(tmp_path, "20240105", pixels=pixels, nodata=0, compress=compress)
        with pytest.raises(UnreadableMediaError, match=r"^no valid pixel$"):
            probe_scene(path)
        pixels[-1, -1] = 1
        assert probe_scene(scene(tmp_path, "20240105", pixels=pixels, nodata=0, compress=compress)).bands == 1
        pixels[-1, -1] = 0


def test_a_large_scene_is_told_by_its_header_and_one_tile(tmp_path):
    path = scene(tmp_path, "20240105", pixels=ground((1024, 1024)), compress="deflate", nodata=0)
    data, header = path.read_bytes(), 0
    with rasterio.open(path) as file:
        blocks = [
            [
                int(file.get_tag_item(f"BLOCK_{what}_{x}_{y}", dm="TIFF", bidx=1))
                for what in ("OFFSET", "SIZE")
            ]
            for x in range(4)
            for y in range(4)
        ]
    header, (at, size) = min(offset for offset, _ in blocks), max(blocks, key=lambda block: block[1])
    # The tiles' bytes are gone, but for the fullest one's.
    path.write_bytes(
        data[:header] + b"\xff" * (at - header) + data[at : at + size] + b"\xff" * (len(data) - at - size)
    )
    assert probe_scene(path).width == 1024


def test_a_scene_wholly_under_cloud_is_a_scene(tmp_path):
    path = scene(tmp_path, "20240105")
    with rasterio.open(path, "r+") as file:
        file.descriptions = (None, None, "cloud")
    assert probe_scene(path).band_names[2] == "cloud"
