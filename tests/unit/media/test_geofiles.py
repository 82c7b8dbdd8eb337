"""Polygons of masks, and what a map has within them."""

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from lib.media.geofiles import mean_within, regions_of, write_cog
from lib.media.raster import Grid


def test_each_region_has_the_mean_of_what_the_map_knows_within_it():
    rng = np.random.default_rng(0)
    mask = ndimage.gaussian_filter(rng.normal(size=(1100, 60)), 3) > 0.05
    values = rng.random(mask.shape)
    values[::3] = np.nan
    grid = Grid.plain(*mask.shape)
    frame = regions_of(mask, grid)
    means = mean_within(frame, lambda top, bottom: values[top:bottom], grid)
    labels, count = ndimage.label(mask)
    known = np.where(np.isfinite(values), labels, 0)
    wanted = ndimage.mean(np.nan_to_num(values), known, range(1, count + 1))
    sizes = np.bincount(labels.ravel())[1:]
    assert len(frame) == count and frame["area"].sum() == mask.sum()
    found = sorted(zip(frame["area"], np.nan_to_num(means, nan=-1), strict=True))
    np.testing.assert_allclose(found, sorted(zip(sizes, np.nan_to_num(wanted, nan=-1), strict=True)))


def test_strips_make_the_file_that_the_whole_makes(tmp_path):
    bands = np.random.default_rng(0).random((2, 600, 300)).astype(np.float32)
    bands[:, 5, 5] = np.nan
    write_cog(tmp_path / "a.tif", (bands[:, top : top + 256] for top in range(0, 600, 256)),
              Grid.plain(600, 300), descriptions=("score", "changed"))  # fmt: skip
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(tmp_path / "a.tif") as file:
        np.testing.assert_array_equal(file.read(), bands)
        assert file.descriptions == ("score", "changed")
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
