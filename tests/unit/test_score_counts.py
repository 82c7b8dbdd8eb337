"""Counts by bin against the scores themselves: sklearn's AUROC, the best threshold's F1."""

import math

import numpy as np
import pytest

from lib.area_metrics import best_f1
from lib.score_counts import BINS, auroc_of, best_f1_of, counts_by_bin


@pytest.fixture(scope="module")
def scores():
    rng = np.random.default_rng(3)
    changed = rng.random(40_000) < 0.1
    # Narrow, as a quiet scene's scores are.
    return np.clip(rng.normal(0.2 + 0.08 * changed, 0.05), 0, 1), changed


def test_auroc_and_best_f1_are_those_of_the_scores_within_a_thousandth(scores):
    from sklearn.metrics import roc_auc_score

    counts = counts_by_bin(*scores)
    assert auroc_of(counts) == pytest.approx(roc_auc_score(scores[1], scores[0]), abs=1e-3)
    assert best_f1_of(counts) == pytest.approx(best_f1(*scores), abs=1e-3)


def test_counts_of_two_pairs_add_up(scores):
    values, changed = scores
    parts = [counts_by_bin(values[part], changed[part]) for part in (slice(0, 999), slice(999, None))]
    assert (sum(parts) == counts_by_bin(values, changed)).all()


def test_equal_scores_are_half_a_win_and_one_threshold():
    counts = np.zeros((2, BINS), int)
    counts[0, [1, 5]], counts[1, [5, 9]] = (2, 1), (1, 1)
    # Changed at 5 beats two of three and ties one, at 9 beats all: (2.5 + 3) / 6.
    assert auroc_of(counts) == pytest.approx(5.5 / 6)
    assert best_f1_of(counts) == pytest.approx(2 * 2 / (3 + 2))


def test_the_ends_of_the_range_are_counted():
    assert counts_by_bin(np.array([0.0, 1.0]), np.array([False, True]))[[0, 1], [0, -1]].tolist() == [1, 1]


def test_without_both_classes_there_is_no_auroc():
    assert math.isnan(auroc_of(counts_by_bin(np.array([0.2]), np.array([True]))))
