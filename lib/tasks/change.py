"""What changed between two pictures of one place, from frozen features: distance, gate, threshold.

Nothing is trained on labels. A pair's own earlier picture, spoiled in ways that change nothing on the ground,
tells how far features move by themselves (the gate); only what moves further can be a change.
"""

import io
from collections.abc import Iterator

import numpy as np

# How much the features' length counts beside their direction. On nine labelled pairs of three sets, with
# EfficientNet-Lite0: at 0 the third set's pixel AUROC falls below .65, at 1 the first one's below .83.
LENGTH_WEIGHT = 0.75
GATE_FACTOR, GATE_QUANTILE = 1.3, 0.999
NEVER = np.inf


def cell_distance(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How far apart features are, cell by cell: cosine distance and relative difference, averaged.

    Args:
        before: (rows, columns, dim) features of a window.
        after: The same of the later picture.

    Returns:
        (rows, columns) float32, 0 where equal; seldom above 1.5.
    """
    one, other = before.astype(np.float32), after.astype(np.float32)
    lengths = np.linalg.norm(one, axis=-1), np.linalg.norm(other, axis=-1)
    cosine = (one * other).sum(-1) / np.maximum(lengths[0] * lengths[1], 1e-6)
    # By the window's usual length, not the cell's own: noise in an even cell would count as much as a house.
    usual = (np.sqrt((lengths[0] ** 2).mean()) + np.sqrt((lengths[1] ** 2).mean())) / 2
    length = np.linalg.norm(one - other, axis=-1) / max(float(usual), 1e-6)
    return np.asarray((1 - cosine + LENGTH_WEIGHT * length) / (1 + LENGTH_WEIGHT), np.float32)


def as_score(distance: np.ndarray) -> np.ndarray:
    """Distances as scores in [0, 1): the same for every pair, so that scores of two pairs can be compared."""
    return np.asarray(1 - np.exp(-distance))


def perturbed(picture: np.ndarray, *, seed: int = 0) -> Iterator[np.ndarray]:
    """The same place on another day, with nothing changed: (height, width, 3) uint8, one after the other."""
    from PIL import Image
    from scipy import ndimage

    values = picture.astype(np.float32)
    noise = np.random.default_rng(seed).normal(0, 6, picture.shape)
    spoiled = (
        values * 1.15 + 8,
        values * 0.85 - 5,
        255 * (values / 255) ** 0.8,
        values + noise,
        values * 0.75 + 50,  # haze
        ndimage.gaussian_filter(values, (0.7, 0.7, 0)),
    )
    for made in spoiled:
        yield np.clip(np.round(made), 0, 255).astype(np.uint8)
    held = io.BytesIO()
    Image.fromarray(picture).save(held, "JPEG", quality=60)
    yield np.asarray(Image.open(held))
    # A pixel down and to the right; the edge is repeated, so that nothing comes in from the other side.
    yield np.pad(picture, ((1, 0), (1, 0), (0, 0)), mode="edge")[:-1, :-1]


def gate_of(distances: list[np.ndarray]) -> float:
    """The distance that nothing but a change exceeds.

    Args:
        distances: Of perturbed windows to what they were made of: one (windows, rows, columns) array a kind.
    """
    return GATE_FACTOR * max(float(np.quantile(_between(kind), GATE_QUANTILE)) for kind in distances)


def _between(cells: np.ndarray) -> np.ndarray:
    """Values between the cells too, as the map has them that the gate is held against."""
    from scipy import ndimage

    return np.asarray(ndimage.zoom(cells, (1, 4, 4), order=1, grid_mode=True, mode="nearest"))


def threshold_of(distance: np.ndarray, gate: float) -> float:
    """The distance from which on a cell is changed; infinite where none is.

    The stricter of two rules: the upper threshold of three-class Otsu, which leaves doubtful ground to the
    middle class, where plain Otsu calls half of a quiet scene changed; and Yen's (Yen, Chang and Chang 1995),
    which goes further up where changes are few in a restless scene. Not below the gate; and not far below the
    peak, whose features smear over their neighbours.

    Args:
        distance: Of pixels, all or thinned out; NaN where it can't be judged.
        gate: What perturbations alone reach.
    """
    from skimage.filters import threshold_multiotsu, threshold_yen

    judged = distance[np.isfinite(distance)]
    if not judged.size or judged.max() <= gate:
        return NEVER
    # Fewer values than classes: nothing to be told apart but the gate.
    has_classes = np.unique(judged).size > 3
    upper = max(threshold_multiotsu(judged, 3)[1], threshold_yen(judged)) if has_classes else gate
    return float(max(upper, gate, 0.4 * (gate + judged.max())))
