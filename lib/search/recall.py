"""How much an index finds of what is there, and the gate that an index passes before it is published."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lib.errors import IndexRejectedError, IndexTooSmallError

if TYPE_CHECKING:
    from lib.search.index import VectorIndex

RECALL_FLOOR = 0.98
# Past this a rescoring reads so many vectors that another kind of index is the better answer.
MOST_REFINE = 64
# Cosines of one pair, summed in another order, differ by some 1e-7.
SAME_SCORE = 1e-6


@dataclass(frozen=True, slots=True)
class RecallCheck:
    """What an index reached when it was checked, and with which settings."""

    recall: float
    k: int
    queries: int
    rows: int
    nprobe: int
    refine: int


def measure_recall(index: "VectorIndex", queries: np.ndarray, *, k: int = 10) -> float:
    """Share of the true k nearest that the index finds, over unfiltered queries.

    A hit counts when it is as near as the k-th true one: of equal vectors (a still's frames), any will do.

    Args:
        index: With at least one row that isn't removed.
        queries: Unit float32, (queries, dim); best such as the index doesn't hold.
        k: Neighbours to find.
    """
    return _share_found(index, queries, _kth_scores(index, queries, k), k)


def check_publishable(
    index: "VectorIndex", held_queries: np.ndarray, *, floor: float = RECALL_FLOOR, k: int = 10
) -> RecallCheck:
    """Measure recall; where it is short of the floor, search harder step by step until it isn't.

    The settings that reached the floor stay with the index, and with what it saves, as does the figure.

    Raises:
        IndexRejectedError: Reading every list and rescoring the most candidates isn't enough.
    """
    bar = _kth_scores(index, held_queries, k)
    recall = _share_found(index, held_queries, bar, k)
    first = recall
    while recall < floor:
        steps = _harder(index)
        if not steps:
            raise IndexRejectedError(
                f"The new {index.kind.name} index finds {recall:.3f} of the true {k} nearest over "
                f"{len(held_queries)} held queries ({first:.3f} before its settings were raised to nprobe "
                f"{index.kind.nprobe} and refine {index.kind.refine}); {floor:g} is due. The index before it "
                "stays. Build it as kind 'ivf_sq8', or as 'exact', which misses nothing."
            )
        # Whichever of the two lacks more: lists that were never read, or neighbours lost to coarse codes.
        outcomes = []
        for nprobe, refine in steps:
            index.tune(nprobe=nprobe, refine=refine)
            outcomes.append((_share_found(index, held_queries, bar, k), nprobe, refine))
        recall, nprobe, refine = max(outcomes, key=lambda outcome: outcome[0])
        index.tune(nprobe=nprobe, refine=refine)
    check = RecallCheck(recall, k, len(held_queries), index.alive, index.kind.nprobe, index.kind.refine)
    index.recall = check
    return check


def held_queries(vectors: np.ndarray, count: int = 256, *, seed: int = 0) -> np.ndarray:
    """Queries that no row answers with itself: each lies between two stored vectors, three parts to one.

    Args:
        vectors: Unit vectors, (rows, dim), any float.
        count: Queries to make.
        seed: Of the choice.
    """
    if not len(vectors):
        raise IndexTooSmallError("There are no vectors to make queries from.")
    near, far = np.random.default_rng(seed).integers(0, len(vectors), (2, count))
    mixed = 0.75 * vectors[near].astype(np.float32) + 0.25 * vectors[far].astype(np.float32)
    return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), dtype=np.float32)


def _harder(index: "VectorIndex") -> list[tuple[int, int]]:
    """The next settings to try: more rescoring first, for it costs less."""
    kind = index.kind
    steps = []
    if kind.lists and kind.refine < MOST_REFINE:
        steps.append((kind.nprobe, min(MOST_REFINE, 2 * kind.refine)))
    if kind.nprobe < kind.lists:
        steps.append((min(kind.lists, 2 * kind.nprobe), kind.refine))
    return steps


def _kth_scores(index: "VectorIndex", queries: np.ndarray, k: int) -> np.ndarray:
    return index.search_exactly(queries, k=k).scores


def _share_found(index: "VectorIndex", queries: np.ndarray, true_scores: np.ndarray, k: int) -> float:
    found = index.search(queries, k=k).scores
    return float(np.mean(found >= true_scores[:, -1:] - SAME_SCORE))
