"""Every metric of the protocols, once. Numpy only at import; nothing here decodes, embeds or searches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

# By where they stand in a matrix product, equal vectors may get similarities that differ in the last bits:
# one this little below the true one is a tie.
TIE = 1e-6
NEVER = np.iinfo(np.int64).max
_BLOCK_CELLS = 1 << 22  # similarities held at once, whatever the gallery's size

Reduce = Literal["mean", "max"]


# Retrieval


@dataclass(frozen=True, slots=True)
class FirstHits:
    """How far down each query's list its first hit stands.

    Attributes:
        ranks: 0 is the top; `NEVER` where the gallery holds no hit. Shape (queries,), int64.
        relevant: How many hits the gallery holds for the query, shape (queries,).
        candidates: How many rows the query was ranked against, shape (queries,).
    """

    ranks: np.ndarray
    relevant: np.ndarray
    candidates: np.ndarray

    def recall(self, k: int) -> float:
        """R@k: the share of queries with a hit among the first k."""
        return float((self.ranks < k).mean()) if len(self.ranks) else 0.0

    def chance(self, k: int) -> float:
        """R@k of a random order: 1 - C(N - r, k) / C(N, k), averaged over the queries."""
        if not len(self.ranks):
            return 0.0
        misses = np.ones(len(self.ranks))
        for place in range(k):
            left = np.maximum(self.candidates - place, 1)
            misses *= np.clip((self.candidates - self.relevant - place) / left, 0.0, 1.0)
        return float((1.0 - misses).mean())


@dataclass(frozen=True, slots=True)
class Gallery:
    """What queries are ranked against.

    Attributes:
        vectors: Unit vectors, shape (rows, dim).
        classes: Which classes each row shows (`one_class_each`, `overlapping_classes`), bool, shape (rows,
            classes).
        groups: Where each row comes from, say its video, shape (rows,): a query never meets its own. None: it
            meets all.
    """

    vectors: np.ndarray
    classes: np.ndarray
    groups: np.ndarray | None = None


def first_hits(similarity: np.ndarray, hit: np.ndarray, met: np.ndarray | None = None) -> FirstHits:
    """Rank each query's best hit: how many rows that are none are at least as similar. Ties count against us.

    Args:
        similarity: Of each query with each row, shape (queries, rows).
        hit: Which rows are right for the query, bool, same shape.
        met: Which rows the query is ranked against, bool, same shape; all if None.
    """
    met = np.ones_like(hit) if met is None else met
    hit = hit & met
    relevant = hit.sum(axis=1)
    best = np.where(hit, similarity, -np.inf).max(axis=1, initial=-np.inf)
    # Not "at least as similar": what can't be compared (NaN) counts against us too.
    outranking = ~(similarity < (best - TIE)[:, None]) & met & ~hit
    return FirstHits(np.where(relevant > 0, outranking.sum(axis=1), NEVER), relevant, met.sum(axis=1))


def retrieval_hits(queries: np.ndarray, gallery: np.ndarray, truth: np.ndarray) -> FirstHits:
    """Rank the one true row of each query among all.

    Args:
        queries: Unit vectors, shape (queries, dim).
        gallery: Unit vectors, shape (rows, dim).
        truth: The true row's number for each query, shape (queries,).
    """
    rows = np.arange(len(gallery))
    blocks = [
        first_hits(similarity, truth[part][:, None] == rows)
        for part, similarity in _similarities(queries, gallery)
    ]
    return _stacked(blocks)


def class_hits(
    queries: np.ndarray, classes: np.ndarray, gallery: Gallery, *, groups: np.ndarray | None = None
) -> FirstHits:
    """Rank the best row that shows the query's class.

    Args:
        queries: Unit vectors, shape (queries, dim).
        classes: Each query's class, a column of `gallery.classes`, shape (queries,).
        gallery: What they are ranked against.
        groups: Each query's own group, left out of its ranking; needs a gallery with groups.
    """
    blocks = []
    for part, similarity in _similarities(queries, gallery.vectors):
        met = None
        if groups is not None and gallery.groups is not None:
            met = groups[part][:, None] != gallery.groups[None, :]
        blocks.append(first_hits(similarity, gallery.classes.T[classes[part]], met))
    return _stacked(blocks)


def one_class_each(labels: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Rows by classes, bool: row i shows the class names[c] and no other."""
    return np.asarray(np.asarray(labels)[:, None] == np.asarray(names)[None, :])


def overlapping_classes(
    spans: Sequence[tuple[float, float]],
    annotations: Sequence[Sequence[tuple[str, float, float]]],
    *,
    names: Sequence[str],
) -> np.ndarray:
    """Rows by classes, bool: a window of an untrimmed video shows a class whose segment it overlaps.

    Args:
        spans: Each window's start and end, seconds.
        annotations: For each window, its video's segments: label, start, end.
        names: The classes, in column order.
    """
    shows = np.zeros((len(spans), len(names)), dtype=bool)
    column = {name: c for c, name in enumerate(names)}
    for row, ((start, end), segments) in enumerate(zip(spans, annotations, strict=True)):
        for label, since, until in segments:
            if label in column and min(end, until) > max(start, since):
                shows[row, column[label]] = True
    return shows


def average_precision(
    ranks: Sequence[int], *, positives: int | None = None, trapezoidal: bool = False
) -> float:
    """Mean over the positives of the precision where each is found.

    Args:
        ranks: Where the positives stand in the list, from 0, ascending.
        positives: How many there are in all; those not ranked count 0. Default: all are ranked.
        trapezoidal: Mean of the precision before and at each one, as the Oxford and Paris evaluation does.
    """
    total = len(ranks) if positives is None else positives
    if not total:
        return 0.0
    place = np.asarray(ranks, dtype=np.float64)
    before = np.arange(len(place))
    precision = (before + 1) / (place + 1)
    if trapezoidal:
        precision = (precision + np.where(place > 0, before / np.maximum(place, 1), 1.0)) / 2
    return float(precision.sum() / total)


def _similarities(queries: np.ndarray, gallery: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Cosines with every row, some queries at a time: a gallery of 100,000 never makes a square matrix."""
    columns = gallery.T.astype(np.float32, copy=False)
    step = max(1, _BLOCK_CELLS // max(1, len(gallery)))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        yield part, queries[part].astype(np.float32, copy=False) @ columns


def _stacked(blocks: list[FirstHits]) -> FirstHits:
    empty = np.zeros(0, dtype=np.int64)
    return FirstHits(
        np.concatenate([empty, *(block.ranks for block in blocks)]),
        np.concatenate([empty, *(block.relevant for block in blocks)]),
        np.concatenate([empty, *(block.candidates for block in blocks)]),
    )


# Summaries against users


def knapsack(lengths: np.ndarray, values: np.ndarray, capacity: int) -> np.ndarray:
    """The subset of greatest value whose lengths fit the capacity: exact 0/1 knapsack.

    Args:
        lengths: Whole numbers ≥ 0, shape (n,).
        values: What each is worth, shape (n,).
        capacity: What the chosen may take together; time is O(n * capacity), memory a bit for each.

    Returns:
        Which are chosen, bool, shape (n,).
    """
    worth = np.zeros(max(capacity, 0) + 1)
    taken: list[np.ndarray] = []
    for length, value in zip(lengths, values, strict=True):
        gain = np.full(len(worth), -np.inf)
        if length < len(worth):
            gain[length:] = worth[: len(worth) - length] + value
        better = gain > worth
        worth = np.where(better, gain, worth)
        taken.append(np.packbits(better))
    chosen = np.zeros(len(taken), dtype=bool)
    left = len(worth) - 1
    for item in reversed(range(len(taken))):
        if taken[item][left >> 3] >> (7 - (left & 7)) & 1:
            chosen[item] = True
            left -= int(lengths[item])
    return chosen


def keyshots(scores: np.ndarray, edges: np.ndarray, *, budget: float = 0.15) -> np.ndarray:
    """The protocol's summary: shots chosen by knapsack on their mean score, within a share of the frames.

    Args:
        scores: A score for every frame of the video, shape (frames,).
        edges: The shots' first frames, then the frame count: shape (shots + 1,).
        budget: Share of the frames that the summary may hold.

    Returns:
        Which frames are in it, bool, shape (frames,).
    """
    lengths = np.diff(edges)
    means = np.add.reduceat(scores, edges[:-1]) / lengths
    return np.repeat(knapsack(lengths, means, int(budget * len(scores) + 1e-9)), lengths)


def summary_f(machine: np.ndarray, users: np.ndarray, *, reduce: Reduce) -> float:
    """F of a summary against each user's: their mean (TVSum) or the best of them (SumMe).

    Args:
        machine: Which frames the summary holds, bool, shape (frames,).
        users: The same for each user, shape (users, frames).
        reduce: "mean" or "max".
    """
    users = users.astype(bool)
    sizes = machine.sum() + users.sum(axis=1)
    f = 2.0 * (users & machine.astype(bool)).sum(axis=1) / np.maximum(sizes, 1)
    return float(f.mean() if reduce == "mean" else f.max())


def rank_correlations(machine: np.ndarray, users: np.ndarray) -> tuple[float, float]:
    """Kendall's tau-b and Spearman's rho of a video's scores with each user's, averaged over the users.

    Scores that don't vary rank nothing: they correlate 0, rather than dropping out of the mean.

    Args:
        machine: Scores, shape (frames,).
        users: Scores of the same frames, shape (users, frames).
    """
    from scipy.stats import kendalltau, rankdata

    ranks = rankdata(np.vstack([machine, users]), axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    spread = np.linalg.norm(ranks, axis=1)
    if not spread[0]:
        return 0.0, 0.0
    rho = ranks[1:] @ ranks[0] / np.where(spread[1:] > 0, spread[1:] * spread[0], 1.0)
    tau = [
        float(kendalltau(machine, user)[0]) if varies else 0.0
        for user, varies in zip(users, spread[1:] > 0, strict=True)
    ]
    return float(np.mean(tau)), float(rho.mean())


# Summaries where nobody annotated anything


def coverage(features: np.ndarray, chosen: np.ndarray) -> float:
    """Mean cosine of every frame with the nearest chosen one: 1 if nothing is missed, 0 if nothing is chosen.

    Args:
        features: Unit vectors, shape (frames, dim).
        chosen: Which frames the summary holds, bool, shape (frames,).
    """
    if not chosen.any():
        return 0.0
    nearest = [similarity.max(axis=1) for _, similarity in _similarities(features, features[chosen])]
    return float(np.concatenate(nearest).mean())


def scene_recall(
    cuts_s: Sequence[float],
    segments: Sequence[tuple[float, float]],
    *,
    duration_s: float,
    touch_s: float = 0.5,
) -> float:
    """Share of the true scenes that a summary shows.

    Args:
        cuts_s: Where scenes change, seconds, ascending; n cuts make n + 1 scenes.
        segments: What the summary shows: start and end, seconds, not overlapping.
        duration_s: The film's length.
        touch_s: A scene counts once this much of it is shown (or half of it, if that is less): a shot whose
            edge is a frame off doesn't show the next scene.
    """
    edges = [0.0, *cuts_s, duration_s]
    shown = 0
    for start, end in pairwise(edges):
        seen = sum(max(0.0, min(end, until) - max(start, since)) for since, until in segments)
        shown += seen > 0 and seen >= min(touch_s, (end - start) / 2) - 1e-9
    return shown / (len(edges) - 1)


def boundary_f1(found_s: Sequence[float], true_s: Sequence[float], *, tolerance_s: float) -> float:
    """F1 of found cuts, each matched with one true cut at most, within the tolerance; 1 if there are none."""
    found, true = sorted(found_s), sorted(true_s)
    if not found and not true:
        return 1.0
    f = t = matched = 0
    # Both ascending and one tolerance: matching whatever comes first matches as many as can be.
    while f < len(found) and t < len(true):
        if abs(found[f] - true[t]) <= tolerance_s + 1e-9:
            matched, f, t = matched + 1, f + 1, t + 1
        elif found[f] < true[t]:
            f += 1
        else:
            t += 1
    return 2 * matched / (len(found) + len(true))


# How sure a difference is


def paired_interval(
    ours: np.ndarray, naive: np.ndarray, *, draws: int = 2000, seed: int = 0
) -> tuple[float, float] | None:
    """95 % interval of the mean gain over the same cases, by bootstrap over cases; None for fewer than two.

    Args:
        ours: A figure for each case, shape (cases,).
        naive: The other method's on the same cases, shape (cases,).
        draws: Resamplings.
        seed: Of the resampling.
    """
    gain = np.asarray(ours, np.float64) - np.asarray(naive, np.float64)
    if len(gain) < 2:
        return None
    picked = np.random.default_rng(seed).integers(0, len(gain), (draws, len(gain)))
    low, high = np.quantile(gain[picked].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)
