"""A change set's pairs put together: F1 and IoU of summed counts, AUROC of summed bins, how sure it is."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lib.area_metrics import pooled
from lib.score_counts import BINS, auroc_of, best_f1_of
from lib.stages.making import Work

_COLUMNS = (
    "pair", "item", "split", "judged_px", "unjudged_px", "changed_px", "threshold", "shift_px", "counts",
    "bins", "damage",
)  # fmt: skip
_DRAWS = 1000


@dataclass(slots=True)
class PairFigures:
    """One pair as its shard keeps it: counts and bins by what they are of."""

    name: str
    shard: str
    split: str | None
    judged_px: int
    unjudged_px: int
    changed_px: int
    threshold: float
    is_moved: bool
    counts: dict[str, np.ndarray]
    bins: dict[str, np.ndarray]
    damage: dict[str, np.ndarray] = field(default_factory=dict)

    def f1(self, of: str) -> float:
        """F1 of this pair alone; NaN where nothing has changed and nothing was found."""
        return pooled([_counts(self.counts[of])])[0]


def read_pairs(work: Work) -> list[PairFigures]:
    """Every measured pair of the archive's committed shards, by name."""
    made = [
        shard for shard in work.shards("change_report") if work.lake.footer(work.place("pair_changes", shard))
    ]
    found = [
        _figures(shard, row)
        for shard in made
        for row in work.rows("pair_changes", shard, list(_COLUMNS)).to_pylist()
    ]
    return sorted(found, key=lambda pair: pair.name)


def _figures(shard: str, row: dict[str, Any]) -> PairFigures:
    return PairFigures(
        row["pair"], shard, row["split"], row["judged_px"], row["unjudged_px"], row["changed_px"],
        row["threshold"], any(row["shift_px"]),
        {c["of"]: np.array([c["hits"], c["false"], c["missed"]]) for c in row["counts"]},
        {b["of"]: np.frombuffer(b["pixels"], np.int32).reshape(2, BINS) for b in row["bins"]},
        {d["of"]: np.frombuffer(d["pixels"], np.int64).reshape(4, 4) for d in row["damage"]},
    )  # fmt: skip


def f1_iou(pairs: Iterable[PairFigures], of: str) -> tuple[float, float]:
    """Of a method, or of a rule left out, over all pairs together."""
    return pooled([_counts(pair.counts[of]) for pair in pairs])


def auroc_best(pairs: Iterable[PairFigures], of: str) -> tuple[float, float]:
    """AUROC and best F1 of a method's score, or of a simpler distance, over the pairs' pixels together."""
    bins = np.sum([pair.bins[of].astype(np.int64) for pair in pairs], axis=0)
    return auroc_of(bins), best_f1_of(bins)


def damage_of(pairs: Iterable[PairFigures], of: str) -> np.ndarray:
    """(4, 4) pixels of true buildings by true and told class."""
    return np.asarray(np.sum([pair.damage[of] for pair in pairs], axis=0))


def gain_interval(
    pairs: Sequence[PairFigures], figure: Callable[[np.ndarray], float], parts: Mapping[str, np.ndarray]
) -> tuple[float, float] | None:
    """95 % interval of a pooled figure's gain over the naive one: bootstrap over pairs, the same for both.

    Args:
        pairs: How many there are is what counts.
        figure: Makes one of summed parts; NaN where there is none.
        parts: `ours` and `naive`, (pairs, ...) each.

    Returns:
        None for fewer than two pairs, or where the figure can't be had of most draws.
    """
    if len(pairs) < 2:
        return None
    rng = np.random.default_rng(0)
    gains = []
    for _ in range(_DRAWS):
        weights = np.bincount(rng.integers(0, len(pairs), len(pairs)), minlength=len(pairs))
        ours, naive = (np.tensordot(weights, parts[side], 1) for side in ("ours", "naive"))
        gains.append(figure(ours) - figure(naive))
    known = np.array(gains)[~np.isnan(gains)]
    if len(known) < _DRAWS / 2:
        return None
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)


def f1_of(counts: np.ndarray) -> float:
    """F1 of (hits, false, missed)."""
    return pooled([_counts(counts)])[0]


def iou_of(counts: np.ndarray) -> float:
    """IoU of (hits, false, missed)."""
    return pooled([_counts(counts)])[1]


def _counts(three: np.ndarray) -> tuple[int, int, int]:
    hits, false, missed = (int(value) for value in three)
    return hits, false, missed
