"""Outlines: features find, pixels draw; with made cells, so that each of the two is seen by itself."""

import io

import numpy as np
import pytest
from factories import ground
from PIL import Image
from scipy import ndimage

from lib.tasks import pixel_difference
from lib.tasks.change_dates import Dates, Picture
from lib.tasks.outline import CHANGED, UNCHANGED, UNJUDGED, Gates, outline
from lib.tasks.pixel_difference import (
    GREY_LEVELS,
    UNKNOWN,
    difference_map,
    gate_of_noise,
    light_between,
    noise_of,
    pixel_gate,
)

SIZE = 320, 400
CELLS = 20, 25
QUIET, LOUD, GATE = 0.2, 1.0, 0.5


@pytest.fixture(scope="module")
def land() -> np.ndarray:
    return ground(SIZE, seed=4)


def view_of(before: np.ndarray, after: np.ndarray, valid: np.ndarray | None = None):
    view = Dates(Picture(before, SIZE), Picture(after, SIZE), Picture(before, SIZE).scaling()).view
    if valid is None:
        return view

    def read(top, left, height, width):
        one, other, known = view(top, left, height, width)
        return one, other, known & valid[top : top + height, left : left + width]

    return read


def states_of(before, after, cells, valid=None) -> np.ndarray:
    view = view_of(before, after, valid)
    return outline(cells, Gates(GATE, pixel_gate(view, SIZE)), view, shape=SIZE).states


def quiet_cells() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.8, 1.2, CELLS).astype(np.float32) * QUIET


def jpeg(pixels: np.ndarray) -> np.ndarray:
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "JPEG", quality=85)
    return np.asarray(Image.open(held))


def iou(states: np.ndarray, truth: np.ndarray) -> float:
    found = states == CHANGED
    return float((found & truth).sum() / (found | truth).sum())


def test_a_flat_interior_that_features_do_not_see_is_grown_from_the_rim_that_they_do(land):
    after, truth, cells = land.copy(), np.zeros(SIZE, bool), quiet_cells()
    after[80:240, 100:300] = (190, 180, 170)
    truth[80:240, 100:300] = True
    cells[4:16, 5:8] = LOUD  # around the left edge only
    assert iou(states_of(land, jpeg(after), cells), truth) > 0.95


@pytest.mark.parametrize("colour", [(230, 220, 215), (25, 30, 35)])
def test_a_small_block_that_features_miss_is_found_where_the_rest_is_quiet(land, colour):
    after, truth = land.copy(), np.zeros(SIZE, bool)
    after[150:170, 204:226] = colour
    truth[150:170, 204:226] = True
    assert iou(states_of(land, jpeg(after), quiet_cells()), truth) > 0.7


def hazy(land: np.ndarray) -> np.ndarray:
    thick = ndimage.gaussian_filter(np.random.default_rng(1).random(SIZE), 60)
    thick = 0.3 * (thick - thick.min()) / np.ptp(thick)
    return land * (1 - thick[..., None]) + 215 * thick[..., None]


def test_a_house_is_outlined_under_haze_that_varies(land):
    after, truth, cells = hazy(land), np.zeros(SIZE, bool), quiet_cells()
    cells[9:12, 12:16] = LOUD
    after[150:182, 204:240] = (120, 60, 50)
    truth[150:182, 204:240] = True
    assert iou(states_of(land, after.astype(np.uint8), cells), truth) > 0.8


def test_haze_a_thin_cloud_and_a_shift_of_a_fraction_are_no_change(land):
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    thin = 0.35 / (1 + np.exp((np.hypot(rows - 160, columns - 200) - 70) / 12))
    cloud = land * (1 - thin[..., None]) + 235 * thin[..., None]
    moved = ndimage.shift(land.astype(float), (0.4, -0.4, 0), order=1, mode="nearest")
    for after in (hazy(land), cloud, moved):
        assert not (states_of(land, after.astype(np.uint8), quiet_cells()) == CHANGED).any()


def test_in_another_season_pixels_add_nothing_and_features_stand_as_they_are(land):
    rng = np.random.default_rng(3)
    season = ndimage.zoom(rng.normal(0, 60, (*CELLS, 3)), (16, 16, 1), order=1)
    after = np.clip(land + season + rng.normal(0, 15, land.shape), 0, 255).astype(np.uint8)
    cells = quiet_cells()
    cells[6:10, 6:10] = LOUD
    found = states_of(land, after, cells) == CHANGED
    as_features_see_it = np.zeros(SIZE, bool)
    as_features_see_it[96:160, 96:160] = True
    assert iou(np.where(found, CHANGED, UNCHANGED), as_features_see_it) > 0.8
    assert not found[:88].any() and not found[168:].any()


def test_nodata_is_not_judged_within_a_change_nor_around_an_island_of_data(land):
    after, valid, cells = land.copy(), np.ones(SIZE, bool), quiet_cells()
    after[80:240, 100:300] = (200, 60, 50)
    valid[180:186, 200:206] = False
    valid[280:310, 20:90] = False
    valid[290:294, 40:44] = True
    cells[5:15, 6:19] = LOUD
    states = states_of(land, after, cells, valid)
    assert (states[~valid] == UNJUDGED).all() and (states[valid] != UNJUDGED).all()
    assert (states[290:294, 40:44] == UNCHANGED).all()


def test_nothing_known_is_nothing_judged(land):
    states = states_of(land, land, np.full(CELLS, np.nan), np.zeros(SIZE, bool))
    assert (states == UNJUDGED).all()


def test_light_is_what_most_pixels_share_though_a_third_of_them_changed():
    rng = np.random.default_rng(0)
    after = rng.uniform(20, 200, (3000, 3))
    before = after * [1.2, 0.9, 1.0] + [5, -8, 20] + rng.normal(0, 1, after.shape)
    before[:1000] = rng.uniform(0, 255, (1000, 3))
    light = light_between(before, after)
    np.testing.assert_allclose(light.gain, [1.2, 0.9, 1.0], atol=0.02)
    np.testing.assert_allclose(light.offset, [5, -8, 20], atol=2)


def test_light_that_varies_slowly_over_a_scene_is_no_difference():
    grey = np.full((*SIZE, 3), 100, np.uint8)
    ramp = np.linspace(0, 60, SIZE[1])[None, :, None] * np.ones((*SIZE, 3))
    found = difference_map(
        view_of(grey, (grey + ramp).astype(np.uint8)), SIZE, doubtful=np.zeros(CELLS, bool)
    )
    assert np.median(GREY_LEVELS[found]) < 1.5


def test_differences_are_the_same_however_they_are_read_and_0_where_only_the_light_changed(land, monkeypatch):
    after = np.clip(land * 0.8 + 25, 0, 255).astype(np.uint8)
    after[80:140, 100:190] = 240
    doubtful = np.zeros(CELLS, bool)
    whole = difference_map(view_of(land, after), SIZE, doubtful=doubtful)
    monkeypatch.setattr(pixel_difference, "BLOCK_PX", (64, 112))
    np.testing.assert_array_equal(difference_map(view_of(land, after), SIZE, doubtful=doubtful), whole)
    assert GREY_LEVELS[whole[200:]].max() < 2 and GREY_LEVELS[whole[90:130, 110:180]].min() > 60
    assert (whole != UNKNOWN).all()


def test_the_pixel_gate_is_beyond_what_all_but_a_thousandth_of_the_worst_kind_reach():
    counts = np.zeros((2, 256), int)
    counts[0, 1], counts[0, 90] = 5000, 5  # a thousandth: they begin where byte 89 would end
    counts[1, 40] = 5005
    assert gate_of_noise(counts) == pytest.approx(1.3 * GREY_LEVELS[41], rel=0.05)
    counts[0, 90] = 50
    assert 1.3 * GREY_LEVELS[90] < gate_of_noise(counts) <= 1.3 * GREY_LEVELS[91]
    assert gate_of_noise(np.zeros((2, 256), int)) == np.inf


def test_noise_is_what_light_does_not_explain_of_pixels_that_have_data(land):
    before = land[:256, :256]
    brighter = np.clip(before * 1.1 + 5, 0, 255).astype(np.uint8)
    marked = before.copy()
    marked[40:60, 40:60] ^= 128
    marked[100:120, 100:120] ^= 128
    valid = np.ones((256, 256), bool)
    valid[95:125, 95:125] = False
    light, marks = noise_of(before, (brighter, marked), valid)
    beyond = np.flatnonzero(GREY_LEVELS > 60)[0]
    assert light[beyond:].sum() == 0 and marks[beyond:].sum() == pytest.approx(400, abs=80)
    assert light.sum() == marks.sum() == 256**2 - 30**2


def test_nothing_thinner_than_five_pixels_is_in_a_difference_map(land):
    rows = np.abs(land.astype(int) - np.roll(land, 3, axis=1)).astype(np.uint8)
    view = view_of(land, np.clip(land.astype(int) + rows, 0, 255).astype(np.uint8))
    found = GREY_LEVELS[difference_map(view, SIZE, doubtful=np.zeros(CELLS, bool))]
    np.testing.assert_array_equal(ndimage.grey_opening(found, (5, 5)), found)


def test_six_pixels_that_have_no_light_to_fit_are_compared_all_the_same():
    before, size = np.full((2, 3, 3), 100, np.uint8), (2, 3)
    dates = Dates(Picture(before, size), Picture(before + 60, size), Picture(before, size).scaling())
    found = difference_map(dates.view, size, doubtful=np.zeros((1, 1), bool))
    assert (found != UNKNOWN).all() and pixel_gate(dates.view, size) < np.inf
