"""Change maps against labelled pairs: our column, two naive ones and chance, on the same pixels."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.area_metrics import best_f1, counts_of, pooled
from lib.embedding.embed import Embedder
from lib.embedding.vectors import unit
from lib.errors import DatasetError, QueryError, UnreadableMediaError
from lib.media.image import read_image
from lib.tasks.change_pair import Changes, find_changes

# Of the naive window column; each is squashed to what the backbone takes.
WINDOW_PX = 64
POOL_PX = 4_000_000
METHODS = ("ours", "raw_difference", "window_cls")

# True positives, false positives, false negatives.
Counts = tuple[int, int, int]


class LabelledPair(NamedTuple):
    """Two pictures of one frame, and the mask of what changed, on the earlier one's pixels."""

    before: Path
    after: Path
    label: Path
    name: str = ""


@dataclass(frozen=True, slots=True)
class Scores:
    """What one method reaches.

    Attributes:
        auroc: Of the pixels' scores; NaN without both classes.
        f1: Of the positive class, at the threshold that the method chose; NaN where nothing has changed and
            nothing was found.
        iou: The same.
        best_f1: The best that any one threshold on the scores would have had. Ours may lie above it, for its
            mask is more than a threshold: outlined by pixels, without specks.
    """

    auroc: float
    f1: float
    iou: float
    best_f1: float


@dataclass(frozen=True, slots=True)
class PairScores:
    """One pair's result.

    Attributes:
        name: The pair's, or its earlier file's path.
        judged_px: Pixels that counted.
        unjudged_px: Pixels without a score, which didn't.
        changed_px: Of the judged ones, those labelled as changed.
        counts: By method.
        methods: By method, `METHODS`.
    """

    name: str
    judged_px: int
    unjudged_px: int
    changed_px: int
    counts: Mapping[str, Counts]
    methods: Mapping[str, Scores]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """All pairs together.

    Attributes:
        pairs: In the order given.
        left_out: Name and reason of pairs that can't be compared.
        methods: By method, `METHODS`: F1 and IoU of counts summed over all pairs, AUROC and best F1 of the
            pooled pixels.
        chance: A random score's AUROC; F1 and IoU of a mask that marks everything.
    """

    pairs: tuple[PairScores, ...]
    left_out: tuple[tuple[str, str], ...]
    methods: Mapping[str, Scores]
    chance: Scores


def evaluate(
    pairs: Iterable[LabelledPair],
    embedder: Embedder,
    *,
    changed_from: int = 1,
    pool_px: int = POOL_PX,
    seed: int = 0,
    progress: Callable[[PairScores], None] | None = None,
) -> Benchmark:
    """Hold change maps against labels.

    All methods are judged on the same pixels: those that have a score of ours. AUROC and best F1 are taken
    over a seeded even sample of at most `pool_px` pixels (17 bytes each), of a pair and of all; F1 and IoU
    over all pixels.

    Args:
        pairs: What to compare. One that can't be read is left out, with its reason.
        embedder: As `find_changes` needs it.
        changed_from: The smallest value in a mask that means changed.
        pool_px: Size of the sample.
        seed: Of the sample.
        progress: Called after each pair.

    Raises:
        DatasetError: No pair could be compared.
    """
    done: list[PairScores] = []
    left_out: list[tuple[str, str]] = []
    pool = PixelPool(len(METHODS), limit=pool_px, seed=seed)
    for number, pair in enumerate(pairs):
        name = pair.name or str(pair.before)
        try:
            maps, labelled = _maps(pair, embedder, changed_from)
        except (QueryError, UnreadableMediaError, DatasetError) as error:
            left_out.append((name, str(error)))
            continue
        pixels = _judged(maps, labelled)
        pool.add(*pixels)
        own = PixelPool(len(METHODS), limit=pool_px, seed=(seed, number))
        own.add(*pixels)
        made = _pair_scores(name, maps, labelled, own)
        done.append(made)
        if progress:
            progress(made)
    if not done:
        why = f": {left_out[0][0]}: {left_out[0][1]}" if left_out else ": none was given"
        raise DatasetError(f"of {len(left_out)} labelled pairs, none could be compared{why}")
    return Benchmark(
        pairs=tuple(done),
        left_out=tuple(left_out),
        methods=_by_method(pool, {method: [pair.counts[method] for pair in done] for method in METHODS}),
        chance=chance_scores(sum(pair.changed_px for pair in done), sum(pair.judged_px for pair in done)),
    )


def chance_scores(changed: int, judged: int) -> Scores:
    """Of a random score, and of a mask that marks everything: F1 is 2p / (1 + p) at a share p of change."""
    share = changed / judged if judged else 0.0
    f1 = 2 * share / (1 + share)
    return Scores(auroc=0.5, f1=f1, iou=share, best_f1=f1)


def raw_difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Mean absolute difference of the channels, (height, width) float32 in [0, 255]; NaN beyond `after`."""
    height, width = min(before.shape[0], after.shape[0]), min(before.shape[1], after.shape[1])
    made = np.full(before.shape[:2], np.nan, np.float32)
    common = before[:height, :width].astype(np.float32), after[:height, :width].astype(np.float32)
    made[:height, :width] = np.abs(common[0] - common[1]).mean(axis=-1)
    return made


def window_distance(before: np.ndarray, after: np.ndarray, embedder: Embedder) -> np.ndarray:
    """Cosine distance of the CLS vectors of windows beside each other, the same for all pixels of a window.

    Windows have about `WINDOW_PX` a side, so that they fill the picture without a sliver at its edge.

    Returns:
        (height, width) float32 in [0, 2]; NaN beyond `after`.
    """
    height, width = min(before.shape[0], after.shape[0]), min(before.shape[1], after.shape[1])
    rows, columns = _windows(height), _windows(width)
    places = [(row, column) for row in rows for column in columns]
    pictures = (side[place] for place in places for side in (before, after))
    vectors = unit(np.concatenate([batch.cls for batch in embedder.embed(pictures)]))
    made = np.full(before.shape[:2], np.nan, np.float32)
    for place, one, other in zip(places, vectors[::2], vectors[1::2], strict=True):
        made[place] = 1 - one @ other
    return made


class PixelPool:
    """An even sample of pixels of any number of pairs, in bounded memory."""

    def __init__(self, methods: int, *, limit: int, seed: int | tuple[int, int]):
        self._limit = limit
        self._rng = np.random.default_rng(seed)
        # Each pixel draws a number; kept are those below the rate, which sinks as the pool fills.
        self._rate = 1.0
        self._keys = np.empty(0, np.float32)
        self._scores = np.empty((0, methods), np.float32)
        self._changed = np.empty(0, bool)

    def add(self, scores: np.ndarray, changed: np.ndarray) -> None:
        """Take in (n, methods) scores and what (n,) labels say."""
        keys = self._rng.random(len(changed), np.float32)
        kept = keys < self._rate
        self._keys = np.concatenate([self._keys, keys[kept]])
        self._scores = np.concatenate([self._scores, scores[kept]])
        self._changed = np.concatenate([self._changed, changed[kept]])
        if len(self._keys) > self._limit:
            self._rate = float(np.partition(self._keys, self._limit)[self._limit])
            kept = self._keys < self._rate
            self._keys, self._scores = self._keys[kept], self._scores[kept]
            self._changed = self._changed[kept]

    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """The sample: (n, methods) scores and (n,) bool labels."""
        return self._scores, self._changed


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """One method's (height, width) float32 score, and the bool mask of what it takes for changed."""

    score: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True, slots=True)
class PairMaps:
    """A pair's maps by method, `METHODS`, and which pixels count: those that all methods have a score for."""

    changes: Changes
    maps: Mapping[str, ScoreMap]
    judged: np.ndarray


def maps_of(before: Path, after: Path, embedder: Embedder, labelled: np.ndarray) -> PairMaps:
    """What every method makes of a pair.

    Args:
        before: The earlier picture.
        after: The later.
        embedder: As `find_changes` needs it.
        labelled: (height, width) bool mask of what changed, looked at for its shape only.

    Raises:
        QueryError: The two can't be compared.
        UnreadableMediaError: A picture can't be read.
        DatasetError: The mask is of another shape than the earlier picture.
    """
    pictures = read_image(before), read_image(after)
    if labelled.shape != pictures[0].shape[:2]:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (labelled.shape, pictures[0].shape)]
        raise DatasetError(f"the mask has {sizes[0]} px, and the earlier picture has {sizes[1]}")
    found = find_changes(before, after, embedder)
    ours = found.score
    naive = {
        "raw_difference": raw_difference(*pictures),
        "window_cls": window_distance(*pictures, embedder),
    }
    judged = np.isfinite(ours) & np.all([np.isfinite(score) for score in naive.values()], axis=0)
    maps = {"ours": ScoreMap(np.where(judged, ours, np.nan), found.mask & judged)}
    maps |= {name: ScoreMap(score, otsu_mask(score, judged)) for name, score in naive.items()}
    return PairMaps(found, maps, judged)


def _maps(
    pair: LabelledPair, embedder: Embedder, changed_from: int
) -> tuple[Mapping[str, ScoreMap], np.ndarray]:
    labelled = read_label(pair.label) >= changed_from
    return maps_of(pair.before, pair.after, embedder, labelled).maps, labelled


def read_label(path: Path) -> np.ndarray:
    """A mask's values, (height, width) uint8.

    Raises:
        DatasetError: It can't be read.
    """
    try:
        return np.asarray(read_image(path).max(axis=-1))
    except UnreadableMediaError as error:
        raise DatasetError(f"the mask {path} can't be read: {error}") from error


def _judged(maps: Mapping[str, ScoreMap], labelled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    judged = np.isfinite(maps["ours"].score)
    return np.stack([maps[method].score[judged] for method in METHODS], axis=-1), labelled[judged]


def _pair_scores(
    name: str, maps: Mapping[str, ScoreMap], labelled: np.ndarray, sample: PixelPool
) -> PairScores:
    judged = np.isfinite(maps["ours"].score)
    changed = labelled[judged]
    counts = {method: counts_of(maps[method].mask[judged], changed) for method in METHODS}
    return PairScores(
        name=name,
        judged_px=len(changed),
        unjudged_px=int((~judged).sum()),
        changed_px=int(changed.sum()),
        counts=counts,
        methods=_by_method(sample, {method: [counts[method]] for method in METHODS}),
    )


def _by_method(sample: PixelPool, counts: Mapping[str, list[Counts]]) -> dict[str, Scores]:
    scores, changed = sample.pixels()
    return {method: _scores(scores[:, at], changed, counts[method]) for at, method in enumerate(METHODS)}


def _scores(scores: np.ndarray, changed: np.ndarray, counts: list[Counts]) -> Scores:
    from sklearn.metrics import roc_auc_score

    has_both = changed.any() and not changed.all()
    f1, iou = pooled(counts)
    return Scores(
        auroc=float(roc_auc_score(changed, scores)) if has_both else float("nan"),
        f1=f1,
        iou=iou,
        best_f1=best_f1(scores, changed),
    )


def otsu_mask(score: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """What lies above Otsu's threshold of the judged pixels' scores; nothing where all are equal."""
    from skimage.filters import threshold_otsu

    values = score[judged]
    if not values.size or np.ptp(values) == 0:
        return np.zeros_like(judged)
    return np.asarray(judged & (np.nan_to_num(score) > threshold_otsu(values)))


def _windows(length: int) -> list[slice]:
    edges = np.linspace(0, length, max(1, round(length / WINDOW_PX)) + 1).round().astype(int)
    return [slice(int(start), int(stop)) for start, stop in pairwise(edges)]
