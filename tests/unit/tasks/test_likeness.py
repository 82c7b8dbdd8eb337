"""Few-shot likeness: closed forms, and what counter-examples turn."""

import numpy as np
import pytest

from lib.errors import QueryError
from lib.tasks.likeness import fit_likeness, rank_alike


@pytest.fixture
def land() -> tuple[np.ndarray, np.ndarray]:
    """400 rows of four kinds, 100 each; kinds 0 and 1 are near each other."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 64))
    centres[1] = centres[0] + 0.35 * rng.normal(size=64)
    kinds = np.repeat(np.arange(4), 100)
    return (centres[kinds] + 0.6 * rng.normal(size=(400, 64))).astype(np.float32) + 5, kinds


def test_one_example_is_scored_by_the_cosine_of_centred_features(land):
    features, _ = land
    away = features - features.mean(axis=0)
    wanted = away @ away[7] / np.linalg.norm(away, axis=1) / np.linalg.norm(away[7])
    scores = rank_alike(features[7:8], features[:0], features)
    np.testing.assert_allclose(scores, wanted, atol=1e-5)
    assert scores.argmax() == 7


def test_counter_examples_push_their_kind_below_the_examples_own(land):
    features, kinds = land
    yes, no = features[:5], features[100:105]
    rest = np.r_[5:100, 105:200]
    alone, told = (rank_alike(yes, other, features)[rest] for other in (features[:0], no))

    def inversions(scores):
        return (scores[kinds[rest] == 1][:, None] >= scores[kinds[rest] == 0]).mean()

    assert inversions(told) < 0.75 * inversions(alone)


def test_scores_of_rows_do_not_depend_on_what_they_are_scored_with(land):
    features, _ = land
    fitted = fit_likeness(features[:3], features[100:102], features)
    whole = fitted.scores(features)
    np.testing.assert_allclose(fitted.scores(features[50:60]), whole[50:60], atol=1e-6)
    assert np.abs(whole).max() <= 1 + 1e-6


def test_no_example_is_an_error(land):
    with pytest.raises(QueryError, match="no example"):
        rank_alike(land[0][:0], land[0][:5], land[0])
