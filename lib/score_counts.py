"""What is left of millions of pixels' scores when their AUROC and best F1 are still wanted: counts by bin.

Counts of shards add up, where samples of pixels would not. With `BINS` of them, AUROC and best F1 are within
.001 of those of the scores themselves, on the maps that they are made of here.
"""

import numpy as np

BINS = 1024


def counts_by_bin(scores: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """How many pixels have each score.

    Args:
        scores: (n,) in [0, 1], what is beyond it counted with its ends.
        changed: (n,) bool labels.

    Returns:
        (2, BINS) int64: of unchanged pixels, and of changed ones.
    """
    at = np.clip((scores * BINS).astype(np.int64), 0, BINS - 1)
    return np.bincount(at + BINS * changed, minlength=2 * BINS).reshape(2, BINS)


def auroc_of(counts: np.ndarray) -> float:
    """The chance that a changed pixel's score exceeds an unchanged one's, ties half; NaN without both."""
    unchanged, changed = (np.asarray(side, np.float64) for side in counts)
    if not unchanged.sum() or not changed.sum():
        return float("nan")
    below = np.cumsum(unchanged) - unchanged
    return float((changed * (below + unchanged / 2)).sum() / (unchanged.sum() * changed.sum()))


def best_f1_of(counts: np.ndarray) -> float:
    """The F1 of the best threshold between two bins; 0 where nothing is changed."""
    unchanged, changed = (np.cumsum(np.asarray(side, np.float64)[::-1]) for side in counts)
    if not changed[-1]:
        return 0.0
    return float((2 * changed / (unchanged + changed + changed[-1])).max())
