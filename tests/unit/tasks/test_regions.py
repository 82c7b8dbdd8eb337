"""Regions of masks that come by strips, and cells' values at pixels."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from lib.tasks.cell_maps import at_pixels, filled
from lib.tasks.regions import STRIP_PX, Regions


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    made = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(2 * STRIP_PX + 37, 90)), 2) > 0.02
    made[:, 40] = True  # one region from the first strip to the last
    return made


def test_strips_give_the_regions_of_the_whole_with_their_sizes_and_sums(mask):
    value = np.random.default_rng(1).random(mask.shape)
    regions = Regions(lambda top, bottom: mask[top:bottom], len(mask), {"v": lambda a, b: value[a:b]})
    whole, count = ndimage.label(mask)
    assert regions.count == count
    # A region's size and sum tell which of the whole's it is.
    wanted = np.stack([np.bincount(whole.ravel()), ndimage.sum(value, whole, range(count + 1))])[:, 1:]
    found = np.stack([regions.sizes, regions.sums["v"]])[:, 1:]
    ours, theirs = np.lexsort(found), np.lexsort(wanted)
    np.testing.assert_allclose(found[:, ours], wanted[:, theirs])
    is_marked = np.zeros(count + 1, bool)
    is_marked[1 + ours[::3]] = True
    marked = np.zeros_like(mask)
    for top, part in regions.marked(is_marked):
        marked[top : top + len(part)] = part
    np.testing.assert_array_equal(marked, np.isin(whole, 1 + theirs[::3]))


def test_a_mask_without_regions_has_none():
    regions = Regions(lambda top, bottom: np.zeros((bottom - top, 5), bool), 700)
    assert regions.count == 0 and not list(regions.marked(np.zeros(1, bool)))


def test_cells_at_pixels_are_those_of_a_bilinear_resize_in_any_window():
    cells = np.random.default_rng(0).random((7, 5)).astype(np.float32)
    whole = np.asarray(Image.fromarray(cells).resize((80, 112), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(at_pixels(cells, (0, 0, 112, 80)), whole, atol=1e-5)
    np.testing.assert_allclose(at_pixels(cells, (33, 9, 50, 60), step=3), whole[33:83:3, 9:69:3], atol=1e-5)
    assert (at_pixels(np.ones((1, 1)), (0, 0, 9, 9)) == 1).all()


def test_cells_without_data_take_the_nearest_ones_value():
    cells = np.array([[1.0, np.nan, np.nan, 4.0]])
    assert filled(cells, np.isfinite(cells)).tolist() == [[1.0, 1.0, 4.0, 4.0]]
