"""What is kept of a labelled pair for the metrics of thousands: counts, bins, thumbnails."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lib.area_metrics import counts_of
from lib.embedding.embed import Embedder
from lib.errors import DatasetError
from lib.score_counts import counts_by_bin
from lib.tasks.change_ablation import masks_without, scores_without
from lib.tasks.change_benchmark import METHODS, Counts, PairMaps, maps_of, read_label

_THUMBNAIL_PX = 320
# On the later picture: found and labelled, found only, labelled only.
COLOURS = ((40, 180, 90), (235, 60, 40), (60, 110, 240))
_SHOWN_THROUGH = 0.45


@dataclass(frozen=True, slots=True)
class Labels:
    """What is known of a pair's change.

    Attributes:
        mask: The mask's file; None where there are polygons alone.
        changed_from: The smallest value in it that means changed.
        polygons: xBD's file of the buildings after the disaster, where there is one.
    """

    mask: Path | None
    changed_from: int = 1
    polygons: Path | None = None


@dataclass(slots=True)
class Measures:
    """One pair.

    Attributes:
        judged_px, unjudged_px: Pixels that count, and those that one date lacks.
        changed_px: Of the judged, those labelled as changed.
        gate, threshold: The recipe's own, as scores.
        shift_px: Rows and columns by which the later picture was moved back.
        counts: Name of a method or of a rule left out -> true and false positives, false negatives.
        bins: Name of a method or of a distance -> (2, BINS) counts of `lib.score_counts`.
        damage: Name of a method -> (4, 4) of `lib.tasks.damage_scores`; empty without polygons.
        pictures: JPEGs: before, after, and the verdict drawn over the later one.
    """

    judged_px: int
    unjudged_px: int
    changed_px: int
    gate: float
    threshold: float
    shift_px: tuple[float, float]
    counts: dict[str, Counts]
    bins: dict[str, np.ndarray]
    damage: dict[str, np.ndarray] = field(default_factory=dict)
    pictures: tuple[bytes, ...] = ()


def measure_pair(
    before: Path, after: Path, labels: Labels, embedder: Embedder, *, is_ablated: bool = False
) -> Measures:
    """Hold what every method makes of a pair against its labels.

    Args:
        before: The earlier picture.
        after: The later.
        labels: What changed.
        embedder: As `find_changes` needs it.
        is_ablated: Measure simpler distances too, for some two thirds more forwards.

    Raises:
        QueryError, UnreadableMediaError: The pictures can't be compared.
        DatasetError: The labels can't be read, or don't fit the pictures.
    """
    labelled = _labelled(before, labels)
    made = maps_of(before, after, embedder, labelled)
    judged, changed = made.judged, labelled[made.judged]
    masks = {name: made.maps[name].mask for name in METHODS} | masks_without(made.changes, judged)
    scores = {name: _as_share(name, made.maps[name].score) for name in METHODS}
    if is_ablated:
        scores |= scores_without(before, after, embedder, made.changes)
    return Measures(
        judged_px=len(changed),
        unjudged_px=int((~judged).sum()),
        changed_px=int(changed.sum()),
        gate=made.changes.gate,
        threshold=made.changes.threshold,
        shift_px=made.changes.shift_px,
        counts={name: counts_of(mask[judged], changed) for name, mask in masks.items()},
        bins={name: counts_by_bin(score[judged], changed) for name, score in scores.items()},
        damage=_damage(labels, made),
        pictures=_pictures(before, after, made, labelled),
    )


def _labelled(before: Path, labels: Labels) -> np.ndarray:
    if labels.mask is not None:
        return np.asarray(read_label(labels.mask) >= labels.changed_from)
    if labels.polygons is None:
        raise DatasetError("it has no mask: its labels are withheld, or aren't unpacked")
    from lib.datasets.xbd import DAMAGE, read_buildings
    from lib.media.image import read_image
    from lib.media.pixel_outlines import drawn_outlines

    buildings = [b for b in read_buildings(labels.polygons) if b.damage is not None]
    drawn = drawn_outlines([b.outline for b in buildings], read_image(before).shape[:2])
    # A class's place, counted from 1, is its value in the set's masks.
    values = np.array([0, *(1 + DAMAGE.index(b.damage or "") for b in buildings)])
    return np.asarray(values[drawn] >= labels.changed_from)


def _as_share(name: str, score: np.ndarray) -> np.ndarray:
    """A method's score in [0, 1], in the same order: small cosine distances get more of the bins."""
    if name == "raw_difference":
        return score / 256
    return np.sqrt(np.maximum(score, 0) / 2) if name == "window_cls" else score


def _damage(labels: Labels, made: PairMaps) -> dict[str, np.ndarray]:
    from lib.datasets.xbd import DAMAGE, read_buildings
    from lib.tasks.damage_scores import damage_confusions

    known = [b for b in read_buildings(labels.polygons) if b.damage] if labels.polygons else []
    if not known:
        return {}
    return damage_confusions(
        [building.outline for building in known],
        np.array([DAMAGE.index(building.damage or "") for building in known]),
        {name: np.where(made.judged, made.maps[name].score, np.nan) for name in ("ours", "window_cls")},
        gate=made.changes.gate,
        threshold=made.changes.threshold,
    )


def _pictures(before: Path, after: Path, made: PairMaps, labelled: np.ndarray) -> tuple[bytes, ...]:
    from lib.media.image import jpeg_bytes, read_image

    size = labelled.shape
    sides = [read_image(path)[: size[0], : size[1]] for path in (before, after)]
    # Grey, so that the colours are the verdict's own.
    grey = np.repeat(sides[1].mean(-1, keepdims=True), 3, -1)
    drawn = np.full((*size, 3), 127.0)
    drawn[: grey.shape[0], : grey.shape[1]] = grey
    found = made.maps["ours"].mask
    for colour, part in zip(COLOURS, (found & labelled, found & ~labelled, ~found & labelled), strict=True):
        part &= made.judged
        drawn[part] = _SHOWN_THROUGH * drawn[part] + (1 - _SHOWN_THROUGH) * np.array(colour)
    shown = (*sides, drawn.round().astype(np.uint8))
    return tuple(jpeg_bytes(np.ascontiguousarray(picture), max_side=_THUMBNAIL_PX) for picture in shown)
