"""The index against numpy, on clustered unit vectors as features are."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lib.errors import ContractMismatchError, IndexTooSmallError, LakeError, QueryError
from lib.search.filters import clustered_share
from lib.search.index import EXACT_CANDIDATES, Hits, VectorIndex
from lib.search.kinds import choose_kind, kind_named

CONTRACT = "toy-64"
IVF = ("ivf_sq8", "ivf_pq4")
ALL = ("exact", *IVF)


def clustered(
    rows: int, *, dim: int = 64, clusters: int = 400, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Unit float16 vectors around shared centres, and each one's cluster."""
    centres = np.random.default_rng(99).standard_normal((clusters, dim))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, clusters, rows)
    vectors = centres[labels] + rng.standard_normal((rows, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16), labels


def unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def brute_force(vectors: np.ndarray, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> Hits:
    scores = queries @ unit(vectors).T
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return Hits(order, np.take_along_axis(scores, order, axis=1))


def recall(found: Hits, truth: Hits) -> float:
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(truth.ids, found.ids, strict=True)]))


@pytest.fixture(scope="module")
def stored() -> np.ndarray:
    return clustered(30_000)[0]


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return clustered(30_000)[1]


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return unit(clustered(100, seed=1)[0])


@pytest.fixture(scope="module")
def built(stored: np.ndarray) -> dict[str, VectorIndex]:
    """One index of each kind; tests that change one build their own."""
    return {kind: VectorIndex.build(stored, contract=CONTRACT, kind=kind) for kind in ALL}


def test_an_exact_index_equals_brute_force(built, stored, queries):
    found, truth = built["exact"].search(queries, k=20), brute_force(stored, queries, 20)
    assert found.ids.tolist() == truth.ids.tolist()
    np.testing.assert_allclose(found.scores, truth.scores, atol=1e-6)


@pytest.mark.parametrize("kind", IVF)
def test_an_ivf_index_finds_98_percent(built, stored, queries, kind):
    assert recall(built[kind].search(queries, k=10), brute_force(stored, queries, 10)) >= 0.98


@pytest.mark.parametrize("kind", ALL)
def test_scores_are_the_exact_cosines_of_the_rows_found(built, stored, queries, kind):
    found = built[kind].search(queries, k=10)
    cosines = np.einsum("qkd,qd->qk", unit(stored)[found.ids], queries)
    np.testing.assert_allclose(found.scores, cosines, atol=1e-6)
    assert (np.diff(found.scores, axis=1) <= 0).all()


def wide_filters(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Each lets more through than is compared one by one, so that the lists are searched."""
    masks = {
        "at random": np.random.default_rng(3).random(len(labels)) < 0.5,
        "some clusters": labels < 150,
        "most clusters": labels >= 60,
        "most of some clusters": (labels < 200) & (np.random.default_rng(4).random(len(labels)) < 0.8),
    }
    assert all(mask.sum() > EXACT_CANDIDATES for mask in masks.values())
    return masks


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("filtered", ["at random", "some clusters", "most clusters", "most of some clusters"])
def test_a_wide_filter_keeps_recall_even_where_it_goes_with_the_clusters(
    built, stored, labels, queries, kind, filtered
):
    allowed = wide_filters(labels)[filtered]
    found = built[kind].search(queries, k=10, allowed=allowed)
    assert allowed[found.ids].all()
    assert recall(found, brute_force(stored, queries, 10, allowed)) >= 0.98


@pytest.mark.parametrize("kind", IVF)
def test_the_more_a_filter_goes_with_the_clusters_the_more_lists_are_read(built, labels, kind):
    index, rng = built[kind], np.random.default_rng(3).random(len(labels))
    hole = np.ones(len(labels), bool)
    hole[np.flatnonzero(labels == 3)] = False
    at_random, with_a_hole, by_clusters = (
        index._effort(index._findable(mask), is_filtered=True)[0] for mask in (rng < 0.5, hole, labels < 200)
    )
    assert index.kind.nprobe < at_random < with_a_hole < by_clusters


def test_a_filter_is_known_by_the_share_of_its_variance_between_lists():
    lists = np.repeat([0, 1], 4)
    for mask, share in (
        ([1, 1, 1, 1, 0, 0, 0, 0], 1),
        ([1, 1, 0, 0, 1, 1, 0, 0], 0),
        ([1, 1, 1, 0, 1, 0, 0, 0], 0.25),
    ):
        assert clustered_share(np.array(mask, bool), lists) == pytest.approx(share)


@pytest.mark.parametrize("kind", ALL)
def test_a_narrow_filter_is_exact(built, stored, labels, queries, kind):
    allowed = labels == 7
    found, truth = (
        built[kind].search(queries, k=10, allowed=allowed),
        brute_force(stored, queries, 10, allowed),
    )
    assert found.ids.tolist() == truth.ids.tolist()


@pytest.mark.parametrize("kind", ALL)
def test_fewer_allowed_rows_than_k_are_all_found_and_nothing_pads_them(built, queries, kind):
    allowed = np.zeros(30_000, bool)
    allowed[[5, 29_999, 64]] = True
    found = built[kind].search(queries[:2], k=10, allowed=allowed)
    assert [sorted(row) for row in found.ids.tolist()] == [[5, 64, 29_999]] * 2
    assert built[kind].search(queries[:2], k=10, allowed=np.zeros(30_000, bool)).ids.shape == (2, 0)


@pytest.mark.parametrize("kind", ALL)
def test_k_beyond_the_rows_gives_every_row_once(kind):
    vectors, _ = clustered(300)
    found = VectorIndex.build(vectors, contract=CONTRACT, kind=kind).search(unit(vectors[:3]), k=1000)
    assert np.sort(found.ids, axis=1).tolist() == [list(range(300))] * 3


def test_equal_vectors_come_in_the_order_of_their_rows():
    vectors, _ = clustered(2000)
    vectors[[1900, 30, 77, *range(100, 400)]] = vectors[5]
    index = VectorIndex.build(vectors, contract=CONTRACT)
    found = index.search(unit(vectors[5:6]), k=3)
    assert found.ids.tolist() == [[5, 30, 77]]
    assert index.search_exactly(unit(vectors[5:6]), k=4).ids.tolist() == [[5, 30, 77, 100]]


@pytest.mark.parametrize("kind", ALL)
def test_an_added_row_is_found_by_its_own_vector(stored, kind):
    index = VectorIndex.build(stored[:5000], contract=CONTRACT, kind=kind)
    index.add(stored[5000:5003])
    index.add(stored[5003:5010])
    assert index.search(unit(stored[5000:5010]), k=1).ids[:, 0].tolist() == list(range(5000, 5010))
    assert index.search_exactly(unit(stored[5000:5010]), k=1).ids[:, 0].tolist() == list(range(5000, 5010))


@pytest.mark.parametrize("kind", ALL)
def test_a_removed_row_is_never_found_again(stored, queries, tmp_path, kind):
    index = VectorIndex.build(stored[:14_000], contract=CONTRACT, kind=kind)
    gone = np.unique(index.search(queries, k=5).ids)
    index.remove(gone)
    index.save(tmp_path / "index")
    wide, narrow = np.ones(14_000, bool), np.arange(14_000) < 9000
    for now in (index, VectorIndex.open(tmp_path / "index")):
        assert now.alive == 14_000 - len(gone)
        for allowed in (None, wide, narrow):
            assert not np.isin(now.search(queries, k=20, allowed=allowed).ids, gone).any()


@pytest.mark.parametrize("among", [9000, 13_000])
def test_a_filter_that_was_asked_before_a_removal_or_an_addition_knows_of_it(stored, among):
    index = VectorIndex.build(stored[:14_000], contract=CONTRACT, kind="ivf_sq8")
    query = unit(stored[5:6])
    allowed = np.arange(14_000) < among
    assert index.search(query, k=1, allowed=allowed).ids.tolist() == [[5]]
    index.remove(np.array([5]))
    assert index.search(query, k=1, allowed=allowed).ids.tolist() != [[5]]
    index.add(stored[5:6])
    grown = np.append(allowed, True)
    assert index.search(query, k=1, allowed=grown).ids.tolist() == [[14_000]]


def test_a_filter_that_its_owner_changed_is_another_filter(built, stored):
    query, allowed = unit(stored[5:6]), np.arange(30_000) < 8
    assert built["ivf_sq8"].search(query, k=1, allowed=allowed).ids.tolist() == [[5]]
    allowed[5] = False
    assert built["ivf_sq8"].search(query, k=1, allowed=allowed).ids.tolist() != [[5]]


def test_threads_that_share_an_index_find_what_one_finds(built, stored, labels, queries):
    asked = [
        (kind, at, None if at % 3 == 0 else labels < 20 * (at % 7 + 1)) for kind in ALL for at in range(20)
    ]

    def search(each):
        kind, at, allowed = each
        return built[kind].search(queries[at : at + 1], k=10, allowed=allowed).ids.tolist()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(search, asked)) == [search(each) for each in asked]


@pytest.mark.parametrize("kind", IVF)
def test_recall_stands_when_whole_clusters_were_removed(stored, labels, queries, kind):
    index = VectorIndex.build(stored, contract=CONTRACT, kind=kind)
    gone = labels < 80
    index.remove(np.flatnonzero(gone))
    assert recall(index.search(queries, k=10), brute_force(stored, queries, 10, ~gone)) >= 0.98


@pytest.mark.parametrize("kind", IVF)
def test_the_same_input_and_seed_make_the_same_index(stored, tmp_path, kind):
    blocks = (stored[first : first + 777] for first in range(0, 3000, 777))
    for name, source in (("whole", stored[:3108]), ("blocks", blocks)):
        # So little memory that it is trained on a sample.
        VectorIndex.build(source, contract=CONTRACT, kind=kind, seed=5, memory_bytes=1).save(tmp_path / name)
    files = ("codes.faiss", "vectors.npy")
    assert all((tmp_path / "whole" / f).read_bytes() == (tmp_path / "blocks" / f).read_bytes() for f in files)


def test_a_rebuild_is_due_after_many_removals_or_doubled_rows(stored):
    index = VectorIndex.build(stored[:1000], contract=CONTRACT, kind="ivf_sq8")
    index.add(stored[1000:2000])
    assert not index.needs_rebuild
    index.add(stored[2000:2001])
    assert "1,000 rows and holds 2,001" in index.rebuild_reason
    exact = VectorIndex.build(stored[:1000], contract=CONTRACT)
    exact.add(stored[1000:5000])
    exact.remove(np.arange(1000))
    assert not exact.needs_rebuild
    exact.remove(np.arange(1001))
    assert "1,001 of its 5,000 rows are removed" in exact.rebuild_reason


def test_an_empty_index_says_so():
    empty = VectorIndex.build(np.empty((0, 64), np.float16), contract=CONTRACT)
    with pytest.raises(IndexTooSmallError, match="empty"):
        empty.search(np.ones((1, 64), np.float32), k=1)
    with pytest.raises(IndexTooSmallError, match="no vectors"):
        VectorIndex.build(iter(()), contract=CONTRACT)


def test_what_is_no_unit_vector_is_refused_by_number(stored):
    vectors = stored[:100].copy()
    vectors[42] = np.nan
    with pytest.raises(LakeError, match="Vector 42 has length nan"):
        VectorIndex.build(vectors, contract=CONTRACT)
    index = VectorIndex.build(stored[:100], contract=CONTRACT)
    with pytest.raises(LakeError, match="length 0"):
        index.add(np.zeros((1, 64), np.float16))
    with pytest.raises(LakeError, match="another contract"):
        index.add(clustered(3, dim=32)[0])
    assert index.rows == 100


@pytest.mark.parametrize(
    ("query", "k", "error", "says"),
    [
        (np.ones((1, 64), np.float32), 0, QueryError, "k is 0"),
        (np.ones((1, 32), np.float32), 1, ContractMismatchError, "64 numbers"),
        (np.zeros((1, 64), np.float32), 1, QueryError, "all zeros"),
        (np.full((1, 64), np.nan, np.float32), 1, QueryError, "no number"),
    ],
)
def test_a_query_that_cannot_be_asked_says_why(built, query, k, error, says):
    with pytest.raises(error, match=says):
        built["exact"].search(query, k=k)


def test_a_filter_of_another_length_or_type_is_refused(built, queries):
    for wrong in (np.ones(29_999, bool), np.ones(30_000, np.int64)):
        with pytest.raises(QueryError, match="30000 booleans"):
            built["exact"].search(queries, k=1, allowed=wrong)


def test_no_queries_have_no_hits(built):
    for index in built.values():
        assert index.search(np.empty((0, 64), np.float32), k=5).ids.shape == (0, 5)


def test_the_kind_goes_by_rows_width_and_memory():
    plenty = 64 << 30
    assert choose_kind(100_000, 384, memory_bytes=plenty).name == "exact"
    assert choose_kind(100_000, 1392, memory_bytes=plenty).factory == "IVF1024,SQ8"
    wide = choose_kind(1_000_000, 384, memory_bytes=plenty)
    assert (wide.factory, wide.nprobe) == ("IVF4096,SQ8", 96)
    assert choose_kind(1_000_000, 384, memory_bytes=200 << 20).factory == "IVF4096,PQ192x4fs"
    assert choose_kind(10_000, 8192, memory_bytes=1).name == "exact"


def test_too_few_rows_for_a_kind_that_is_trained_are_refused():
    with pytest.raises(IndexTooSmallError, match="can't be trained on 255"):
        kind_named("ivf_sq8", 255, 64)
