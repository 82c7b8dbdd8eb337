"""How much each building changed between two dates, in the xBD set's four classes.

The classes are an ordered change score cut at three levels, and no more: nothing was trained on damaged
buildings, and a new roof scores as a lost one does. The levels come from the pair itself: what perturbations
alone reach (the gate) and what was taken for changed (the threshold).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.errors import QueryError

# xBD's joint damage scale (Gupta et al., 2019), from the least on.
CLASSES = ("no-damage", "minor-damage", "major-damage", "destroyed")
UNJUDGED = "unjudged"
# A building's score: higher than of nine tenths of its pixels. A collapsed wing counts, an odd pixel doesn't.
SCORE_QUANTILE = 0.9
# Of a building's pixels: with fewer that have a score, it isn't judged.
LEAST_JUDGED = 0.5
# Destroyed: features moved this many times as far as at the threshold.
DESTROYED_TIMES = 1.5
_MOST = 1 - 1e-9


@dataclass(frozen=True, slots=True)
class Damage:
    """A pair's buildings.

    Attributes:
        scores: (buildings,) float32 in [0, 1); NaN where one can't be judged or lies outside the map.
        classes: One of `CLASSES`, or `UNJUDGED`, for each.
        levels: The scores from which on damage is minor, major, and total.
        counts: Buildings of each class, `UNJUDGED` last.
        areas_m2: Ground that they stand on, by class.
    """

    scores: np.ndarray
    classes: list[str]
    levels: tuple[float, float, float]
    counts: dict[str, int]
    areas_m2: dict[str, float]


def judge_buildings(
    score: np.ndarray,
    labels: np.ndarray,
    areas_m2: Sequence[float] | np.ndarray,
    *,
    gate: float,
    threshold: float,
) -> Damage:
    """Score and class of each building.

    Args:
        score: (height, width) float32 in [0, 1); NaN where it can't be judged.
        labels: The same shape, int32: 0 is no building, else 1 + its number.
        areas_m2: (buildings,) of their footprints.
        gate: The score that perturbations of the earlier date alone reach.
        threshold: The score from which on ground was taken for changed; 1 where none was.

    Raises:
        QueryError: There are no buildings, or the two maps differ in shape.
    """
    if not len(areas_m2) or score.shape != labels.shape:
        raise QueryError(
            f"{len(areas_m2)} buildings on {labels.shape} can't be judged by a map of {score.shape}."
        )
    levels = damage_levels(gate, threshold)
    scores = building_scores(score, labels, len(areas_m2))
    numbers = np.where(np.isnan(scores), len(CLASSES), np.digitize(np.nan_to_num(scores), levels))
    names = (*CLASSES, UNJUDGED)
    counts = np.bincount(numbers, minlength=len(names)).tolist()
    sums = np.bincount(numbers, weights=np.asarray(areas_m2, float), minlength=len(names)).tolist()
    return Damage(
        scores,
        [names[number] for number in numbers],
        levels,
        dict(zip(names, counts, strict=True)),
        dict(zip(names, sums, strict=True)),
    )


def damage_levels(gate: float, threshold: float) -> tuple[float, float, float]:
    """The scores from which on damage is minor (the gate), major (the threshold) and total.

    Scores are 1 - exp(-distance), see `lib.tasks.change.as_score`; distances are what can be multiplied.
    """
    farthest = -np.log1p(-min(threshold, _MOST)) * DESTROYED_TIMES
    return float(min(gate, threshold)), float(threshold), float(max(threshold, 1 - np.exp(-farthest)))


def building_scores(score: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """A high quantile of the score within each building, (count,) float32; NaN where too little has one."""
    inside = labels > 0
    of, values = labels[inside], score[inside]
    sizes = np.bincount(of, minlength=count + 1)[1:]
    is_judged = np.isfinite(values)
    of, values = of[is_judged], values[is_judged]
    order = np.lexsort((values, of))
    judged = np.bincount(of, minlength=count + 1)[1:]
    starts = np.concatenate([[0], np.cumsum(judged)[:-1]])
    made = np.full(count, np.nan, np.float32)
    is_known = (judged > 0) & (judged >= LEAST_JUDGED * sizes)
    at = starts + np.floor(SCORE_QUANTILE * (judged - 1)).astype(np.int64)
    made[is_known] = values[order][at[is_known]]
    return made
