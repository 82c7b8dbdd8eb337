"""Metrics of maps, against the protocols' toy values and slow references."""

import numpy as np
import pytest

from lib.area_metrics import best_f1, confusion_of, counts_of, pooled, xview2_score


def test_tiles_are_pooled_before_f1_and_iou_as_the_protocols_toy_tells():
    f1, iou = pooled([(8, 2, 0), (0, 0, 0), (1, 0, 9)])
    assert (round(f1, 3), iou) == (0.621, 0.45)
    assert np.isnan(pooled([(0, 0, 0)])).all()


def test_the_best_f1_is_that_of_trying_every_threshold_with_ties_and_unjudged_pixels():
    rng = np.random.default_rng(0)
    scores, truth = rng.integers(0, 12, (20, 30)) / 12, rng.random((20, 30)) < 0.2
    scores[truth] += 0.2
    scores[:3] = np.nan
    tried = [pooled([counts_of(np.nan_to_num(scores, nan=-1) >= at, truth)])[0] for at in np.unique(scores)]
    assert best_f1(scores, truth) == pytest.approx(np.nanmax(tried))


def test_xview2_gives_the_protocols_toy_values_and_a_class_never_found_makes_damage_0():
    damage, overall = xview2_score(0.85, (0.9, 0.5, 0.6, 0.8))
    assert (round(damage, 4), round(overall, 4)) == (0.6636, 0.7195)
    assert xview2_score(0.85, (0.9, 0.0, 0.6, 0.8))[0] == 0


def test_confusion_counts_true_classes_in_rows():
    truth, told = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 2])
    made = confusion_of(truth, told, ("a", "b", "c", "d"))
    assert made.matrix[:3, :3].tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert (made.accuracy, made.chance, made.n) == (4 / 6, 0.5, 6)
    assert (made.recall["a"], made.f1["b"]) == (pytest.approx(2 / 3), 0.5)
    assert np.isnan(made.recall["d"]) and np.isnan(made.f1["d"])
