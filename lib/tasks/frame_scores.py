"""How much each frame of a film tells, from features alone."""

import numpy as np

_NEIGHBOURS = 0.1
_BLOCK_CELLS = 1 << 22  # distances held at once, whatever the film's length


def score_frames(features: np.ndarray, *, others: np.ndarray | None = None) -> np.ndarray:
    """Score frames by how unlike their nearest they are, yet typical of the film (Pang et al., WACV 2023).

    The product of two terms, each scaled to 0 … 1 over the film, taken through exp(x - 1) and a Gaussian of
    one frame: the mean squared distance to the nearest 10 % of the film's frames (low where the film repeats
    itself), and log mean exp(-2 distance²) to all of them (low for what has nothing to do with the rest:
    black frames, flashes). A third, with `others`: unlikeness to other films, 1 - log mean exp(4 cosine),
    scaled. Within one film alone that would be the second term upside down, and rewards the very flashes that
    it keeps out.

    Args:
        features: Unit vectors in time order, shape (frames, dim).
        others: Unit vectors from other films, shape (rows, dim).

    Returns:
        Scores between exp(-1) and 1, float64, shape (frames,).
    """
    from scipy.ndimage import gaussian_filter1d

    n = len(features)
    nearest = min(max(1, round(_NEIGHBOURS * n)), n - 1)
    unlike, typical, common = np.zeros(n), np.zeros(n), np.zeros(n)
    step = max(1, _BLOCK_CELLS // max(n, 1))
    for start in range(0, n, step):
        part = slice(start, start + step)
        distance = np.clip(2 - 2 * features[part].astype(np.float32) @ features.T.astype(np.float32), 0, 4)
        typical[part] = np.log(np.exp(-2 * distance).mean(axis=1))
        if nearest:
            rows = np.arange(len(distance))
            distance[rows, start + rows] = np.inf
            unlike[part] = np.partition(distance, nearest - 1, axis=1)[:, :nearest].mean(axis=1)
        if others is not None and len(others):
            common[part] = np.log(np.exp(4 * features[part] @ others.T).mean(axis=1))
    score = _scaled(unlike) * _scaled(typical) * (1 - _scaled(common, flat=0.0))
    return np.asarray(gaussian_filter1d(np.exp(score - 1), sigma=1))


def _scaled(values: np.ndarray, *, flat: float = 1.0) -> np.ndarray:
    """Minimum to 0, maximum to 1; all `flat` where nothing varies."""
    spread = np.ptp(values)
    return (values - values.min()) / spread if spread > 1e-9 else np.full(len(values), flat)
