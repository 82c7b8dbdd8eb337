"""Distances, gate and threshold of changes."""

import numpy as np
import pytest

from lib.tasks.change import (
    LENGTH_WEIGHT,
    NEVER,
    as_score,
    cell_distance,
    gate_of,
    perturbed,
    threshold_of,
)


def test_the_distance_of_right_angles_of_equal_length_is_the_one_worked_out_by_hand():
    before, after = np.zeros((1, 2, 2)), np.zeros((1, 2, 2))
    before[0, :, 0] = 3.0
    after[0, 0, 1], after[0, 1, 0] = 3.0, 3.0
    wanted = (1 + LENGTH_WEIGHT * 2**0.5) / (1 + LENGTH_WEIGHT)
    np.testing.assert_allclose(cell_distance(before, after), [[wanted, 0.0]], atol=1e-6)


def test_scores_lie_between_0_and_1_and_keep_the_distances_order():
    distances = np.array([0.0, 0.3, 0.9, 2.0])
    scores = as_score(distances)
    assert scores[0] == 0 and scores[-1] < 1 and (np.diff(scores) > 0).all()


def test_perturbations_move_nothing_on_the_ground_by_more_than_a_pixel():
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[20, 20] = 255
    for made in perturbed(picture):
        assert made.shape == picture.shape and made.dtype == np.uint8
        row, column = np.unravel_index(made.sum(-1).argmax(), (40, 40))
        assert abs(row - 20) <= 1 and abs(column - 20) <= 1


def test_the_gate_is_above_all_that_perturbations_reach_usually():
    quiet, loud = np.full((4, 12, 12), 0.1), np.full((4, 12, 12), 0.3)
    assert gate_of([quiet, loud]) == pytest.approx(1.3 * 0.3)


def test_nothing_above_the_gate_is_no_change_however_uneven_the_scene_is():
    distance = np.where(np.arange(100) < 50, 0.1, 0.4)
    assert threshold_of(distance, gate=0.41) == NEVER
    assert threshold_of(np.full(9, np.nan), gate=0.1) == NEVER


def test_doubtful_ground_is_left_to_the_middle_class():
    rng = np.random.default_rng(0)
    parts = [rng.normal(mean, 0.03, count) for mean, count in ((0.2, 9000), (0.5, 800), (1.1, 200))]
    threshold = threshold_of(np.concatenate(parts), gate=0.3)
    assert 0.55 < threshold < 1.0
