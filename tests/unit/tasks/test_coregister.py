"""The bounded shift between two dates, and reading a date from where it really lies."""

import numpy as np
import pytest
from factories import ground
from scipy import ndimage

from lib.media.raster import Grid, Scaling
from lib.tasks import change_dates
from lib.tasks.change_dates import Dates, Picture, Shifted
from lib.tasks.coregister import shift_between

SIZE = 300, 420


@pytest.fixture(scope="module")
def land() -> np.ndarray:
    return ground(SIZE, seed=2)


def shifted(pixels: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    moved = ndimage.shift(pixels.astype(float), (*shift, 0), order=1, mode="nearest")
    return np.clip(np.round(moved), 0, 255).astype(np.uint8)


def between(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    pictures = [Picture(pixels, SIZE) for pixels in (before, after)]
    return shift_between(Dates(*pictures, pictures[0].scaling()).view, SIZE)


@pytest.mark.parametrize("shift", [(1.0, 0.0), (1.4, -0.7), (-2.0, 0.5)])
def test_a_small_shift_is_found_under_haze_and_new_buildings(land, shift):
    after = shifted(land, shift) * 0.8 + 40
    after[100:160, 200:290] = 250
    np.testing.assert_allclose(between(land, after.astype(np.uint8)), shift, atol=0.12)


def test_what_is_too_far_or_only_some_windows_share_is_no_shift(land):
    halves = np.concatenate([shifted(land, (0, 1.5))[:, :210], shifted(land, (1.5, 0))[:, 210:]], axis=1)
    for after in (land, shifted(land, (0.1, 0.0)), shifted(land, (5.0, 0.0)), ground(SIZE, seed=9), halves):
        assert between(land, after) == (0.0, 0.0)


def test_dates_too_small_to_hold_windows_are_not_moved(land):
    assert shift_between(lambda *_: pytest.fail("was read"), (100, 100)) == (0.0, 0.0)


def test_a_shifted_date_is_bilinear_and_knows_nothing_beyond_its_edge(land):
    shift = (1.25, -0.5)
    moved = Shifted(Picture(land, SIZE), shift)
    values, valid = moved.read(0, 0, *SIZE)
    wanted = ndimage.shift(land.astype(float), (-shift[0], -shift[1], 0), order=1)
    assert valid[: SIZE[0] - 2, 1:].all() and not valid[-2:].any() and not valid[:, 0].any()
    np.testing.assert_allclose(values.transpose(1, 2, 0)[valid], wanted[valid], atol=1e-3)
    part, known = moved.read(SIZE[0] - 1, 7, 1, 30)
    assert part.shape == (3, 1, 30) and not known.any()


class Gappy:
    """A date of floats with one pixel of NaN."""

    grid = Grid.plain(40, 40)

    def read(self, top, left, height, width):
        values = np.ones((3, 40, 40))
        values[:, 20, 20] = np.nan
        window = (slice(None), slice(top, top + height), slice(left, left + width))
        return values[window], np.isfinite(values[window]).all(0)

    def sample(self):
        return self.read(0, 0, 40, 40)

    def scaling(self):
        return Scaling(np.zeros(3), np.ones(3))


def test_a_gap_spreads_to_the_pixels_that_would_be_made_of_it_and_no_further():
    values, valid = Shifted(Gappy(), (0.5, 0.0)).read(10, 10, 20, 20)
    assert sorted(zip(*np.nonzero(~valid), strict=True)) == [(9, 10), (10, 10)]
    assert np.isfinite(values).all() and (values[:, valid] == 1).all()


class Numbers:
    """A date of every number of a kind."""

    def __init__(self, dtype: type):
        bits = np.dtype(f"u{np.dtype(dtype).itemsize}")
        every = np.arange(1 << 8 * bits.itemsize, dtype=bits).view(dtype).reshape(1, -1, 64)
        self._values = np.concatenate([every, every[:, ::-1], every])
        self.grid, self.reads = Grid.plain(*self._values.shape[1:]), 0

    def read(self, top, left, height, width):
        self.reads += 1
        values = self._values[:, top : top + height, left : left + width]
        return values, np.ones(values.shape[1:], bool)

    def sample(self):
        return self.read(0, 0, self.grid.height, self.grid.width)

    def scaling(self):
        return Scaling(np.array([-100, 0, 30], np.float32), np.array([9000, 250, 31], np.float32))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_numbers_that_are_looked_up_are_scaled_as_any_are(dtype):
    date = Numbers(dtype)
    dates = Dates(date, date, date.scaling())
    wanted = date.scaling().apply(date.sample()[0])
    np.testing.assert_array_equal(dates.view(0, 0, *dates.shape)[0], wanted)


def test_dates_that_are_held_are_read_once_and_others_as_they_are_asked_for(land, monkeypatch):
    date = Numbers(np.uint16)
    dates = Dates(Picture(land, (1024, 64)), date, date.scaling())
    held = dates.held()
    windows = [(0, 0, 1024, 64), (250, 3, 20, 9), (1000, 60, 24, 4)]
    for window in windows:
        for one, other in zip(held(*window), dates.view(*window), strict=True):
            np.testing.assert_array_equal(one, other)
    assert date.reads == 1024 / 256 + len(windows)
    monkeypatch.setattr(change_dates, "_HELD_PX", 1024 * 64 - 1)
    dates.held()(1, 1, 2, 2)
    assert date.reads == 1024 / 256 + len(windows) + 1
