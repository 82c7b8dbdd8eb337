"""Maps of classes: read back as GIS programs read them; areas against pyproj's and a hand-worked globe."""

from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

from lib.errors import OutputError, QueryError
from lib.media.class_maps import class_areas_ha, colours_for, pixel_rows_m2, write_class_cog
from lib.media.raster import Grid

UTM33 = Grid(CRS.from_epsg(32633), from_origin(500_000, 5_400_000, 10, 10), 700, 900)
NAMES = ("forest", "water & ice", "Häuser <dicht>")


def blocks(grid: Grid, count: int) -> np.ndarray:
    rows, columns = np.indices((grid.height, grid.width)) // 50
    return ((rows + columns) % (count + 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path, classes = tmp_path_factory.mktemp("maps") / "map.tif", blocks(UTM33, 3)
    confidence = np.linspace(0, 1, classes.size, dtype=np.float32).reshape(classes.shape)
    write_class_cog(path, classes, confidence, grid=UTM33, names=NAMES, colours=colours_for(3))
    return path, classes, confidence


def test_a_map_is_a_cog_of_coloured_classes_beside_a_confidence_that_is_no_transparency(written):
    path, classes, confidence = written
    with rasterio.open(path) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and file.overviews(1) == [2]
        assert file.colorinterp == (ColorInterp.palette, ColorInterp.undefined)
        assert (file.crs, file.transform, file.nodata) == (UTM33.crs, UTM33.transform, 0)
        assert [file.colormap(1)[n][:3] for n in (1, 2, 3)] == colours_for(3)
        np.testing.assert_array_equal(file.read(1), classes)
        assert sorted(path.parent.iterdir()) == [
            path.with_suffix(".qml"),
            path,
            path.with_name("map.tif.aux.xml"),
        ]
        told = file.read(2) * file.scales[1]
        assert file.tags(1)["class_2"] == "water & ice"
    assert (told[classes == 0] == 0).all() and (told[classes > 0] > 0).all()
    np.testing.assert_allclose(told[classes > 0], np.maximum(confidence[classes > 0], 0.01), atol=0.0051)


def test_gdal_reads_the_names_of_the_classes(written, tmp_path):
    rasterio.shutil.copy(written[0], tmp_path / "seen.vrt", driver="VRT")
    seen = (tmp_path / "seen.vrt").read_text(encoding="utf-8")
    listed = "no data", "forest", "water &amp; ice", "Häuser &lt;dicht&gt;"
    at = [seen.index(f"<Category>{name}</Category>") for name in listed]
    assert at == sorted(at)


def test_the_style_that_qgis_looks_for_gives_each_class_its_name_and_colour(written):
    entries = ElementTree.parse(written[0].with_suffix(".qml")).iter("paletteEntry")
    told = [(int(entry.get("value")), entry.get("label"), entry.get("color")) for entry in entries]
    assert told == list(zip((1, 2, 3), NAMES, ("#e69f00", "#56b4e9", "#009e73"), strict=True))


def test_an_overview_holds_the_most_frequent_class_and_never_one_in_between(tmp_path):
    classes = np.full((1024, 1024), 3, np.uint8)
    classes[::2, ::2] = 1
    grid = Grid(UTM33.crs, UTM33.transform, *classes.shape)
    path = tmp_path / "map.tif"
    write_class_cog(path, classes, np.ones(classes.shape), grid=grid, names=NAMES, colours=colours_for(3))
    with rasterio.open(path, overview_level=0) as file:
        assert np.unique(file.read(1)).tolist() == [3]


def test_a_class_without_a_name_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match="2 names"):
        write_class_cog(
            tmp_path / "map.tif", blocks(UTM33, 3), np.ones((700, 900)), grid=UTM33, names=NAMES[:2],
            colours=colours_for(2),
        )  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_rows_of_a_globe_of_degrees_add_up_to_the_earths_surface():
    globe = Grid(CRS.from_epsg(4326), from_origin(-180, 90, 1, 1), 180, 360)
    # 510,065,621.72 km2: WGS 84's surface, as geodesy books have it.
    assert pixel_rows_m2(globe).sum() * 360 / 1e6 == pytest.approx(510_065_621.724, abs=0.01)


def test_a_pixel_of_degrees_has_the_area_that_geodesics_enclose_whichever_way_is_up():
    from pyproj import Geod

    pixel = 1e-4
    for step in (pixel, -pixel):
        transform = rasterio.Affine(pixel, 0, 10.0, 0, step, 60.0)
        areas = pixel_rows_m2(Grid(CRS.from_epsg(4326), transform, 200, 1))
        for row in (0, 199):
            south, north = 60 + row * step, 60 + (row + 1) * step
            ring = [10, 10 + pixel, 10 + pixel, 10], [south, south, north, north]
            wanted = abs(Geod(ellps="WGS84").polygon_area_perimeter(*ring)[0])
            assert areas[row] == pytest.approx(wanted, rel=1e-6)


def test_on_a_projected_grid_hectares_are_the_ellipsoids_not_the_maps():
    # On UTM's central meridian, a map's metre is 0.9996 of the ground's: 100 m2 are 100 / 0.9996 ** 2.
    grid = Grid(UTM33.crs, from_origin(500_000 - 500, 5_400_000, 10, 10), 130, 100)
    classes = np.ones((130, 100), np.uint8)
    classes[:65], classes[0, 0] = 2, 0
    areas = class_areas_ha(classes, grid, NAMES)
    pixel_ha = 100 / 0.9996**2 / 10_000
    assert areas["forest"] == pytest.approx(6500 * pixel_ha, rel=1e-6)
    assert areas["water & ice"] == pytest.approx(6499 * pixel_ha, rel=1e-6)
    assert areas["Häuser <dicht>"] == 0
    with pytest.raises(QueryError, match="no CRS"):
        class_areas_ha(classes, Grid.plain(130, 100), NAMES)


def test_colours_are_all_different_up_to_255_classes():
    assert len(set(colours_for(255))) == 255
