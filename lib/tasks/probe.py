"""A linear head on stored features: classes from labels, and how well it does on rows held out."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lib.area_metrics import Confusion, confusion_of
from lib.errors import QueryError, UsageError

# What the regularisation is chosen from (sklearn's C, weakest last), and what it is where nothing can be held
# out to choose by. On EuroSAT with EfficientNet-Lite0, log-loss is least at .1.
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
DEFAULT_STRENGTH = 0.1
_INNER_FOLDS = 3
_ROWS_TO_CHOOSE_BY = 2000
# Two threads share a small product worse than one computes it: on a busy machine, 13 times slower.
_ROWS_FOR_THREADS = 5000
_BLOCKS_A_SIDE = 10


class Head(Protocol):
    """What tells classes from features."""

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of (n, d) features: (n,) labels, and (n,) float32 confidence in [0, 1]."""
        ...


class Fit(Protocol):
    """What makes a head of labelled features."""

    def __call__(self, features: np.ndarray, labels: np.ndarray, *, groups: np.ndarray | None = None) -> Head:
        """Of (n, d) features and (n,) labels; rows of one group are never parted when something is chosen."""
        ...


@dataclass(frozen=True, slots=True)
class Probe:
    """Multinomial logistic regression.

    Attributes:
        classes: (classes,) names, sorted.
        weights: (d, classes) float32.
        bias: (classes,) float32.
        strength: The regularisation that was chosen, sklearn's C on features of mean 0 and spread 1.
    """

    classes: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    strength: float

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Of (n, d) features: (n, classes) float32, each row of sum 1."""
        logits = features @ self.weights + self.bias
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of (n, d) features: (n,) labels, and the probability of each, (n,) float32."""
        shares = self.probabilities(features)
        return self.classes[shares.argmax(axis=1)], shares.max(axis=1)


def fit_probe(
    features: np.ndarray, labels: np.ndarray, *, groups: np.ndarray | None = None, seed: int = 0
) -> Probe:
    """Fit a linear head; its regularisation is chosen by cross-validated log-loss on the same rows.

    Features are centred and divided by one number. A spread for each dimension, the usual standardisation,
    lost two points of accuracy on EuroSAT (.914 to .935): dimensions that hardly vary are mostly noise.

    Args:
        features: (n, d) float32.
        labels: (n,) names; one example a class will do.
        groups: (n,) ids of rows that belong together, say a block of ground.
        seed: Of the folds.

    Raises:
        QueryError: Fewer than two classes, or no row of numbers for each label.
    """
    _require_rows(features, labels)
    classes, codes = np.unique(np.asarray(labels).astype(str), return_inverse=True)
    if len(classes) < 2:
        raise QueryError(f"every label says {str(classes[0])!r}: give examples of at least two classes.")
    strength = _chosen_strength(features, codes, groups, seed)
    with threads_for(len(features)):
        *_, (weights, bias) = _heads(features, codes, (strength,))
    return Probe(classes, weights, bias, strength)


def _require_rows(features: np.ndarray, labels: np.ndarray) -> None:
    if features.ndim != 2 or len(features) != len(labels) or not len(labels):
        raise QueryError(f"{len(labels)} labels don't fit features of shape {features.shape}.")
    if not np.isfinite(features).all():
        raise QueryError("some features are no finite numbers: embed their windows again.")


def _heads(
    features: np.ndarray, codes: np.ndarray, strengths: tuple[float, ...]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Weights (d, classes) and bias (classes,) at each strength, each started from the one before.

    Codes are 0 to classes - 1, each there at least once.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    centre = features.mean(axis=0, dtype=np.float64)
    rows = features - centre
    spread = max(float(np.sqrt((rows**2).mean())), 1e-12)
    rows /= spread
    turn = None
    if len(rows) < rows.shape[1]:
        # Weights lie in the span of the rows: in its own coordinates the same head, of fewer dimensions.
        _, sizes, axes = np.linalg.svd(rows, full_matrices=False)
        turn = axes[sizes > 1e-6 * sizes[0]].T if sizes[0] > 0 else axes[:1].T
        rows = rows @ turn
    model = LogisticRegression(max_iter=300, tol=1e-3, warm_start=True)
    for strength in strengths:
        model.set_params(C=strength)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the last digits change no class
            model.fit(rows, codes)
        slopes, bias = model.coef_.T, model.intercept_
        if slopes.shape[1] == 1:
            slopes, bias = slopes * [[0, 1]], bias * [0, 1]
        weights = (slopes if turn is None else turn @ slopes) / spread
        yield weights.astype(np.float32), (bias - centre @ weights).astype(np.float32)


def _chosen_strength(features: np.ndarray, codes: np.ndarray, groups: np.ndarray | None, seed: int) -> float:
    if len(codes) > _ROWS_TO_CHOOSE_BY:
        kept = np.random.default_rng(seed).choice(len(codes), _ROWS_TO_CHOOSE_BY, replace=False)
        features, codes = features[kept], codes[kept]
        groups = None if groups is None else groups[kept]
    losses, judged = np.zeros(len(STRENGTHS)), 0
    with threads_for(len(codes)):
        for train, test in _splits(codes, groups, folds=_INNER_FOLDS, seed=seed):
            seen, known = np.unique(codes[train], return_inverse=True)
            test = test[np.isin(codes[test], seen)]
            if len(seen) < 2 or not len(test):
                continue
            wanted = np.searchsorted(seen, codes[test])
            for number, (weights, bias) in enumerate(_heads(features[train], known, STRENGTHS)):
                shares = Probe(seen, weights, bias, 0).probabilities(features[test])
                losses[number] -= np.log(np.maximum(shares[np.arange(len(test)), wanted], 1e-9)).sum()
            judged += len(test)
    return STRENGTHS[int(losses.argmin())] if judged else DEFAULT_STRENGTH


@contextmanager
def threads_for(rows: int) -> Iterator[None]:
    """One thread for products of few rows, all of them for many."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1 if rows < _ROWS_FOR_THREADS else None, user_api="blas"):
        yield


@dataclass(frozen=True, slots=True)
class Centroids:
    """The naive head: the class whose mean is nearest. Its confidence is the share of inverse distances."""

    classes: np.ndarray
    means: np.ndarray

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `Head.predict`."""
        squares = (features**2).sum(1)[:, None] - 2 * features @ self.means.T + (self.means**2).sum(1)
        near = 1 / np.sqrt(np.maximum(squares, 1e-12))
        shares = (near / near.sum(axis=1, keepdims=True)).astype(np.float32)
        return self.classes[shares.argmax(axis=1)], shares.max(axis=1)


def fit_centroids(features: np.ndarray, labels: np.ndarray, *, groups: np.ndarray | None = None) -> Centroids:
    """The mean of each class; nothing is chosen, so groups don't matter."""
    del groups
    classes, codes = np.unique(np.asarray(labels).astype(str), return_inverse=True)
    return Centroids(
        classes, np.stack([features[codes == code].mean(axis=0) for code in range(len(classes))])
    )


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """How a head does on rows that it wasn't fitted on.

    Attributes:
        accuracy: Over all rows that were held out; None where none could be.
        folds: The same of each fold.
        confusion: Of the rows that were held out.
        n: How many they are.
        note: What a reader of the figure must know; "" where nothing.
    """

    accuracy: float | None
    folds: tuple[float, ...]
    confusion: Confusion
    n: int
    note: str


def cross_validated(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    folds: int = 5,
    seed: int = 0,
    fit: Fit = fit_probe,
) -> CrossValidation:
    """Hold out each row once: at random and stratified, or whole groups together.

    Args:
        features: (n, d) float32.
        labels: (n,) names.
        groups: (n,) ids, such as `spatial_blocks` gives; no group is on both sides.
        folds: At most; fewer where there are fewer groups or examples.
        seed: Of the folds.
        fit: What makes the head.

    Raises:
        QueryError: No row of numbers for each label.
    """
    _require_rows(features, labels)
    names = np.asarray(labels).astype(str)
    classes, codes = np.unique(names, return_inverse=True)
    splits = _splits(codes, groups, folds=folds, seed=seed)
    truth, told, accuracies = [], [], []
    for train, test in splits:
        seen = np.unique(names[train])
        if len(seen) > 1:
            kept = None if groups is None else groups[train]
            answers = fit(features[train], names[train], groups=kept).predict(features[test])[0]
        else:
            answers = np.repeat(seen, len(test))
        truth.append(codes[test])
        told.append(np.searchsorted(classes, answers))
        accuracies.append(float((told[-1] == truth[-1]).mean()))
    none = np.zeros(0, np.int64)
    confusion = confusion_of(np.concatenate([none, *truth]), np.concatenate([none, *told]), classes.tolist())
    note = _note(names, groups, folds, len(splits))
    return CrossValidation(
        confusion.accuracy if splits else None, tuple(accuracies), confusion, confusion.n, note
    )


def _splits(
    codes: np.ndarray, groups: np.ndarray | None, *, folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Row numbers to train and to test on; none where nothing can be held out."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    most = int(np.bincount(codes).max())
    count = min(folds, most, len(codes) if groups is None else len(np.unique(groups)))
    if count < 2:
        return []
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer examples than folds: see `_note`
        parts = list(kind(count, shuffle=True, random_state=seed).split(codes, codes, groups))
    return [(train, test) for train, test in parts if len(train) and len(test)]


def _note(names: np.ndarray, groups: np.ndarray | None, folds: int, made: int) -> str:
    what = "example" if groups is None else "group"
    if not made:
        return f"nothing could be held out: label more than one {what} of a class."
    said = []
    if made < folds:
        said.append(f"{made} folds, for there are too few {what}s for {folds}")
    ids = np.arange(len(names)) if groups is None else groups
    lone = [name for name in np.unique(names) if len(np.unique(ids[names == name])) == 1]
    if lone:
        said.append(f"seen in one {what} alone, so never recognised when held out: {', '.join(lone)}")
    return "; ".join(said)


def default_block_m(xy_m: np.ndarray, *, least_m: float = 0.0) -> float:
    """A block's side so that about ten lie along the longer side of what is labelled.

    Args:
        xy_m: (n, 2) places in metres.
        least_m: A block is never smaller: a window's side, or what one window sees lies in several.
    """
    longest = float(np.ptp(xy_m, axis=0).max()) if len(xy_m) else 0.0
    return max(longest / _BLOCKS_A_SIDE, least_m) or 1.0


def spatial_blocks(xy_m: np.ndarray, block_m: float) -> np.ndarray:
    """Which square block of ground each place lies in: (n,) int64 from 0 on.

    Args:
        xy_m: (n, 2) in metres, in any projected CRS.
        block_m: A block's side.

    Raises:
        UsageError: The side isn't above 0.
    """
    if not block_m > 0:
        raise UsageError(f"blocks of {block_m:g} m hold nothing: give a side above 0.")
    if not len(xy_m):
        return np.zeros(0, np.int64)
    cells = np.floor((xy_m - xy_m.min(axis=0)) / block_m).astype(np.int64)
    return np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
