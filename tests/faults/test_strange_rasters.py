"""Rasters of every odd kind: a pair of each with itself holds no change, or ends in one clear sentence."""

import pytest
from factories import ground, write_geotiff

from lib.errors import QueryError
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
    import rasterio

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
