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


def test_sixteen_bits_become_eight_by_the_scenes_own_percentiles_with_room_for_haze(tmp_path):
    pixels = np.repeat(np.arange(10_000, dtype=np.uint16).reshape(100, 100, 1), 3, 2)
    with open_scene(write_geotiff(tmp_path / "deep.tif", pixels)) as scene:
        scaling = scene.scaling()
        values, _ = scene.read(0, 0, 100, 100)
    shown = scaling.apply(values)[..., 0].ravel()
    # The 2nd and the 98th percentile lie a sixth of the range from its ends.
    assert shown[[200, 9_799]] == pytest.approx([255 / 6, 255 * 5 / 6], abs=1)
    assert abs(int(shown[5_000]) - 128) <= 1


def test_eight_bits_stay_as_they_are_unless_the_scene_is_dark(tmp_path):
    bright = np.repeat(np.tile(np.arange(256, dtype=np.uint8), 4).reshape(32, 32, 1), 3, 2)
    with open_scene(write_geotiff(tmp_path / "bright.tif", bright)) as scene:
        assert (scene.scaling().low[0], scene.scaling().high[0]) == (0, 255)
    with open_scene(write_geotiff(tmp_path / "dark.tif", bright // 4)) as scene:
        assert scene.scaling().high[0] < 100


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


def test_scenes_of_another_offset_come_out_alike(tmp_path):
    # Sentinel-2 from baseline 04.00 on: 1,000 is added to what is stored, and taken off by the offset.
    stored = np.repeat(np.array([[0, 1500], [4000, 9000]], np.uint16)[..., None], 3, 2)
    read = {}
    for name, added in (("old", 0), ("new", 1000)):
        path = write_geotiff(tmp_path / f"{name}.tif", stored + np.uint16(added))
        with rasterio.open(path, "r+") as file:
            file.scales, file.offsets = (1e-4,) * 3, (-1e-4 * added,) * 3
        with open_scene(path) as scene:
            read[name], _ = scene.read(0, 0, 2, 2)
    assert read["old"].dtype == np.float32
    np.testing.assert_allclose(read["old"][0], [[0, 0.15], [0.4, 0.9]], atol=1e-7)
    np.testing.assert_allclose(read["new"], read["old"], atol=1e-6)


# Values with what USGS's guide to Collection 2 calls them, and ESA's classes 0 to 11.
CLEAR = {"SCL": (2, 4, 5, 6, 7, 11), "QA_PIXEL": (21824, 21952, 22080, 30048), "cloud_mask": (0,), None: (0,)}
UNSEEN = {
    "SCL": (0, 1, 3, 8, 9, 10),
    "QA_PIXEL": (1, 21826, 22280, 23888, 54596),
    "cloud_mask": (1, 7),
    None: (1,),
}


@pytest.mark.parametrize("name", CLEAR, ids=str)
@pytest.mark.parametrize("shift", [None, 0.0, 3.0], ids=["as it is", "whole pixels", "warped"])
def test_pixels_under_cloud_are_not_valid(tmp_path, name, shift):
    codes = np.array([*CLEAR[name], *UNSEEN[name]], np.uint16).repeat(8)
    pixels = np.full((8, len(codes), 4), 500, np.uint16)
    pixels[..., 3] = codes
    path = write_geotiff(tmp_path / "scene.tif", pixels, photometric="MINISBLACK", alpha="NO")
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("red", "green", "blue", name)
    with open_scene(path, cloud_band=None if name else 4) as whole:
        scene = whole if shift is None else whole.on(moved(whole.grid, x=shift))
        assert whole.choice.bands == (1, 2, 3)
        _, valid = scene.read(1, 1, 5, len(codes) - 2)
    np.testing.assert_array_equal(valid, np.broadcast_to(np.isin(codes, CLEAR[name])[1:-1], valid.shape))


def moved(grid: Grid, *, x: float = 0, y: float = 0) -> Grid:
    """A grid that begins so many metres to the east and to the north."""
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    return Grid(grid.crs, rasterio.Affine(a, b, c + x, d, e, f + y), grid.height, grid.width)


def test_a_warped_scene_keeps_scale_offset_and_the_bands_asked_for(tmp_path):
    ramp = np.arange(40, dtype=np.int16)[None, :, None] * np.array([10, 0, 0, 100], np.int16) + np.zeros(
        (40, 1, 1)
    )
    path = write_geotiff(tmp_path / "ramp.tif", ramp.astype(np.int16), photometric="MINISBLACK", alpha="NO")
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (1, 1, 1, 0.5), (0, 0, 0, 7)
    with open_scene(path, bands=[4]) as scene:
        values, valid = scene.on(moved(scene.grid, x=5)).read(10, 10, 4, 4)
    assert valid.all()
    np.testing.assert_allclose(values[:, 0], [[7 + 50 * (column + 0.5) for column in range(10, 14)]] * 3)


def test_bands_that_a_file_lacks_are_refused_with_what_it_has(tmp_path):
    path = write_geotiff(tmp_path / "scene.tif", ground((8, 8)))
    for asked in ({"bands": (1, 2, 4)}, {"cloud_band": 9}):
        with pytest.raises(UnreadableMediaError, match=r"no band [49], but 3"), open_scene(path, **asked):
            pass


def test_a_grid_that_lies_whole_pixels_apart_gets_the_files_own_pixels_and_none_beyond(tmp_path):
    pixels = np.random.default_rng(0).normal(size=(40, 50, 3))
    with open_scene(write_geotiff(tmp_path / "scene.tif", pixels)) as scene:
        # A two-hundredth of a pixel beside them is rounding.
        values, valid = scene.on(moved(scene.grid, x=-30.05, y=20)).read(0, 0, 40, 50)
    np.testing.assert_array_equal(values[:, 2:, 3:], pixels[:38, :47].transpose(2, 0, 1))
    assert valid[2:, 3:].all() and not valid[:2].any() and not valid[:, :3].any()


@pytest.mark.parametrize("kept", ["nodata", "mask", "alpha"])
def test_what_has_no_data_has_none_when_it_is_warped(tmp_path, kept):
    pixels = np.full((30, 30, 4 if kept == "alpha" else 3), 200, np.uint8)
    gap = np.zeros((30, 30), bool)
    gap[:, 10:20] = True
    pixels[gap] = 0
    told = {"nodata": {"nodata": 0}, "mask": {}, "alpha": {"photometric": "RGB", "alpha": "YES"}}[kept]
    path = write_geotiff(tmp_path / "gap.tif", pixels, **told)
    if kept == "mask":
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
            file.write_mask(~gap)
    with open_scene(path) as scene:
        values, valid = scene.on(moved(scene.grid, x=4, y=4)).read(5, 5, 20, 20)
    assert not valid[:, 6:13].any() and valid[:, :3].all() and valid[:, 17:].all()
    assert (values[:, valid] == 200).all()


def test_a_turned_scenes_bounds_are_its_four_corners():
    # By 30 degrees, 10 m pixels, 40 columns and 20 rows: corners worked out by hand.
    turned = (
        rasterio.Affine.translation(1000, 2000)
        @ rasterio.Affine.rotation(30)
        @ rasterio.Affine.scale(10, -10)
    )
    left, bottom, right, top = Grid(rasterio.CRS.from_epsg(32633), turned, 20, 40).bounds
    root = 3**0.5
    assert (left, right) == pytest.approx((1000, 1000 + 200 * root + 100))
    assert (bottom, top) == pytest.approx((2000 - 100 * root, 2200))


@pytest.mark.parametrize("kind", ["turned", "south up"])
def test_a_scene_that_is_not_north_up_lies_where_its_transform_says(tmp_path, kind):
    matrix = rasterio.Affine.rotation(30) @ rasterio.Affine.scale(10, -10)
    matrix = matrix if kind == "turned" else rasterio.Affine.scale(10, 10)
    transform = rasterio.Affine.translation(500_000, 5_400_000) @ matrix
    pixels = np.full((60, 60, 1), 10, np.uint8)
    pixels[20:24, 40:44] = 250
    path = write_geotiff(tmp_path / "scene.tif", pixels, transform=transform)
    x, y = transform @ (42, 22)
    upright = Grid(
        rasterio.CRS.from_epsg(32633), rasterio.transform.from_origin(x - 200, y + 200, 10, 10), 40, 40
    )
    with open_scene(path) as scene:
        values, valid = scene.on(upright).read(0, 0, 40, 40)
    rows, columns = np.nonzero((values[0] > 130) & valid)
    assert (rows.mean() + 0.5, columns.mean() + 0.5) == pytest.approx((20, 20), abs=0.3)
    assert 12 <= len(rows) <= 20


def test_a_windows_read_touches_no_other_tile(tmp_path):
    path = write_geotiff(
        tmp_path / "scene.tif", ground((1024, 1024)), compress="deflate", blockxsize=256, blockysize=256
    )
    with rasterio.open(path) as file:
        at = [int(file.get_tag_item(f"BLOCK_{what}_1_2", dm="TIFF", bidx=1)) for what in ("OFFSET", "SIZE")]
        first = int(file.get_tag_item("BLOCK_OFFSET_0_0", dm="TIFF", bidx=1))
    data = path.read_bytes()
    # All other tiles' bytes are gone; what reads one of them fails.
    path.write_bytes(
        data[:first] + b"\xff" * (at[0] - first) + data[at[0] : sum(at)] + b"\xff" * (len(data) - sum(at))
    )
    with open_scene(path) as scene:
        values, valid = scene.read(512, 256, 256, 256)
        with pytest.raises(UnreadableMediaError, match="can't be read"):
            scene.read(511, 256, 256, 256)
    np.testing.assert_array_equal(values.transpose(1, 2, 0), ground((1024, 1024))[512:768, 256:512])
    assert valid.all()


@pytest.mark.parametrize("shift", [None, 50.0, 3.0], ids=["as it is", "whole pixels", "warped"])
def test_a_thinned_out_scene_shows_each_place_where_it_lies(tmp_path, shift):
    rows, columns = np.mgrid[:2100, :1300].astype(np.uint16)
    path = write_geotiff(tmp_path / "ramps.tif", np.stack([rows, columns, rows], -1), compress="deflate")
    with open_scene(path) as scene:
        scene = scene if shift is None else scene.on(moved(scene.grid, x=shift))
        values, valid = scene.sample()
    assert values.shape == (3, 1024, 634)
    down, along = (np.arange(n) * 2100 / 1024 for n in (1024, 634))
    wanted = np.stack(np.broadcast_arrays(down[:, None], along[None] + (shift or 0) / 10))
    assert valid[:, :630].all()
    assert np.abs(values[:2] - wanted)[:, valid].max() < 3


def test_a_file_packed_in_one_huge_piece_is_refused_before_it_fills_the_memory(tmp_path):
    path = tmp_path / "huge.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=30_000, height=30_000, count=1, dtype="uint8", tiled=True,
        blockxsize=30_016, blockysize=30_016, compress="deflate", sparse_ok=True, crs="EPSG:32633",
        transform=rasterio.Affine(10, 0, 0, 0, -10, 0),
    ):  # fmt: skip
        pass
    with pytest.raises(UnreadableMediaError, match="pieces of 859 MiB"), open_scene(path):
        pass


def test_grids_on_both_sides_of_the_180th_meridian_overlap_only_where_they_do():
    def degrees(west: float, width: int) -> Grid:
        return Grid(rasterio.CRS.from_epsg(4326), rasterio.transform.from_origin(west, 1, 1, 1), 2, width)

    # From 116 to 216 km east in zone 1: 179.55° E to 179.55° W.
    zone = Grid(rasterio.CRS.from_epsg(32601), rasterio.Affine(100, 0, 116_000, 0, -100, 50_000), 500, 1000)
    for across in (zone, degrees(178, 4)):
        for near, far in ((degrees(-180, 1), degrees(-177, 2)), (degrees(179, 1), degrees(10, 5))):
            assert across.overlaps(near) and near.overlaps(across)
            assert not across.overlaps(far) and not far.overlaps(across)


def test_a_cloud_band_is_never_taken_for_what_is_seen(tmp_path):
    path = write_geotiff(tmp_path / "scene.tif", ground((8, 8))[..., :2], alpha="NO")
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("clouds", None)
    with open_scene(path) as scene:
        assert scene.choice.bands == (2, 2, 2)
