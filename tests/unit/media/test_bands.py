"""Stored numbers as values."""

import numpy as np

from lib.media.bands import Choice


def test_a_nodata_number_that_scales_beyond_what_there_is_harms_no_other():
    factors = np.full((3, 1, 1), 100, np.float32), np.full((3, 1, 1), 1, np.float32)
    choice = Choice((1, 2, 3), False, factors, None, lambda values: values > 0)
    stored = np.full((3, 1, 2), 2.0, np.float32)
    stored[:, 0, 1] = -3.4e38
    # Warnings are errors here.
    assert choice.as_values(stored)[:, 0].tolist() == [[201.0, -np.inf]] * 3
