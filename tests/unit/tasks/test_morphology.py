"""Squares' least and most against scipy's filters."""

import numpy as np
import pytest
from scipy import ndimage

from lib.tasks.morphology import least_near, most_near, opened


@pytest.mark.parametrize("shape", [(37, 52), (3, 40), (1, 1)])
@pytest.mark.parametrize("size", [3, 5, 7])
def test_squares_are_scipys_with_reflection_beyond_the_edge(shape, size):
    values = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(least_near(values, size), ndimage.minimum_filter(values, size))
    np.testing.assert_array_equal(most_near(values, size), ndimage.maximum_filter(values, size))
    np.testing.assert_array_equal(opened(values, size), ndimage.grey_opening(values, (size, size)))
