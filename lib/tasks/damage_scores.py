"""Damage of outlined buildings against what annotators say, on the pixels of true buildings (xView2).

Where buildings stand is given, not found: the protocol's localisation is not measured here.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lib.area_metrics import xview2_score
from lib.tasks.damage import CLASSES, building_scores, judge_buildings

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

# By which a building's class is told.
METHODS = ("ours", "window_cls")


def damage_confusions(
    outlines: "Sequence[BaseGeometry]",
    truth: np.ndarray,
    scores: dict[str, np.ndarray],
    *,
    gate: float,
    threshold: float,
) -> dict[str, np.ndarray]:
    """Pixels by true and told class.

    Args:
        outlines: Of the buildings whose damage is known, in pixels.
        truth: (buildings,) places in `CLASSES`.
        scores: By `METHODS`, (height, width) float32; NaN where it can't be judged.
        gate: The score that perturbations of the earlier date alone reach.
        threshold: The score from which on ground was taken for changed.

    Returns:
        By `METHODS`, (4, 4) int64: row = true class, column = the one that was told; without the pixels of
        buildings that can't be judged.
    """
    from lib.media.pixel_outlines import drawn_outlines

    labels = drawn_outlines(outlines, scores["ours"].shape)
    pixels = np.bincount(labels.ravel(), minlength=len(outlines) + 1)[1:]
    found = judge_buildings(scores["ours"], labels, pixels, gate=gate, threshold=threshold)
    places = {name: place for place, name in enumerate(CLASSES)}
    told = {
        "ours": np.array([places.get(name, -1) for name in found.classes]),
        "window_cls": _by_four_classes(
            building_scores(scores["window_cls"], labels, len(outlines)), scores["window_cls"]
        ),
    }
    made = {}
    for method, classes in told.items():
        known = classes >= 0
        cells = np.bincount(truth[known] * len(CLASSES) + classes[known], pixels[known], len(CLASSES) ** 2)
        made[method] = cells.reshape(len(CLASSES), -1).astype(np.int64)
    return made


def class_f1s(confusion: np.ndarray) -> list[float]:
    """F1 of each class that there is, or that was told; NaN for the others."""
    both = confusion.sum(0) + confusion.sum(1)
    hits = 2 * np.diag(confusion)
    return [float(hit / total) if total else float("nan") for hit, total in zip(hits, both, strict=True)]


def damage_score(confusion: np.ndarray) -> float:
    """xView2's damage score: the harmonic mean of the classes' F1, without classes that never occur."""
    return xview2_score(0.0, [f1 for f1 in class_f1s(confusion) if not np.isnan(f1)])[0]


def chance_damage_score(confusion: np.ndarray) -> float:
    """Of classes drawn as often as they are true: a class's F1 then is its share of the pixels."""
    shares = confusion.sum(1) / max(confusion.sum(), 1)
    return xview2_score(0.0, [float(share) for share in shares if share])[0]


def _by_four_classes(scores: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Four classes by Otsu's three thresholds over the picture's windows; -1 where there is no score."""
    from skimage.filters import threshold_multiotsu

    known = whole[np.isfinite(whole)]
    # Otsu's histogram has 256 bins; in fewer than five of them there are no four classes to part.
    bins = np.unique(np.histogram_bin_edges(known, 256).searchsorted(known, "right")) if known.size else known
    is_even = len(bins) <= len(CLASSES)
    levels = np.unique(known)[1 : len(CLASSES)] if is_even else threshold_multiotsu(known, len(CLASSES))
    return np.where(np.isnan(scores), -1, np.digitize(np.nan_to_num(scores), levels))
