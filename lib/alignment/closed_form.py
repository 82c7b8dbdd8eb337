"""Heads in closed form: raw cosine, standardised per view, within-pair whitening, ridge and CCA.

Every estimate is shrunk as if a prior said as much as one pair a dimension: the weight of the prior is
m / (m + n) for m dimensions and n pairs. So two pairs can be fitted, and among a million it is nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lib.alignment.config import AlignerConfig
from lib.alignment.heads import Head
from lib.alignment.pairs import Pairs
from lib.errors import AlignerError

Heads = tuple[Head, Head]
_BLOCK = 8192
# A basis of more rows or dimensions than these is fitted on a seeded sample: its cost grows with the cube.
_MOST_ROWS, _MOST_DIMS = 4096, 3072
# Of the largest variance; what is below is float16's rounding.
_LEAST_VARIANCE = 1e-6


@dataclass(frozen=True, slots=True)
class View:
    """A side's features, their mean (d,) and `scale`, their root mean square length around it."""

    features: np.ndarray
    rows: np.ndarray
    mean: np.ndarray
    scale: float

    @classmethod
    def of(cls, pairs: Pairs, side: int) -> "View":
        """Of the rows that are in a pair, each counted once."""
        features, rows = (pairs.left, pairs.right)[side], pairs.used(side)
        if not len(rows):
            raise AlignerError("there is no pair to fit an aligner on: the train side needs at least one")
        total, squares = np.zeros(features.shape[1]), 0.0
        for block in _blocks(rows):
            part = features[block].astype(np.float32)
            if not np.isfinite(part).all():
                raise AlignerError("features hold values that are no numbers: embed the side again")
            total += part.sum(axis=0, dtype=np.float64)
            squares += float(np.einsum("ij,ij->", part, part, dtype=np.float64))
        mean = total / len(rows)
        variance = max(0.0, squares / len(rows) - float(mean @ mean))
        return cls(features, rows, mean.astype(np.float32), variance**0.5 if variance > 1e-10 else 1.0)

    def standard(self, rows: np.ndarray) -> np.ndarray:
        """(n, d) float32 rows around their mean, of root mean square length 1."""
        return np.asarray((self.features[rows].astype(np.float32) - self.mean) / np.float32(self.scale))


def fit_raw_cosine(train: Pairs, config: AlignerConfig) -> Heads:
    """Features as they are."""
    _require_one_space(train)
    return Head(train.left.shape[1]), Head(train.right.shape[1])


def fit_standardised(train: Pairs, config: AlignerConfig) -> Heads:
    """Each view around its own mean: what a view has in common (light, height, camera) tells no pair."""
    _require_one_space(train)
    views = View.of(train, 0), View.of(train, 1)
    return Head(train.left.shape[1], views[0].mean), Head(train.right.shape[1], views[1].mean)


def fit_whitened(train: Pairs, config: AlignerConfig) -> Heads:
    """Joint PCA, then the inverse root of the covariance of paired differences.

    Directions in which the two views of one thing differ are scaled down, as in within-class covariance
    normalisation (Hatch et al., 2006), with pairs as classes.
    """
    _require_one_space(train)
    views = View.of(train, 0), View.of(train, 1)
    basis = _basis(views, config)
    within = np.zeros((basis.shape[1],) * 2)
    for block in _blocks(train.pairs):
        apart = (views[0].standard(block[:, 0]) - views[1].standard(block[:, 1])) @ basis
        within += (apart.T @ apart).astype(np.float64)
    project = basis @ _inverse_root(_shrunk(within / (2 * len(train)), len(train)))
    left, right = (Head(len(v.mean), v.mean, _single(project / v.scale)) for v in views)
    return left, right


def fit_ridge(train: Pairs, config: AlignerConfig) -> Heads:
    """The right side's principal components, and what ridge regression predicts of them from the left."""
    both = _Moments.of(train, config)
    mapped = np.linalg.solve(_shrunk(both.left, len(train)), both.cross)
    one, other = both.views
    return (
        Head(len(one.mean), one.mean, _single(both.bases[0] / one.scale), _single(mapped)),
        Head(len(other.mean), other.mean, _single(both.bases[1] / other.scale)),
    )


def fit_cca(train: Pairs, config: AlignerConfig) -> Heads:
    """Regularised canonical correlations, each direction weighted by its correlation."""
    both = _Moments.of(train, config)
    roots = [_inverse_root(_shrunk(own, len(train))) for own in (both.left, both.right)]
    turn_left, strength, turn_right = np.linalg.svd(roots[0] @ both.cross @ roots[1], full_matrices=False)
    turns = turn_left * strength, turn_right.T * strength
    left, right = (
        Head(len(v.mean), v.mean, _single(basis @ root / v.scale), _single(turn))
        for v, basis, root, turn in zip(both.views, both.bases, roots, turns, strict=True)
    )
    return left, right


CLOSED_FORMS: dict[str, Callable[[Pairs, AlignerConfig], Heads]] = {
    "raw_cosine": fit_raw_cosine,
    "standardised": fit_standardised,
    "whitened": fit_whitened,
    "ridge": fit_ridge,
    "cca": fit_cca,
}


@dataclass(frozen=True, slots=True)
class _Moments:
    """Both views' principal components over the pairs: bases (d, m), covariances (m, m), cross (m1, m2)."""

    views: tuple[View, View]
    bases: tuple[np.ndarray, np.ndarray]
    left: np.ndarray
    right: np.ndarray
    cross: np.ndarray

    @classmethod
    def of(cls, train: Pairs, config: AlignerConfig) -> "_Moments":
        views = View.of(train, 0), View.of(train, 1)
        bases = _basis(views[:1], config), _basis(views[1:], config)
        sizes = bases[0].shape[1], bases[1].shape[1]
        left, right, cross = (np.zeros((sizes[a], sizes[b])) for a, b in ((0, 0), (1, 1), (0, 1)))
        for block in _blocks(train.pairs):
            one, other = (v.standard(block[:, i]) @ bases[i] for i, v in enumerate(views))
            left += (one.T @ one).astype(np.float64)
            right += (other.T @ other).astype(np.float64)
            cross += (one.T @ other).astype(np.float64)
        n = len(train)
        return cls(views, bases, left / n, right / n, cross / n)


def _basis(views: tuple[View, ...], config: AlignerConfig) -> np.ndarray:
    """(d, m) principal directions of the views' rows together, m at most `config.dim`."""
    dim = len(views[0].mean)
    rows = [v.rows for v in views]
    count = sum(map(len, rows))
    if count <= dim or dim > _MOST_DIMS:
        if count > _MOST_ROWS:
            draw = np.random.default_rng(config.seed)
            most = _MOST_ROWS // len(views)
            rows = [np.sort(draw.permutation(own)[:most]) for own in rows]
        stack = np.concatenate([v.standard(own) for v, own in zip(views, rows, strict=True)])
        values, turns = np.linalg.eigh((stack @ stack.T).astype(np.float64))
        kept = _kept(values, config.dim)
        return _single(stack.T @ (turns[:, kept] / np.sqrt(values[kept])))
    spread = np.zeros((dim, dim))
    for view, own in zip(views, rows, strict=True):
        for block in _blocks(own):
            part = view.standard(block)
            spread += (part.T @ part).astype(np.float64)
    values, turns = np.linalg.eigh(spread)
    return _single(turns[:, _kept(values, config.dim)])


def _kept(values: np.ndarray, most: int) -> np.ndarray:
    """Places of the largest eigenvalues, the largest first."""
    order = np.argsort(values)[::-1][:most]
    kept = order[values[order] > max(values[order[0]] * _LEAST_VARIANCE, 1e-12)]
    if not len(kept):
        raise AlignerError("all features of a side are equal: there is no direction to tell pairs by")
    return np.asarray(kept)


def _shrunk(moment: np.ndarray, pairs: int) -> np.ndarray:
    """A covariance (m, m) drawn towards a multiple of identity by the prior's weight."""
    m = len(moment)
    prior = m / (m + pairs)
    size = np.trace(moment) / m
    return np.asarray((1 - prior) * moment + (prior * size if size > 0 else 1.0) * np.eye(m))


def _inverse_root(moment: np.ndarray) -> np.ndarray:
    values, turns = np.linalg.eigh(moment)
    return np.asarray((turns / np.sqrt(np.maximum(values, values[-1] * 1e-9))) @ turns.T)


def _require_one_space(train: Pairs) -> None:
    sizes = train.left.shape[1], train.right.shape[1]
    if sizes[0] != sizes[1]:
        raise AlignerError(f"the sides' features have {sizes[0]} and {sizes[1]} dimensions")


def _blocks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]


def _single(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32)
