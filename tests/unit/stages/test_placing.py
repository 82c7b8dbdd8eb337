"""Which cell a scene's file goes to, and which files are no scenes of their own."""

import numpy as np
import pytest
from factories import ground, write_geotiff
from scenes import scene_archive

from lib.lake import Lake
from lib.stages.placing import bands_apart
from lib.stages.sources import register


@pytest.mark.parametrize(
    ("names", "apart"),
    [
        (("T31UFU_20240105T105331_B04_10m.tif", "T31UFU_20240105T105331_B03_10m.tif"), 2),
        (("LC08_L2SP_039031_20240105_02_T1_SR_B4.TIF", "LC08_L2SP_039031_20240105_02_T1_SR_B5.TIF"), 2),
        (("HLS.L30.T31UFU.2024005T105331.v2.0.B04.tif", "HLS.L30.T31UFU.2024005T105331.v2.0.B05.tif"), 2),
        (("a/farm_20240105_B04.tif", "b/farm_20240105_B03.tif"), 0),  # of two folders
        (("farm_20240105_B04.tif", "farm_20240112_B03.tif"), 0),  # of two dates
        (("farm_20240105_B04.tif", "farm_20240105.tif"), 0),
        (("farm_B04_20240105.tif", "farm_B04_20240112.tif"), 0),
        (("farm_20240105_B04.tif", "farm_20240105_B04.tiff"), 0),  # one band twice
    ],
)  # fmt: skip
def test_files_called_after_other_bands_of_one_product_are_told_apart(names, apart):
    assert len(bands_apart(names)) == apart


def reasons(lake: Lake) -> dict[str, str]:
    return {item.path: item.reason for item in lake.ledger.items("fields") if not item.removed}


def test_single_bands_of_a_product_are_rows_that_say_what_to_do_and_others_are_scenes(tmp_path):
    archive, lake = scene_archive(tmp_path / "scenes"), Lake(tmp_path / "lake")
    one = ground((64, 64))[..., :1]
    lone = write_geotiff(tmp_path / "scenes" / "farm_20240105_B04.tif", one)
    for number in (1, 2):  # two blocks of a town, in colour
        write_geotiff(tmp_path / "scenes" / f"town_20240105_B{number}.tif", ground((64, 64)))
    register(archive, lake)
    assert set(reasons(lake).values()) == {""}
    # Another band of it comes: neither is a scene.
    write_geotiff(tmp_path / "scenes" / "farm_20240105_B08.tif", one)
    register(archive, lake)
    refused = {path: reason for path, reason in reasons(lake).items() if reason}
    assert set(refused) == {lone.name, "farm_20240105_B08.tif"}
    assert all("stack the bands of one product into one file" in reason for reason in refused.values())
    assert {i.shard.split("__")[0] for i in lake.ledger.items("fields") if i.reason} == {"unplaced"}


def test_a_band_that_is_alone_again_is_a_scene_again(tmp_path):
    archive, lake = scene_archive(tmp_path / "scenes"), Lake(tmp_path / "lake")
    paths = [
        write_geotiff(tmp_path / "scenes" / f"farm_20240105_{band}.tif", np.full((64, 64, 1), 90, np.uint8))
        for band in ("B04", "B08")
    ]
    register(archive, lake)
    paths[1].unlink()
    register(archive, lake)
    assert reasons(lake) == {paths[0].name: ""}
