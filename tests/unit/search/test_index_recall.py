"""The gate before publishing."""

import numpy as np
import pytest

from lib.errors import IndexRejectedError
from lib.search.index import VectorIndex
from lib.search.recall import check_publishable, held_queries, measure_recall


def clustered(rows: int, *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    drawn = np.random.default_rng(9).standard_normal((200, 64))[rng.integers(0, 200, rows)]
    drawn = drawn + 0.5 * rng.standard_normal((rows, 64))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)


@pytest.fixture(scope="module")
def stored() -> np.ndarray:
    return clustered(12_000)


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return clustered(100, seed=1).astype(np.float32)


def test_recall_is_the_share_of_true_neighbours_found(stored, queries):
    index = VectorIndex.build(stored, contract="toy", kind="ivf_sq8")
    index.tune(nprobe=1, refine=1)
    true = np.argsort(-(queries @ stored.astype(np.float32).T), axis=1)[:, :10]
    found = index.search(queries, k=10).ids
    by_hand = np.mean([np.isin(a, b).mean() for a, b in zip(true, found, strict=True)])
    assert 0.3 < by_hand < 0.98
    assert measure_recall(index, queries) == pytest.approx(by_hand, abs=0.005)


def test_an_exact_index_has_recall_1_even_among_equal_vectors(stored):
    still = np.repeat(stored[:3], 100, axis=0)
    index = VectorIndex.build(still, contract="toy")
    index.remove(np.arange(5))
    assert measure_recall(index, still[::40].astype(np.float32)) == 1


def test_an_index_short_of_the_floor_searches_harder_and_remembers_it(stored, queries, tmp_path):
    index = VectorIndex.build(stored, contract="toy", kind="ivf_pq4")
    index.tune(nprobe=1, refine=1)
    check = check_publishable(index, queries)
    assert check.recall >= 0.98
    assert check.nprobe > 1
    assert check.refine > 1
    index.save(tmp_path / "index")
    opened = VectorIndex.open(tmp_path / "index")
    assert opened.recall == check
    assert measure_recall(opened, queries) == check.recall


def test_only_the_setting_that_lacks_is_raised(stored, queries):
    index = VectorIndex.build(stored, contract="toy", kind="ivf_pq4")
    enough = index.kind.lists // 2
    index.tune(nprobe=enough, refine=1)
    check = check_publishable(index, queries)
    assert (check.nprobe, index.kind.nprobe) == (enough, enough)
    assert index.kind.refine == check.refine > 1


def test_a_good_index_keeps_its_settings(stored, queries):
    index = VectorIndex.build(stored, contract="toy", kind="ivf_sq8")
    kind = index.kind
    check_publishable(index, queries)
    assert index.kind == kind


def test_an_index_whose_codes_belong_to_other_vectors_is_rejected(stored, queries):
    index = VectorIndex.build(stored, contract="toy", kind="ivf_sq8")
    index._codes = VectorIndex.build(clustered(12_000, seed=5), contract="toy", kind="ivf_sq8")._codes
    with pytest.raises(IndexRejectedError, match=r"finds 0\.\d+ of the true 10.*0\.98 is due.*'exact'"):
        check_publishable(index, queries)
    assert index.recall is None


def test_held_queries_are_unit_vectors_that_no_row_holds(stored):
    queries = held_queries(stored, 50)
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-6)
    nearest = VectorIndex.build(stored, contract="toy").search(queries, k=1).scores
    assert nearest.max() < 0.9999
    assert nearest.min() > 0.6
