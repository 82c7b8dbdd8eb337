"""Retrieval's figures against a count one by one, values worked by hand, and chance by simulation."""

from dataclasses import asdict

import numpy as np
import pytest

from lib.datasets import dataset_names
from lib.published_figures import published_figures
from lib.retrieval import one_percent, retrieval, retrieval_of_vectors


def unit_vectors(count, dim, *, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def one_to_one(count):
    return np.stack([np.arange(count)] * 2, axis=1)


def slow_rank(similarity, right, passed_over):
    best = max(similarity[row] for row in right)
    return sum(
        similarity[row] >= best
        for row in range(len(similarity))
        if row not in right and row not in passed_over
    )


def random_case(seed=1, queries=60, gallery=90):
    rng = np.random.default_rng(seed)
    positives = np.array([(q, g) for q in range(queries) for g in rng.choice(gallery, 1 + q % 5, False)])
    ignored = rng.integers(0, (queries, gallery), (150, 2))
    # Few different values, so that many are ties.
    return rng.integers(0, 12, (queries, gallery)).astype(np.float32), positives, ignored


def test_a_collapsed_model_recalls_nothing_until_the_whole_gallery_is_shown():
    hits = retrieval(np.ones((100, 100), np.float32), one_to_one(100))
    assert hits.figures().recall_1 == 0.0
    assert hits.recall(99) == 0.0
    assert hits.recall(100) == 1.0


def test_similarities_that_differ_in_the_last_bits_are_ties():
    true = np.float32(0.7)
    below = np.nextafter(true, np.float32(0), dtype=np.float32)  # what an equal row may get in another place
    similarity = np.array([[true, below, 0.6999]], dtype=np.float32)
    assert retrieval(similarity, np.array([[0, 0]])).ranks.tolist() == [1]


def test_what_is_no_number_counts_against_the_query_be_it_the_truth_or_another_row():
    similarity = np.array([[np.nan, 0.1, 0.2, 0.3], [np.nan, 0.1, 0.2, 0.3]])
    assert retrieval(similarity, np.array([[0, 0], [1, 3]])).ranks.tolist() == [3, 1]


def test_ranks_equal_a_count_one_by_one_with_many_positives_and_ties():
    similarity, positives, ignored = random_case()
    hits = retrieval(similarity, positives, ignored=ignored)
    for query in range(len(similarity)):
        right = set(positives[positives[:, 0] == query, 1])
        neither = set(ignored[ignored[:, 0] == query, 1])
        assert hits.ranks[query] == slow_rank(similarity[query], right, set())
        assert hits.masked[query] == slow_rank(similarity[query], right, neither)
        assert (hits.relevant[query], hits.ignored[query]) == (len(right), len(neither - right))


def test_blocks_of_vectors_give_what_the_whole_matrix_gives(monkeypatch):
    monkeypatch.setattr("lib.retrieval._BLOCK_CELLS", 700)
    _, positives, ignored = random_case()
    queries, gallery = unit_vectors(60, 7), unit_vectors(90, 7, seed=2)
    whole = retrieval(queries @ gallery.T, positives, ignored=ignored)
    blocks = retrieval_of_vectors(queries, gallery, positives, ignored=ignored)
    assert blocks.ranks.tolist() == whole.ranks.tolist()
    assert blocks.masked.tolist() == whole.masked.tolist()
    assert blocks.figures() == whole.figures()


def test_figures_by_hand_where_each_picture_has_five_captions():
    # Two pictures, ten captions; 0-4 are the first's, whose best stands third; the second's stands first.
    similarity = np.array(
        [
            [0.1, 0.2, 0.7, 0.0, 0.3, 0.9, 0.8, 0.1, 0.1, 0.1],
            [0.6, 0.1, 0.1, 0.1, 0.1, 0.2, 0.9, 0.3, 0.1, 0.1],
        ]
    )
    positives = np.array([(picture, 5 * picture + caption) for picture in range(2) for caption in range(5)])
    figures = retrieval(similarity, positives).figures()
    assert (figures.recall_1, figures.recall_5, figures.recall_1pct) == (0.5, 1.0, 0.5)
    assert (figures.median_rank, figures.mean_rank) == (2.0, 2.0)
    assert figures.mrr == pytest.approx((1 / 3 + 1) / 2)
    # Captions to pictures: the first picture's 0 is nearer to the other, 3 too; 1, 2, 4 are right. The
    # second's 5 is wrong, 6 and 7 are right; 8 and 9 are ties.
    back = retrieval(similarity.T, positives[:, ::-1])
    assert back.ranks.tolist() == [1, 0, 0, 1, 0, 1, 0, 0, 1, 1]
    assert (back.recall(1), back.recall(2)) == (0.5, 1.0)


def test_semi_positives_count_as_wrong_in_recall_and_are_masked_in_the_hit_rate():
    # The first query's semi-positive outranks the truth, the second's truth is outranked by a wrong row too.
    similarity = np.array([[0.8, 0.9, 0.1, 0.0], [0.9, 0.3, 0.8, 0.7]])
    hits = retrieval(similarity, np.array([[0, 0], [1, 2]]), ignored=np.array([[0, 1], [1, 3]]))
    assert (hits.figures().recall_1, hits.figures().hit_rate) == (0.0, 0.5)
    assert hits.chance().hit_rate == pytest.approx(1 / 3)
    assert retrieval(similarity, np.array([[0, 0], [1, 2]])).figures().hit_rate is None


def test_one_percent_is_rounded_down_and_one_at_least():
    assert [one_percent(gallery) for gallery in (7, 100, 199, 8884)] == [1, 1, 1, 88]


def test_a_match_named_twice_is_one_and_a_query_without_any_is_not_counted():
    similarity = np.array([[0.1, 0.9, 0.5], [0.9, 0.5, 0.1]])
    hits = retrieval(similarity, np.array([[0, 0], [0, 0]]))
    assert hits.ranks[0] == 2
    assert hits.figures().queries == 1
    assert hits.figures().mean_rank == 3.0


def test_a_row_beyond_the_gallery_is_refused():
    with pytest.raises(ValueError, match="2 queries and 3 gallery rows"):
        retrieval(np.zeros((2, 3)), np.array([[0, 3]]))


def test_chance_is_what_random_orders_give_with_several_positives():
    rng = np.random.default_rng(5)
    relevant = np.repeat([1, 2, 5], 4000)
    positives = np.array([(q, g) for q, count in enumerate(relevant) for g in range(count)])
    hits = retrieval(rng.random((len(relevant), 40)), positives, ignored=positives + np.array([0, 5]))
    expected, measured = asdict(hits.chance()), asdict(hits.figures())
    for name in ("recall_1", "recall_5", "recall_10", "recall_1pct", "hit_rate"):
        sigma = np.sqrt(expected[name] * (1 - expected[name]) / len(relevant))
        assert abs(measured[name] - expected[name]) < 4 * sigma, name
    assert measured["mean_rank"] == pytest.approx(expected["mean_rank"], rel=0.03)
    assert measured["mrr"] == pytest.approx(expected["mrr"], rel=0.03)
    assert measured["median_rank"] == pytest.approx(expected["median_rank"], abs=1)


def test_chance_by_hand():
    # Two positives among five: C(3, 1)/C(5, 1) miss at one pick, C(3, 2)/C(5, 2) at two; mean place 6/3.
    hits = retrieval(np.zeros((1, 5)), np.array([[0, 0], [0, 1]]))
    assert hits.chance().recall_1 == pytest.approx(2 / 5)
    assert hits.chance().recall_5 == 1.0
    assert hits.chance().mean_rank == pytest.approx(2.0)
    assert hits.chance().mrr == pytest.approx(4 / 10 + 3 / 10 / 2 + 2 / 10 / 3 + 1 / 10 / 4)
    alone = retrieval(np.zeros((1, 10)), np.array([[0, 3]])).chance()
    assert (alone.median_rank, alone.mean_rank) == (5.5, 5.5)


def test_a_shuffled_pairing_scores_chance():
    vectors = unit_vectors(800, 16)
    shuffled = np.stack([np.arange(800), np.random.default_rng(3).permutation(800)], axis=1)
    hits = retrieval_of_vectors(vectors, vectors, shuffled)
    assert retrieval_of_vectors(vectors, vectors, one_to_one(800)).recall(1) == 1.0
    for k in (1, 10, 80):
        expected = k / 800
        assert abs(hits.recall(k) - expected) < 4 * np.sqrt(expected * (1 - expected) / 800)


def test_published_figures_are_of_datasets_that_are_there_and_of_the_side_that_asks():
    found = {
        (name, asks): [figure.figure for figure in published_figures(name, asks=asks, metric="R@1")]
        for name in dataset_names()
        for asks in ("left", "right")
    }
    # As the evaluation protocols list them.
    assert {key: figures for key, figures in found.items() if figures} == {
        ("cvusa", "left"): ["98.68 %"],
        ("vigor", "left"): ["77.86 %"],
        ("vigor_cross", "left"): ["61.09 %"],
        ("flickr30k", "left"): ["87.6 %"],
        ("flickr30k", "right"): ["75.7 %"],
        ("coco_captions", "left"): ["63.7 %"],
        ("coco_captions", "right"): ["45.6 %"],
    }
    assert published_figures(None, asks="left", metric="R@1") == ()


def test_an_interval_over_groups_is_as_wide_as_that_of_their_means():
    from lib.metrics import paired_interval
    from lib.retrieval import grouped_interval

    means = np.random.default_rng(0).normal(0.3, 1, 12)
    five_each, groups = np.repeat(means, 5), np.repeat(np.arange(12), 5)
    wide = grouped_interval(five_each, groups)
    assert wide == pytest.approx(paired_interval(means, np.zeros(12)), abs=1e-9)
    assert grouped_interval(five_each, np.zeros(60)) is None
