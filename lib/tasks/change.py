"""What changed between two pictures of one place, from frozen features: distance, gate, threshold, outline.

Nothing is trained on labels. A pair's own earlier picture, spoiled in ways that change nothing on the ground,
tells how far features move by themselves (the gate); only what moves further can be a change.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# How much the features' length counts beside their direction. On nine labelled pairs of three sets, with
# EfficientNet-Lite0: at 0 the third set's pixel AUROC falls below .65, at 1 the first one's below .83.
LENGTH_WEIGHT = 0.75
GATE_FACTOR, GATE_QUANTILE = 1.3, 0.999
# A mask is outlined anew by its pixels only where these tell the change apart as clearly as a roof on grass.
OUTLINE_CONTRAST = 2.5
_OUTLINE_LEAST = 0.25
# Of the threshold: how far down an outline is looked for. A change's even middle moves features less than its
# edges do; but taken for changed without pixels to tell, such ground costs half of the precision.
REACH = 0.7
_MARGIN_PX = 16
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

    The upper threshold of three-class Otsu, which leaves doubtful ground to the middle class, where plain
    Otsu calls half of a quiet scene changed; not below the gate; and not far below the peak, whose features
    smear over their neighbours.

    Args:
        distance: Pixel by pixel; NaN where it can't be judged.
        gate: What perturbations alone reach.
    """
    from skimage.filters import threshold_multiotsu

    judged = distance[np.isfinite(distance)]
    if not judged.size or judged.max() <= gate:
        return NEVER
    # Fewer values than classes: nothing to be told apart but the gate.
    upper = threshold_multiotsu(judged, 3)[1] if np.unique(judged).size > 3 else gate
    return float(max(upper, gate, 0.4 * (gate + judged.max())))


@dataclass(frozen=True, slots=True)
class Levels:
    """How a date's brightness lies: (3,) medians and spreads of its channels."""

    median: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, pixels: np.ndarray) -> "Levels":
        """Of (n, 3) valid pixels."""
        median = np.median(pixels, axis=0)
        return cls(median, np.median(np.abs(pixels - median), axis=0) + 1)


def pixel_difference(before: np.ndarray, after: np.ndarray, levels: tuple[Levels, Levels]) -> np.ndarray:
    """Difference of two (height, width, 3) pictures, the later brought to the earlier's levels; float32."""
    from scipy import ndimage

    earlier, later = levels
    gain = np.clip(earlier.spread / later.spread, 0.5, 2)
    fitted = (after - later.median) * gain + earlier.median
    return np.asarray(ndimage.gaussian_filter(np.abs(fitted - before).mean(-1).astype(np.float32), 0.8))


def outlined(mask: np.ndarray, reach: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """A region's own outline, where pixels show one; features know it only to a cell.

    Args:
        mask: (height, width) bool, one region with some ground around it.
        reach: The region and what may belong to it.
        difference: Of the pixels, the same shape.

    Returns:
        The mask anew, or as it was where pixels don't tell the change from what is around it.
    """
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    near = ndimage.binary_dilation(reach, iterations=_MARGIN_PX // 2)
    values = difference[near]
    if np.ptp(values) == 0:
        return mask
    strong = values > threshold_otsu(values)
    inside, outside = values[strong], values[~strong]
    contrast = (inside.mean() - outside.mean()) / (inside.std() + outside.std() + 1e-6)
    if contrast <= OUTLINE_CONTRAST:
        return mask
    made = ndimage.binary_opening(near & (difference > threshold_otsu(values)))
    made = ndimage.binary_fill_holes(ndimage.binary_closing(made, iterations=2)) & near
    return np.asarray(made) if made.sum() >= _OUTLINE_LEAST * mask.sum() else mask
