"""Reading rasters by windows, and what is written for others to open."""

import numpy as np
import pytest
import rasterio
from factories import ground, write_geotiff

from lib.errors import UnreadableMediaError
from lib.media.geofiles import mask_area, polygons_of
from lib.media.raster import Grid, open_scene


def test_a_file_that_points_to_others_is_refused_whatever_its_name(tmp_path):
    write_geotiff(tmp_path / "secret.tif", ground((16, 16)))
    pointing = tmp_path / "scene.tif"
    pointing.write_text(
        '<VRTDataset rasterXSize="16" rasterYSize="16"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        '<SourceFilename relativeToVRT="1">secret.tif</SourceFilename>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(UnreadableMediaError, match="VRT"), open_scene(pointing):
        pass


def test_pixels_without_data_are_not_valid_be_they_nodata_nan_or_transparent(tmp_path):
    pixels = np.full((8, 8, 3), 7, np.float32)
    pixels[0, 0], pixels[1, 1, 2] = -9, np.nan
    clear = np.full((8, 8, 4), 7, np.uint8)
    clear[2, 2, 3] = 0
    gap = write_geotiff(tmp_path / "gap.tif", pixels, nodata=-9)
    alpha = write_geotiff(tmp_path / "alpha.tif", clear, photometric="RGB", alpha="YES")
    for path, lacking in ((gap, [(0, 0), (1, 1)]), (alpha, [(2, 2)])):
        with open_scene(path) as scene:
            _, valid = scene.read(0, 0, 8, 8)
        assert list(zip(*np.nonzero(~valid), strict=True)) == lacking


def test_a_palette_is_read_as_its_colours(tmp_path):
    path = tmp_path / "palette.tif"
    write_geotiff(path, np.full((4, 4, 1), 9, np.uint8))
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {9: (10, 200, 30)})
    with open_scene(path) as scene:
        values, _ = scene.read(0, 0, 4, 4)
    assert values[:, 0, 0].tolist() == [10, 200, 30]


def test_sixteen_bits_become_eight_by_the_scenes_own_percentiles(tmp_path):
    pixels = np.repeat(np.arange(10_000, dtype=np.uint16).reshape(100, 100, 1), 3, 2)
    with open_scene(write_geotiff(tmp_path / "deep.tif", pixels)) as scene:
        scaling = scene.scaling()
        values, _ = scene.read(0, 0, 100, 100)
    shown = scaling.apply(values)[..., 0].ravel()
    assert (shown[100], shown[9_900]) == (0, 255)
    assert abs(int(shown[5_000]) - 128) <= 1


def test_a_degree_cells_area_is_the_ellipsoids_and_no_square_of_degrees():
    grid = Grid(rasterio.CRS.from_epsg(4326), rasterio.transform.from_origin(10, 60.01, 0.01, 0.01), 1, 1)
    # Between two parallels, from the closed form of the ellipsoid's zone (Snyder 1987, 3-12).
    major, e = 6378137.0, 0.0818191908426

    def q(latitude):
        sine = np.sin(np.radians(latitude))
        return (1 - e**2) * (sine / (1 - (e * sine) ** 2) - np.log((1 - e * sine) / (1 + e * sine)) / (2 * e))

    wanted = major**2 * np.radians(0.01) / 2 * (q(60.01) - q(60.0))
    assert mask_area(np.ones((1, 1), bool), grid) == pytest.approx(wanted, rel=1e-4)


def test_a_ring_keeps_its_hole_and_regions_of_one_label_are_one_row():
    labels = np.zeros((10, 10), np.int32)
    labels[1:6, 1:6], labels[3, 3], labels[8, 8] = 1, 0, 1
    frame = polygons_of(labels, Grid.plain(10, 10))
    assert frame[["label", "area"]].to_numpy().tolist() == [[1, 25.0]]
