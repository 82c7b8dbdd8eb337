"""Metrics of maps: pooled F1 and IoU, the best F1 of any threshold, xView2, confusion of classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_XVIEW2_LOCALISATION = 0.3


def pooled(counts: Sequence[tuple[int, int, int]]) -> tuple[float, float]:
    """F1 and IoU of the positive class over all tiles together, never a mean over tiles.

    Args:
        counts: True positives, false positives and false negatives of each tile.

    Returns:
        F1 and IoU; NaN where there is no positive at all, neither true nor found.
    """
    hits, false, missed = (sum(tile[part] for tile in counts) for part in range(3))
    if not hits + false + missed:
        return float("nan"), float("nan")
    return 2 * hits / (2 * hits + false + missed), hits / (hits + false + missed)


def counts_of(found: np.ndarray, truth: np.ndarray) -> tuple[int, int, int]:
    """True positives, false positives and false negatives of two bool arrays of one shape."""
    return int((found & truth).sum()), int((found & ~truth).sum()), int((~found & truth).sum())


def best_f1(scores: np.ndarray, truth: np.ndarray) -> float:
    """The F1 of the best single threshold: what a threshold rule could reach at most.

    Args:
        scores: Any shape; what has no score (NaN) is never found.
        truth: Bool, the same shape.

    Returns:
        F1 in [0, 1]; 0 where nothing is true.
    """
    is_judged = np.isfinite(scores)
    values, is_true = scores[is_judged].ravel(), truth[is_judged].ravel()
    if not values.size:
        return 0.0
    order = np.argsort(-values, kind="stable")
    values = values[order]
    hits = np.cumsum(is_true[order], dtype=np.int64)
    # Equal scores are found together: only their last one ends at a threshold.
    ends = np.append(values[1:] != values[:-1], True)
    found = np.arange(1, len(values) + 1)
    return float((2 * hits[ends] / (found[ends] + int(truth.sum()))).max())


def xview2_score(localisation_f1: float, damage_f1s: Sequence[float]) -> tuple[float, float]:
    """The xView2 challenge's score: .3 localisation + .7 damage (Gupta et al., xBD, 2019).

    Args:
        localisation_f1: Of buildings against ground.
        damage_f1s: Of each damage class, on the pixels of true buildings.

    Returns:
        The classes' harmonic mean, 0 where one of them is 0, and the overall score.
    """
    harmonic = len(damage_f1s) / sum(1 / f1 for f1 in damage_f1s) if min(damage_f1s, default=0) > 0 else 0.0
    return harmonic, _XVIEW2_LOCALISATION * localisation_f1 + (1 - _XVIEW2_LOCALISATION) * harmonic


@dataclass(frozen=True, slots=True)
class Confusion:
    """Which classes were taken for which.

    Attributes:
        classes: Names, in order of the matrix.
        matrix: (classes, classes) int64: row = true class, column = the one that was told.
    """

    classes: tuple[str, ...]
    matrix: np.ndarray

    @property
    def n(self) -> int:
        """How many were judged."""
        return int(self.matrix.sum())

    @property
    def accuracy(self) -> float:
        """The share of right ones; NaN where there are none."""
        return float(np.trace(self.matrix) / self.n) if self.n else float("nan")

    @property
    def chance(self) -> float:
        """The accuracy of always telling the most frequent class."""
        return float(self.matrix.sum(axis=1).max() / self.n) if self.n else float("nan")

    @property
    def recall(self) -> dict[str, float]:
        """Of each class, the share found; NaN where it has none."""
        return self._by_class(np.diag(self.matrix), self.matrix.sum(axis=1))

    @property
    def f1(self) -> dict[str, float]:
        """Of each class; NaN where it neither is nor was told."""
        return self._by_class(2 * np.diag(self.matrix), self.matrix.sum(axis=0) + self.matrix.sum(axis=1))

    def _by_class(self, part: np.ndarray, whole: np.ndarray) -> dict[str, float]:
        shares = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
        return dict(zip(self.classes, shares.tolist(), strict=True))


def confusion_of(truth: np.ndarray, told: np.ndarray, classes: Sequence[str]) -> Confusion:
    """Count what was told against what is true.

    Args:
        truth: Numbers of classes, any shape.
        told: The same.
        classes: Names; class 0 is the first.
    """
    size = len(classes)
    cells = np.bincount(truth.ravel().astype(np.int64) * size + told.ravel(), minlength=size * size)
    return Confusion(tuple(classes), cells.reshape(size, size))
