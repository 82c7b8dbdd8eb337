"""What changed against a place's own history: season, sun and haze that came before are normal for it."""

import numpy as np


def against_history(now: np.ndarray, past: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far each cell is from all of its past, and how far its past dates usually are from each other.

    Args:
        now: (K, rows, columns) distances of the date to each of K earlier ones; NaN where either has no data.
        past: (K, K, rows, columns) distances among those; NaN the same, and on the diagonal.

    Returns:
        The least distance to an earlier date, and the median over earlier dates of their least distance to
        another earlier one, (rows, columns) each; NaN where nothing is known.
    """
    with np.errstate(invalid="ignore"):
        nearest = _least(now)
        usual = _median(_least(past))
    return nearest, usual


def beyond_usual(nearest: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Distances with what a cell shows by itself more than its tile taken off: water that glitters, crops.

    Args:
        nearest: Distance to the nearest earlier date, any shape; NaN unknown.
        usual: The cells' own usual distance among earlier dates; NaN unknown.

    Returns:
        Distances on the same scale, so that the gate of the earlier date holds for them.
    """
    known = usual[np.isfinite(usual)]
    quiet = float(np.median(known)) if known.size else 0.0
    excess = np.nan_to_num(np.maximum(usual - quiet, 0.0))
    return np.asarray(np.maximum(nearest - excess, 0.0), np.float32)


def _least(values: np.ndarray) -> np.ndarray:
    """Least of the last but two axes' values, NaN aside; NaN where there is none."""
    filled = np.where(np.isnan(values), np.inf, values).min(axis=-3)
    return np.asarray(np.where(np.isinf(filled), np.nan, filled))


def _median(values: np.ndarray) -> np.ndarray:
    """Median over the first axis, NaN aside; NaN where there is none."""
    ordered = np.sort(values, axis=0)  # NaN comes last
    counts = np.isfinite(values).sum(axis=0)
    middle = np.maximum(counts - 1, 0)
    low = np.take_along_axis(ordered, (middle // 2)[None], axis=0)[0]
    high = np.take_along_axis(ordered, ((middle + 1) // 2)[None], axis=0)[0]
    return np.asarray((low + high) / 2)
