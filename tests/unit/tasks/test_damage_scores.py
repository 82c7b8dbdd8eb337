"""Damage by outlines: xView2's figures worked by hand, pixels painted by building."""

import numpy as np
import pytest
from shapely import box

from lib.tasks.damage_scores import chance_damage_score, class_f1s, damage_confusions, damage_score


def test_the_damage_score_is_the_harmonic_mean_of_the_classes_f1():
    # F1 of .5 and .8: 2 * 1 / (2 + 2) and 2 * 4 / (5 + 5); the other classes never occur.
    confusion = np.array([[1, 1, 0, 0], [1, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert class_f1s(confusion)[:2] == pytest.approx([0.5, 0.8])
    assert np.isnan(class_f1s(confusion)[2:]).all()
    assert damage_score(confusion) == pytest.approx(2 / (1 / 0.5 + 1 / 0.8))


def test_a_class_that_is_never_hit_makes_the_score_zero():
    assert damage_score(np.array([[5, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])) == 0


def test_chance_draws_classes_as_often_as_they_are_true():
    rng = np.random.default_rng(0)
    truth, told = (rng.choice(4, 200_000, p=(0.5, 0.2, 0.2, 0.1)) for _ in range(2))
    drawn = np.bincount(4 * truth + told, minlength=16).reshape(4, 4)
    assert chance_damage_score(drawn) == pytest.approx(damage_score(drawn), abs=0.01)


def test_pixels_of_each_building_are_counted_by_true_and_told_class_and_unjudged_ones_not_at_all():
    outlines = [box(1, 1, 5, 5), box(10, 2, 14, 4), box(20, 20, 24, 24)]
    score = np.zeros((30, 30), np.float32)
    score[1:5, 1:5] = 0.9  # destroyed by any cut
    score[20:24, 20:24] = np.nan
    found = damage_confusions(
        outlines, np.array([3, 1, 0]), {"ours": score, "window_cls": score}, gate=0.3, threshold=0.5
    )
    wanted = np.zeros((4, 4), int)
    # The second, of 4 x 2 px and minor damage, isn't told from unharmed ones; the third can't be judged.
    wanted[3, 3], wanted[1, 0] = 16, 8
    assert found["ours"].tolist() == wanted.tolist()
    assert found["window_cls"].sum() == 24
