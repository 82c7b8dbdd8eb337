import itertools
import tracemalloc

import numpy as np
import pytest

from lib.metrics import (
    NEVER,
    FirstHits,
    Gallery,
    average_precision,
    boundary_f1,
    class_hits,
    coverage,
    first_hits,
    keyshots,
    knapsack,
    one_class_each,
    overlapping_classes,
    rank_correlations,
    retrieval_hits,
    scene_recall,
    summary_f,
)


def unit_vectors(count, dim, *, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def slow_rank(similarity, hit, met):
    best = max(similarity[i] for i in range(len(hit)) if hit[i] and met[i])
    return sum(1 for i in range(len(hit)) if met[i] and not hit[i] and similarity[i] >= best)


def test_a_collapsed_model_recalls_nothing():
    same = np.ones((100, 16), dtype=np.float32) / 4
    hits = retrieval_hits(same, same, np.arange(100))
    assert hits.recall(1) == 0.0
    assert hits.recall(99) == 0.0
    assert hits.recall(100) == 1.0


def test_similarities_that_differ_in_the_last_bits_are_ties():
    true = np.float32(0.7)
    below = np.nextafter(true, np.float32(0), dtype=np.float32)  # what an equal row may get in another place
    similarity = np.array([[true, below, 0.6999]], dtype=np.float32)
    assert first_hits(similarity, np.array([[True, False, False]])).ranks.tolist() == [1]


def test_vectors_that_are_not_numbers_never_hit():
    broken = np.full((50, 4), np.nan, dtype=np.float32)
    assert retrieval_hits(broken, broken, np.arange(50)).recall(1) == 0.0


def test_retrieval_ranks_equal_a_count_one_by_one(monkeypatch):
    monkeypatch.setattr("lib.metrics._BLOCK_CELLS", 1000)  # several blocks
    gallery = unit_vectors(90, 6)
    truth = np.random.default_rng(2).permutation(90)[:70]
    queries = gallery[truth] + 0.5 * unit_vectors(70, 6, seed=3)
    similarity = queries @ gallery.T
    expected = [
        slow_rank(s, np.arange(90) == t, np.ones(90, bool)) for s, t in zip(similarity, truth, strict=True)
    ]
    assert retrieval_hits(queries, gallery, truth).ranks.tolist() == expected


def test_class_ranks_equal_a_count_one_by_one_with_the_own_group_left_out(monkeypatch):
    monkeypatch.setattr("lib.metrics._BLOCK_CELLS", 1000)
    rng = np.random.default_rng(4)
    vectors = unit_vectors(80, 5)
    labels, groups = rng.integers(0, 6, 80), rng.integers(0, 20, 80)
    classes = one_class_each(labels.astype(str), [str(c) for c in range(6)])
    hits = class_hits(vectors, labels, Gallery(vectors, classes, groups), groups=groups)
    similarity = vectors @ vectors.T
    for query in range(80):
        met, hit = groups != groups[query], labels == labels[query]
        assert hits.ranks[query] == slow_rank(similarity[query], hit, met)
        assert (hits.relevant[query], hits.candidates[query]) == ((hit & met).sum(), met.sum())


def test_a_query_whose_class_the_gallery_lacks_is_never_a_hit():
    vectors = unit_vectors(3, 4)
    classes = one_class_each(["a", "a", "a"], ["a", "b"])
    hits = class_hits(vectors, np.array([0, 1, 1]), Gallery(vectors, classes))
    assert hits.ranks.tolist() == [0, NEVER, NEVER]
    assert hits.recall(1000) == pytest.approx(1 / 3)


def test_chance_is_the_share_of_all_orders_that_hit():
    # 2 right among 5, top 2: 1 - C(3,2)/C(5,2) = .7; 1 right among 4: 2/4.
    hits = FirstHits(np.zeros(2, int), np.array([2, 1]), np.array([5, 4]))
    orders = [any(right in order[:2] for right in (0, 1)) for order in itertools.permutations(range(5))]
    assert np.mean(orders) == pytest.approx(0.7)
    assert hits.chance(2) == pytest.approx((0.7 + 0.5) / 2)
    assert hits.chance(5) == 1.0


def test_memory_of_retrieval_does_not_grow_with_the_number_of_queries():
    gallery, queries = unit_vectors(100_000, 4), unit_vectors(600, 4, seed=1)
    tracemalloc.start()
    retrieval_hits(queries, gallery, np.arange(600))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120e6  # all similarities at once would take 240 MB


def test_a_window_shows_the_classes_whose_segments_it_overlaps():
    spans = [(0.0, 5.0), (5.0, 10.0), (20.0, 25.0)]
    segments = [("dive", 5.0, 6.0), ("swim", 9.0, 30.0), ("unknown", 0.0, 50.0)]
    shows = overlapping_classes(spans, [segments] * 3, names=["swim", "dive"])
    assert shows.tolist() == [[False, False], [True, True], [True, False]]


@pytest.mark.parametrize(
    ("trapezoidal", "expected"), [(False, (1 + 2 / 3) / 2), (True, (1 + (1 / 2 + 2 / 3) / 2) / 2)]
)
def test_average_precision_of_positives_first_and_third(trapezoidal, expected):
    assert average_precision([0, 2], trapezoidal=trapezoidal) == pytest.approx(expected)
    assert expected == pytest.approx(0.7917 if trapezoidal else 0.8333, abs=5e-5)


def test_average_precision_equals_scikit_learn_s():
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(5)
    right, scores = rng.random(200) < 0.2, rng.random(200)
    ranks = np.flatnonzero(right[np.argsort(-scores)])
    assert average_precision(ranks) == pytest.approx(average_precision_score(right, scores))


def test_positives_that_were_not_ranked_count_as_missed():
    assert average_precision([0], positives=4) == 0.25


def test_knapsack_takes_what_greedy_misses():
    assert knapsack(np.array([6, 5, 5]), np.array([9.0, 8.0, 8.0]), 10).tolist() == [False, True, True]


def test_knapsack_is_worth_as_much_as_the_best_of_all_subsets():
    rng = np.random.default_rng(6)
    for _ in range(60):
        lengths, values = rng.integers(1, 12, 9), rng.random(9)
        capacity = int(rng.integers(0, 40))
        chosen = knapsack(lengths, values, capacity)
        subsets = (np.array(s) for s in itertools.product([False, True], repeat=9))
        best = max(values[s].sum() for s in subsets if lengths[s].sum() <= capacity)
        assert lengths[chosen].sum() <= capacity
        assert values[chosen].sum() == pytest.approx(best)


def test_keyshots_take_the_shots_of_best_mean_within_15_percent():
    scores = np.zeros(100)
    scores[20:35], scores[60:66], scores[80:89] = (
        0.9,
        0.6,
        0.5,
    )  # together the two shorter ones are worth more
    edges = np.array([0, 20, 35, 60, 66, 80, 89, 100])
    assert np.flatnonzero(keyshots(scores, edges)).tolist() == [*range(60, 66), *range(80, 89)]


@pytest.mark.parametrize(("reduce", "expected"), [("mean", 1 / 3), ("max", 2 / 3)])
def test_summary_f_against_one_user_who_agrees_and_one_who_does_not(reduce, expected):
    machine = np.isin(np.arange(8), [0, 1, 2])
    users = np.stack([np.isin(np.arange(8), [1, 2, 3]), np.isin(np.arange(8), [5, 6])])
    assert summary_f(machine, users, reduce=reduce) == pytest.approx(expected)


def test_rank_correlations_by_hand():
    # Of 6 pairs: 3 agree, 2 disagree, one is tied in the second: tau-b = (3 - 2) / sqrt(6 * 5).
    tau, rho = rank_correlations(np.array([1, 2, 3, 4]), np.array([[1, 3, 2, 2]]))
    assert tau == pytest.approx(0.1826, abs=5e-5)
    # Ranks 1 2 3 4 and 1 4 2.5 2.5: covariance 1.5 over sqrt(5 * 4.5).
    assert rho == pytest.approx(1.5 / np.sqrt(22.5))


def test_scores_that_do_not_vary_correlate_zero_and_stay_in_the_mean():
    scores = np.array([1.0, 2.0, 3.0])
    assert rank_correlations(np.ones(3), np.stack([scores, scores])) == (0.0, 0.0)
    assert rank_correlations(scores, np.stack([scores, np.ones(3)])) == pytest.approx((0.5, 0.5))


def test_coverage_is_the_mean_likeness_to_the_nearest_chosen_frame():
    features = np.array([[1, 0], [0.6, 0.8], [0, 1], [0, 1]], dtype=np.float32)
    assert coverage(features, np.array([True, False, False, False])) == pytest.approx((1 + 0.6 + 0 + 0) / 4)
    assert coverage(features, np.array([True, False, True, False])) == pytest.approx((1 + 0.8 + 1 + 1) / 4)
    assert coverage(features, np.zeros(4, bool)) == 0.0


def test_scene_recall_counts_scenes_shown_for_half_a_second_or_half_their_length():
    # Scenes 0-10, 10-20, 20-20.4, 20.4-30; shown: .2 s of the second, half of the third, none of the last.
    shown = [(2.0, 10.2), (20.0, 20.2)]
    assert scene_recall([10.0, 20.0, 20.4], shown, duration_s=30.0) == 0.5


def test_each_found_cut_matches_one_true_cut_at_most():
    # 9.8 and 10.1 are both near 10: one of them is a false alarm; 30 is missed. 2 matched of 4 found, 3 true.
    assert boundary_f1([9.8, 10.1, 20.4, 50.0], [10.0, 20.0, 30.0], tolerance_s=0.5) == pytest.approx(4 / 7)
    assert boundary_f1([], [], tolerance_s=0.5) == 1.0
    assert boundary_f1([1.0], [], tolerance_s=0.5) == 0.0


def test_crowded_cuts_are_matched_as_well_as_they_can_be():
    # Nearest-first would match 1.9 with 2.0 and leave 1.0 and 2.9 apart.
    assert boundary_f1([1.9, 2.9], [1.0, 2.0], tolerance_s=0.95) == 1.0
