"""Rasters of every odd kind: a pair of each with itself holds no change, or ends in one clear sentence."""

import shutil

import numpy as np
import pytest
import rasterio
from factories import ground, write_geotiff

from lib.errors import QueryError, UnreadableMediaError
from lib.media.raster import open_scene
from lib.media.scene_facts import probe_scene
from orchestration.changing import change_files


def hold(path, tmp_path) -> dict:
    return change_files(path, path, tmp_path / "out", backbone="efficientnet_lite0", say=print).summary


def test_a_scene_cut_in_half_is_an_error_and_leaves_nothing(tmp_path):
    whole = write_geotiff(tmp_path / "whole.tif", ground((300, 300))).read_bytes()
    half = tmp_path / "half.tif"
    half.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(QueryError, match=r"half\.tif"):
        hold(half, tmp_path)
    assert not (tmp_path / "out").exists()


def test_one_band_and_a_scene_upside_down_hold_no_change(tmp_path):
    south_up = rasterio.Affine(10, 0, 500_000, 0, 10, 5_400_000)
    for number, told in enumerate(({"transform": south_up}, {})):
        pixels = ground((128, 128))[..., : 3 - 2 * number]
        summary = hold(write_geotiff(tmp_path / f"{number}.tif", pixels, **told), tmp_path)
        assert (summary["polygons"], summary["unjudged_m2"]) == (0, 0)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("RGB.byte.tif", None), ("RGBA.byte.tif", None), ("all-nodata.tif", None), ("cog_scale.tif", None),
        ("rgb.tif", None), ("rgb1.tif", None), ("utm.tif", None), ("float_nan.tif", None),
        ("rotated.tif", None), ("corrupt.tif", "can't be read"),
    ],
)  # fmt: skip
def test_strange_scenes_hold_no_change_or_say_why_not(real_data, tmp_path, name, told):
    scene = real_data / "geo" / "weird" / name
    if told is not None:
        with pytest.raises(QueryError, match=told):
            hold(scene, tmp_path)
        return
    summary = hold(scene, tmp_path)
    unit = "px" if "changed_px" in summary else "m2"
    assert (summary["polygons"], summary[f"changed_{unit}"]) == (0, 0)
    if name == "all-nodata.tif":
        assert summary["changed_pct"] == 0 and summary["unjudged_m2"] > 1e6


# What each tells under a name that has a date: tile (100 km square of its centre), bands, dtype, metres a
# pixel on the ellipsoid; or why it can't be used.
VERDICTS = {
    "RGB.byte.tif": ("T18RTN", 3, "uint8", 299.9),
    "RGBA.byte.tif": ("T18RTN", 4, "uint8", 299.9),
    "all-nodata.tif": "no valid pixel",
    "cog_scale.tif": ("T52SCG", 2, "int16", 429.0),
    "corrupt.tif": "cut short: by its header its pixels take 307086 bytes, and it has 298232",
    "float_nan.tif": "no CRS",
    "rgb.tif": ("T17SNS", 3, "uint16", 900.3),
    "rgb1.tif": ("T17RQH", 3, "uint8", 299.7),
    "rotated.tif": "no CRS",
    "utm.tif": ("T17TPF", 1, "uint8", 121.5),
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", VERDICTS)
def test_a_strange_file_tells_what_it_holds_or_what_it_lacks(real_data, tmp_path, name):
    path = tmp_path / "20240105.tif"
    shutil.copyfile(real_data / "geo" / "weird" / name, path)
    try:
        facts = probe_scene(path)
    except UnreadableMediaError as error:
        assert isinstance(VERDICTS[name], str), str(error)
        assert VERDICTS[name] in str(error)
        return
    assert (facts.tile, facts.bands, facts.dtype, round(facts.gsd_m, 1)) == VERDICTS[name]


def made(folder, **told):
    return write_geotiff(folder / "20240105.tif", told.pop("pixels", ground((300, 300))), **told)


def test_one_band_a_palette_sixteen_bits_and_overviews_are_told_as_they_are(tmp_path):
    grey = probe_scene(made(tmp_path, pixels=ground((32, 32))[..., :1]))
    assert (grey.bands, grey.band_names, grey.dtype) == (1, ("band 1",), "uint8")
    path = made(tmp_path, pixels=np.full((32, 32, 1), 3, np.uint8))
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {3: (1, 2, 3)})
    assert probe_scene(path).band_names == ("palette",)
    deep = made(tmp_path, pixels=ground((700, 700)).astype(np.uint16) * 257, compress="deflate")
    with rasterio.open(deep, "r+") as file:
        file.build_overviews([2, 4, 8])
    with open_scene(deep) as scene:
        assert scene.scaling().high.max() > 20_000
    facts = probe_scene(deep)
    assert (facts.dtype, facts.height, facts.transform[0]) == ("uint16", 700, 10)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.999])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_a_file_cut_short_is_told_before_its_pixels_are_asked_for(tmp_path, kept, interleave):
    path = made(tmp_path, compress="deflate", interleave=interleave)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(UnreadableMediaError, match=f"cut short: .* and it has {path.stat().st_size}"):
        probe_scene(path)


@pytest.mark.parametrize(
    "text",
    [
        "/vsicurl/http://127.0.0.1:9/scene.tif",
        '<VRTDataset rasterXSize="1" rasterYSize="1"><VRTRasterBand band="1" dataType="Byte"><SimpleSource>'
        "<SourceFilename>/vsicurl/http://127.0.0.1:9/scene.tif</SourceFilename></SimpleSource></VRTRasterBand>"
        "</VRTDataset>",
        '<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:9/</ServerUrl></Service></GDAL_WMS>',
    ],
    ids=["address", "vrt", "wms"],
)
def test_a_text_that_gdal_would_follow_is_no_scene(tmp_path, text):
    for name in ("20240105.tif", "20240105.vrt"):
        (tmp_path / name).write_text(text)
        with pytest.raises(UnreadableMediaError, match="files that point to others"):
            probe_scene(tmp_path / name)


def test_what_gdal_would_read_from_beside_a_file_is_left_alone(tmp_path):
    path = made(tmp_path)
    plain = probe_scene(path)
    path.with_suffix(".tif.aux.xml").write_text(
        "<PAMDataset><SRS>EPSG:32601</SRS><GeoTransform>9, 1, 0, 9, 0, -1</GeoTransform>"
        '<Metadata><MDI key="acquired">1999-01-01</MDI></Metadata>'
        '<PAMRasterBand band="1"><NoDataValue>7</NoDataValue><Scale>5</Scale></PAMRasterBand></PAMDataset>'
    )
    path.with_suffix(".tfw").write_text("1\n0\n0\n-1\n9\n9\n")
    write_geotiff(path.with_suffix(".tif.msk"), np.zeros((300, 300, 1), np.uint8))
    write_geotiff(path.with_suffix(".tif.ovr"), np.zeros((150, 150, 3), np.uint8))
    assert probe_scene(path) == plain
    with open_scene(path) as scene:
        values, valid = scene.sample()
    assert valid.all() and values.any()


MARS = "+proj=utm +zone=33 +a=3396190 +b=3376200 +units=m"
LOCAL = 'LOCAL_CS["yard",UNIT["metre",1]]'


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"crs": None}, "no CRS"),
        ({"crs": LOCAL}, "isn't tied to the earth"),
        ({"crs": MARS}, "isn't tied to the earth"),
        ({"left": 9e9}, "lie nowhere on the earth"),
        ({"crs": "EPSG:4326", "top": 100.0, "gsd": 0.1}, "lie nowhere on the earth"),
        ({"pixels": np.ones((8, 8, 1), np.complex64)}, "no bands of plain numbers"),
        ({"pixels": np.full((8, 8, 1), np.nan, np.float32)}, "no valid pixel"),
        ({"pixels": np.zeros((8, 8, 4), np.uint8), "photometric": "RGB", "alpha": "YES"}, "no valid pixel"),
    ],
    ids=["no crs", "local", "mars", "far out", "beyond the pole", "complex", "nan", "transparent"],
)  # fmt: skip
def test_what_can_not_be_placed_or_seen_has_its_reason(tmp_path, told, why):
    with pytest.raises(UnreadableMediaError, match=why):
        probe_scene(made(tmp_path, **told))


def test_a_crs_without_a_transform_and_control_points_alone_place_nothing(tmp_path):
    path = tmp_path / "20240105.tif"
    told = {"driver": "GTiff", "height": 8, "width": 8, "count": 1, "dtype": "uint8"}
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(path, "w", crs="EPSG:32633", **told) as file,
    ):
        file.write(np.ones((1, 8, 8), np.uint8))
    with pytest.raises(UnreadableMediaError, match="a CRS but no transform"):
        probe_scene(path)
    corners = [rasterio.control.GroundControlPoint(r, c, 10 + c, 50 - r) for r in (0, 8) for c in (0, 8)]
    with rasterio.open(path, "w", gcps=corners, crs="EPSG:4326", **told) as file:
        file.write(np.ones((1, 8, 8), np.uint8))
    with pytest.raises(UnreadableMediaError, match="only ground control points"):
        probe_scene(path)


@pytest.mark.parametrize("crs", [LOCAL, MARS], ids=["local", "mars"])
def test_a_scene_that_is_not_on_a_grids_earth_can_not_be_laid_on_it(tmp_path, crs):
    with open_scene(made(tmp_path)) as scene:
        grid = scene.grid
    with (
        open_scene(made(tmp_path, crs=crs)) as scene,
        pytest.raises(UnreadableMediaError, match="can't be laid on another's grid"),
    ):
        scene.on(grid)
