"""`VectorIndex.search` against FAISS's own call on the same index, one vector at a time."""

from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np

from bench.figures import Figure, paired, seconds
from lib.search.index import VectorIndex

ROWS = 100_000
K = 10
GOAL = 1.5
_BLOCK = 5_000
_CLUSTERS = 1_000


def clustered(rows: int, dim: int, *, seed: int) -> Iterator[np.ndarray]:
    """Unit vectors around seeded centres, float16 (at most 5,000, dim) each."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((_CLUSTERS, dim), np.float32)
    for first in range(0, rows, _BLOCK):
        count = min(_BLOCK, rows - first)
        block = centres[random.integers(0, _CLUSTERS, count)]
        block = block + 0.7 * random.standard_normal((count, dim), np.float32)
        yield (block / np.linalg.norm(block, axis=1, keepdims=True)).astype(np.float16)


def measure_search(dim: int, name: str, *, queries: int, repeats: int) -> Figure:
    """The median time of a search, over FAISS's, with the same lists read by the same one thread.

    FAISS only ranks codes; ours fetches twice as many and ranks them again by the float16 vectors.
    """
    index = VectorIndex.build(clustered(ROWS, dim, seed=dim), contract="bench")
    asked = np.concatenate(list(clustered(queries, dim, seed=dim))).astype(np.float32)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    bare: Any = index._codes
    kind = index.kind
    params = faiss.SearchParametersIVF(nprobe=kind.nprobe) if kind.lists else None

    def ours() -> float:
        return _median_s(asked, lambda query: index.search(query, k=K))

    def theirs() -> float:
        before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        try:
            return _median_s(asked, lambda query: bare.search(query, K, params=params))
        finally:
            faiss.omp_set_num_threads(before)

    ours()
    theirs()
    # All queries one way, then all the other: a query asked twice in a row finds its lists in the cache.
    pairs = paired(ours, theirs, repeats=repeats)
    return Figure(
        f"search of {ROWS:,} x {dim} ({name}), p50",
        "a bare FAISS call on the same index",
        pairs.slowdowns,
        GOAL,
        is_at_most=True,
        detail=f"{1e3 * pairs.theirs_s:.2f} ms bare, {1e3 * pairs.ours_s:.2f} ms ours; {pairs.calm}; "
        f"{kind.name} ({kind.factory}), nprobe {kind.nprobe}, {kind.refine} x {K} rescored, "
        f"medians of {queries} queries",
    )


def _median_s(asked: np.ndarray, search: Any) -> float:
    return float(np.median([seconds(lambda at=at: search(asked[at : at + 1])) for at in range(len(asked))]))
