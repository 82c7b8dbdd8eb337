"""Cross-modal retrieval: how far down each query's list its best match stands, and what chance would give.

Numpy only. `lib.metrics` ranks against classes and single truths; here a query may have several positives
(five captions a picture, identical reports), and rows may be neither right nor wrong (semi-positives).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from lib.metrics import NEVER, TIE

_BLOCK_CELLS = 1 << 23  # similarities held at once, whatever the gallery's size


@dataclass(frozen=True, slots=True)
class Figures:
    """What a retrieval report prints, of one direction.

    Attributes:
        recall_1: R@1, the share of queries with a positive at the top; and so on for 5 and 10.
        recall_5: R@5.
        recall_10: R@10.
        recall_1pct: R@1%, that is R@k with k = ⌊N / 100⌋ of a gallery of N, and 1 below a hundred.
        median_rank: Of the best positive, the top being 1.
        mean_rank: The same.
        mrr: Mean of 1 / that rank.
        hit_rate: R@1 with the ignored rows masked (VIGOR's hit rate); None where none are ignored.
        queries: How many were ranked: those that have a positive.
        gallery: How many rows they were ranked against.
    """

    recall_1: float
    recall_5: float
    recall_10: float
    recall_1pct: float
    median_rank: float
    mean_rank: float
    mrr: float
    hit_rate: float | None
    queries: int
    gallery: int


@dataclass(frozen=True, slots=True)
class Retrieval:
    """How far down each query's list its best positive stands.

    Attributes:
        ranks: How many rows that are no positives are at least as similar as the best positive: 0 is the top.
            `NEVER` where a query has no positive. Shape (queries,), int64.
        masked: The same with the ignored rows masked; None where none are ignored.
        relevant: How many positives each query has, shape (queries,).
        ignored: How many ignored rows each query has, shape (queries,).
        gallery: How many rows there are.
    """

    ranks: np.ndarray
    masked: np.ndarray | None
    relevant: np.ndarray
    ignored: np.ndarray
    gallery: int

    def recall(self, k: int) -> float:
        """R@k, the share of queries with a positive among the first k; those without any aren't counted."""
        ranked = self.ranks[self.relevant > 0]
        return float((ranked < k).mean()) if len(ranked) else 0.0

    def figures(self) -> Figures:
        """Everything that was measured."""
        is_ranked = self.relevant > 0
        place = self.ranks[is_ranked] + 1.0
        none = not len(place)
        masked = None if self.masked is None else self.masked[is_ranked]
        return Figures(
            *self._recalls(self.recall),
            median_rank=float("nan") if none else float(np.median(place)),
            mean_rank=float("nan") if none else float(place.mean()),
            mrr=0.0 if none else float((1 / place).mean()),
            hit_rate=None if masked is None else float((masked == 0).mean()) if len(masked) else 0.0,
            queries=len(place), gallery=self.gallery,
        )  # fmt: skip

    def chance(self) -> Figures:
        """The expectation of each figure when the order is random, in closed form.

        With r positives among N rows the first k hold none of them with probability C(N - r, k) / C(N, k),
        and that curve over k gives the rest. The median is where a query's chance to be found reaches a half,
        averaged over the queries.
        """
        is_ranked = self.relevant > 0
        none = not is_ranked.any()
        counts, times = np.unique(self.relevant[is_ranked], return_counts=True)
        missed = np.zeros(self.gallery + 1)  # by k, the share of queries that find nothing among the first k
        for relevant, share in zip(counts, times / max(1, times.sum()), strict=True):
            missed += share * _missed(self.gallery, int(relevant))
        found = 1 - missed if not none else missed
        place = np.arange(1, self.gallery + 1)
        hit_rate = None
        if self.masked is not None:
            met = np.maximum(self.gallery - self.ignored[is_ranked], 1)
            hit_rate = 0.0 if none else float((self.relevant[is_ranked] / met).mean())
        return Figures(
            *self._recalls(lambda k: float(found[min(k, self.gallery)])),
            median_rank=float("nan") if none else _half_way(found),
            mean_rank=float("nan") if none else float(missed[:-1].sum()),
            mrr=float((np.diff(found) / place).sum()),
            hit_rate=hit_rate,
            queries=int(is_ranked.sum()), gallery=self.gallery,
        )  # fmt: skip

    def _recalls(self, at: Callable[[int], float]) -> tuple[float, float, float, float]:
        return at(1), at(5), at(10), at(one_percent(self.gallery))


def one_percent(gallery: int) -> int:
    """The k of R@1%: ⌊N / 100⌋, but 1 at least, so that a gallery below a hundred has one."""
    return max(1, gallery // 100)


def grouped_interval(
    gain: np.ndarray, groups: np.ndarray, *, draws: int = 2000, seed: int = 0
) -> tuple[float, float] | None:
    """95 % interval of a mean, by bootstrap over groups: five captions of a picture are no five cases.

    Args:
        gain: A figure for each case, shape (cases,).
        groups: The number of each case's group, shape (cases,).
        draws: Resamplings.
        seed: Of the resampling.

    Returns:
        None for fewer than two groups.
    """
    _, codes = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(codes, np.asarray(gain, np.float64)), np.bincount(codes)
    if len(sums) < 2:
        return None
    picked = np.random.default_rng(seed).integers(0, len(sums), (draws, len(sums)))
    low, high = np.quantile(sums[picked].sum(axis=1) / counts[picked].sum(axis=1), (0.025, 0.975))
    return float(low), float(high)


def retrieval(
    similarity: np.ndarray, positives: np.ndarray, *, ignored: np.ndarray | None = None
) -> Retrieval:
    """Rank by similarities that are there.

    Ties count against the query, and so does what can't be compared (NaN): a collapsed model, all of whose
    similarities are equal, scores 0.

    Args:
        similarity: Of each query with each row of the gallery, shape (queries, gallery).
        positives: (query, gallery row) of each match, int, shape (m, 2); a match named twice is one.
        ignored: (query, gallery row) of what is neither right nor wrong, shape (m, 2). It counts as wrong in
            all figures but the hit rate, as in VIGOR's protocol; what is a match as well is a match.

    Raises:
        ValueError: A row number is beyond the queries or the gallery.
    """
    rows, columns = similarity.shape
    return _ranked(iter([(slice(0, rows), similarity)]), (rows, columns), positives, ignored)


def retrieval_of_vectors(
    queries: np.ndarray, gallery: np.ndarray, positives: np.ndarray, *, ignored: np.ndarray | None = None
) -> Retrieval:
    """The same by cosine, a few queries at a time: no matrix of all queries by all rows is ever held.

    Args:
        queries: Unit vectors, shape (queries, dim), float32 or float16.
        gallery: Unit vectors, shape (gallery, dim).
        positives: As for `retrieval`.
        ignored: As for `retrieval`.
    """
    shape = len(queries), len(gallery)
    return _ranked(_similarities(queries, gallery), shape, positives, ignored)


def _similarities(queries: np.ndarray, gallery: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    columns = gallery.T.astype(np.float32, copy=False)
    step = max(1, _BLOCK_CELLS // max(1, len(gallery)))
    for start in range(0, len(queries), step):
        part = slice(start, min(start + step, len(queries)))
        yield part, queries[part].astype(np.float32, copy=False) @ columns


def _ranked(
    blocks: Iterator[tuple[slice, np.ndarray]],
    shape: tuple[int, int],
    positives: np.ndarray,
    ignored: np.ndarray | None,
) -> Retrieval:
    right = _cells(positives, shape)
    neither = None if ignored is None else np.setdiff1d(_cells(ignored, shape), right, assume_unique=True)
    ranks = np.full(shape[0], NEVER)
    masked = None if neither is None else ranks.copy()
    for part, similarity in blocks:
        query, row = _within(right, part, shape[1])
        best = np.full(len(similarity), -np.inf, np.float64)
        # A positive that is no number is no better than nothing: everything outranks it.
        np.maximum.at(best, query, np.nan_to_num(similarity[query, row].astype(np.float64), nan=-np.inf))
        least = (best - TIE).astype(similarity.dtype)[:, None]
        outranking = ~(similarity < least)
        outranking[query, row] = False
        has_positive = np.bincount(query, minlength=len(similarity)) > 0
        counted = np.count_nonzero(outranking, axis=1)
        ranks[part][has_positive] = counted[has_positive]
        if neither is not None and masked is not None:
            query, row = _within(neither, part, shape[1])
            outranking[query, row] = False
            counted = np.count_nonzero(outranking, axis=1)
            masked[part][has_positive] = counted[has_positive]
    return Retrieval(
        ranks,
        masked,
        np.bincount(right // max(1, shape[1]), minlength=shape[0]),
        np.bincount((right[:0] if neither is None else neither) // max(1, shape[1]), minlength=shape[0]),
        shape[1],
    )


def _cells(pairs: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Pairs as numbers of cells of the (queries, gallery) matrix, ascending, each once."""
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    if len(pairs) and (pairs.min() < 0 or (pairs.max(0) >= shape).any()):
        low, high = pairs.min(0).tolist(), pairs.max(0).tolist()
        raise ValueError(
            f"pairs name rows {low} to {high} of {shape[0]} queries and {shape[1]} gallery rows, "
            "which count from 0"
        )
    return np.unique(pairs[:, 0] * shape[1] + pairs[:, 1])


def _within(cells: np.ndarray, part: slice, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Those cells that lie in a block of queries: the query's number in it, and the gallery row."""
    first, last = np.searchsorted(cells, (part.start * columns, part.stop * columns))
    query, row = np.divmod(cells[first:last], max(1, columns))
    return query - part.start, row


def _missed(gallery: int, relevant: int) -> np.ndarray:
    """C(N - r, k) / C(N, k) for k = 0 … N."""
    place = np.arange(gallery)
    return np.concatenate([[1.0], np.cumprod(np.maximum(gallery - relevant - place, 0) / (gallery - place))])


def _half_way(found: np.ndarray) -> float:
    """The median of a rank from the chance to stand among the first k, k = 0 … N."""
    first = int(np.argmax(found >= 0.5 - 1e-9))
    # As `np.median` has it: between two ranks where one half lies on each side.
    return first + 0.5 if abs(found[first] - 0.5) < 1e-9 else float(first)
