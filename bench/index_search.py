"""`VectorIndex.search` against FAISS's own calls on the same index, and its recall against an exact scan."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import faiss
import numpy as np

from bench.figures import Figure, Pairs, paired, seconds
from bench.index_material import BATCH, SHARES, Filter, K, Material, as_unit, recall_of
from lib.search.index import VectorIndex

GOAL, P50_LIMIT_S, RECALL_GOAL = 1.2, 2.5e-3, 0.98


class Spell(float):
    """The median of many searches, in seconds; `p99` is their 99th percentile."""

    p99: float

    @classmethod
    def of(cls, search: Callable[[np.ndarray], Any], asked: list[np.ndarray]) -> "Spell":
        """Time a search of each."""
        times_s = [seconds(partial(search, each)) for each in asked]
        spell = cls(np.median(times_s))
        spell.p99 = float(np.percentile(times_s, 99))
        return spell


@dataclass(frozen=True, slots=True)
class Effort:
    """How often is asked."""

    single: int  # queries alone
    filtered: int  # of these under each filter
    batches: int
    filtered_batches: int
    repeats: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked at a time: one query or a batch, under a filter or none."""

    filter: Filter | None
    queries: list[np.ndarray]
    truth: np.ndarray  # (queries, K): the true scores of the first so many of them

    @property
    def is_single(self) -> bool:
        """Whether queries are asked one at a time."""
        return len(self.queries[0]) == 1

    @property
    def name(self) -> str:
        """For a figure."""
        many = len(self.queries[0])
        what = "one query" if many == 1 else f"a batch of {many}"
        return what if self.filter is None else f"{what}, --where {self.filter.name}"

    @property
    def first(self) -> np.ndarray:
        """The queries whose truth is known."""
        return np.concatenate(self.queries)[: len(self.truth)]


def all_asked(material: Material, effort: Effort) -> tuple[list[Asked], list[Asked]]:
    """Everything that is timed (no filter and filters at random), and what only recall is measured of."""
    random = [material.at_random(share) for share in SHARES]
    clusters = [material.by_clusters(share) for share in SHARES]
    clusters += [material.half_of_clusters(share) for share in SHARES[1:2]]
    filters: list[Filter | None] = [None, *random, *clusters]
    known = material.queries[: effort.filtered]
    truths = material.true_scores(known, [each.rows if each else None for each in filters])
    timed = []
    for each, truth in zip(filters[: 1 + len(random)], truths, strict=False):
        count = effort.single if each is None else effort.filtered
        single = [material.queries[at : at + 1] for at in range(count)]
        several = range(effort.batches if each is None else effort.filtered_batches)
        batches = [material.queries[at * BATCH : (at + 1) * BATCH] for at in several]
        timed += [Asked(each, single, truth), Asked(each, batches, truth[: len(several) * BATCH])]
    told = [
        Asked(each, [known[at : at + 1] for at in range(len(known))], truth)
        for each, truth in zip(filters[1 + len(random) :], truths[1 + len(random) :], strict=True)
    ]
    return timed, told


def measure_search(
    material: Material, index: VectorIndex, timed: list[Asked], untimed: list[Asked], *, repeats: int
) -> list[Figure]:
    """Times over FAISS's on the same lists with the same threads, and recalls."""
    figures = []
    for asked in timed:
        figures += _against_bare(material, index, asked, repeats=repeats)
    figures += _against_refined(material, index, timed[:2], repeats=repeats)
    recalls = {
        asked.name: recall_by(ours_of(index, asked), asked) for asked in [timed[0], *timed[2::2], *untimed]
    }
    without, *filtered = recalls.items()
    for name, told in (("", [without]), (", --where", filtered)):
        figures.append(
            Figure(
                f"recall@{K}, {material.size}{name}{', the least' if name else ''}",
                "an exact scan of all vectors",
                (min(recall for _, recall in told),),
                RECALL_GOAL,
                detail="; ".join(f"{each}: {recall:.4f}" for each, recall in told)
                + f"; {len(timed[0].truth)} queries of another draw than the rows",
            )
        )
    return figures


def ours_of(index: VectorIndex, asked: Asked) -> Callable[[np.ndarray], Any]:
    """Our search under the filter's mask."""
    allowed = asked.filter.rows if asked.filter else None
    return lambda queries: index.search(queries, k=K, allowed=allowed)


def _against_bare(material: Material, index: VectorIndex, asked: Asked, *, repeats: int) -> list[Figure]:
    codes: Any = index._codes
    among = index._findable(asked.filter.rows) if asked.filter else index._standing
    nprobe, _ = index._effort(among, is_filtered=asked.filter is not None)
    bits = None if asked.filter is None else np.packbits(asked.filter.rows, bitorder="little")
    selector = None if bits is None else faiss.IDSelectorBitmap(bits)
    params = faiss.SearchParametersIVF(nprobe=nprobe, sel=selector)
    pairs = _pairs(
        ours_of(index, asked), lambda queries: codes.search(queries, K, params=params), asked, repeats
    )
    found = codes.search(asked.first, K, params=params)[1]
    told = f"bare recall@{K} {recall_of(scores_of(material, asked.first, found), asked.truth):.3f}, ours "
    told += f"{recall_by(ours_of(index, asked), asked):.3f}"
    name = f"search, {material.size}, {asked.name}"
    figures = [
        Figure(
            f"{name}, p50", f"bare FAISS on the same lists, nprobe {nprobe}", pairs.slowdowns, GOAL,
            is_at_most=True, detail=f"{_times(pairs)}; {told}; {pairs.calm}",
        )
    ]  # fmt: skip
    if asked.filter is None and asked.is_single:
        figures += [
            Figure(
                f"{name}, p99", f"bare FAISS on the same lists, nprobe {nprobe}", _p99s(pairs), GOAL,
                is_at_most=True, detail=f"{_times(pairs)}; of {len(asked.queries)} queries a pass",
            ),
            Figure(
                f"{name}, p50 of the time allowed", f"{1e3 * P50_LIMIT_S:g} ms",
                tuple(pair.ours_s / P50_LIMIT_S for pair in pairs.kept), 1.0, is_at_most=True,
                detail=_times(pairs),
            ),
        ]  # fmt: skip
    return figures


def _against_refined(
    material: Material, index: VectorIndex, several: list[Asked], *, repeats: int
) -> list[Figure]:
    """FAISS with a refinement by hand, which finds what ours does: codes propose, float16 vectors decide."""
    exact = faiss.IndexScalarQuantizer(index.dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    for raw in index.store.raw_blocks():
        exact.add_sa_codes(np.ascontiguousarray(raw).view(np.uint8))
    refined = faiss.IndexRefine(index._codes, exact)
    params = faiss.IndexRefineSearchParameters(
        k_factor=index.kind.refine, base_index_params=faiss.SearchParametersIVF(nprobe=index.kind.nprobe)
    )
    figures = []
    for asked in several:
        pairs = _pairs(
            ours_of(index, asked), lambda queries: refined.search(queries, K, params=params), asked, repeats
        )
        scores = scores_of(material, asked.first, refined.search(asked.first, K, params=params)[1])
        figures.append(
            Figure(
                f"search, {material.size}, {asked.name}, p50",
                f"FAISS's IndexRefine by hand, k_factor {index.kind.refine}, the vectors in memory",
                pairs.slowdowns,
                detail=f"{_times(pairs)}; its recall@{K} {recall_of(scores, asked.truth):.3f}, ours "
                f"{recall_by(ours_of(index, asked), asked):.3f}; {pairs.calm}",
            )
        )
    return figures


def _pairs(ours: Any, theirs: Any, asked: Asked, repeats: int) -> Pairs:
    threads = 1 if asked.is_single else faiss.omp_get_max_threads()

    def theirs_timed() -> float:
        before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(threads)
        try:
            return Spell.of(theirs, asked.queries)
        finally:
            faiss.omp_set_num_threads(before)

    def ours_timed() -> float:
        return Spell.of(ours, asked.queries)

    theirs_timed()
    ours_timed()
    # All queries one way, then all the other: a query asked twice in a row finds its lists in the cache.
    return paired(ours_timed, theirs_timed, repeats=repeats)


def scores_of(material: Material, queries: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """True cosines of the rows that were found, best first; (queries, K); below -1 where none was."""
    scores = np.full((len(queries), K), -2, np.float32)
    for at, (query, found) in enumerate(zip(queries, ids, strict=True)):
        known = np.asarray(found)[np.asarray(found) >= 0]
        scores[at, : len(known)] = -np.sort(-(as_unit(material.vectors[known]) @ query))
    return scores


def recall_by(ours: Callable[[np.ndarray], Any], asked: Asked) -> float:
    """Our recall, of the queries whose truth is known."""
    return recall_of(ours(asked.first).scores, asked.truth)


def _p99s(pairs: Pairs) -> tuple[float, ...]:
    return tuple(pair.ours_s.p99 / pair.theirs_s.p99 for pair in pairs.kept)  # type: ignore[attr-defined]


def _times(pairs: Pairs) -> str:
    ours, theirs = ([getattr(pair, side) for pair in pairs.kept] for side in ("ours_s", "theirs_s"))
    return ", ".join(
        f"{1e3 * float(np.median(some)):.2f} ms {who} (p99 {1e3 * np.median([s.p99 for s in some]):.2f})"
        for who, some in (("ours", ours), ("theirs", theirs))
    )
