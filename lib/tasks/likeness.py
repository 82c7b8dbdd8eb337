"""Likeness from a handful of examples: a light head on stored features, or their mean."""

from dataclasses import dataclass

import numpy as np

from lib.embedding.vectors import unit
from lib.errors import QueryError
from lib.tasks.probe import threads_for

# sklearn's C, on features of unit length and weights of sum 1: for few examples, close to a difference of
# means. Ten times more or less of it lost .01 to .04 of mean AP on EuroSAT (3 to 10 examples).
_STRENGTH = 300.0
_BACKGROUND = 200
# Mean AP on EuroSAT, 5 examples and 5 of the head's own errors: at 0 .876, .1 .892, .25 .880, .4 .826; of 5
# random ones .828, .833, .832, .816. The mean of the examples alone: .84 and .80.
_COUNTER_SHARE = 0.15
_LEAST_FOR_HEAD = 3
_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True)
class Likeness:
    """A direction in centred feature space; the more a feature points there, the more it is alike.

    Attributes:
        centre: (d,) float32, the mean of what is searched.
        direction: (d,) float32 of unit length.
    """

    centre: np.ndarray
    direction: np.ndarray

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Cosine of (n, d) centred features with the direction: (n,) float32; higher is more alike."""
        made = np.empty(len(features), np.float32)
        for start in range(0, len(features), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            made[part] = unit(features[part] - self.centre) @ self.direction
        return made


def fit_likeness(yes: np.ndarray, no: np.ndarray, sample: np.ndarray, *, seed: int = 0) -> Likeness:
    """What examples have in common that counter-examples and the rest have not.

    A logistic head in which the examples weigh 1/2, 200 rows of the sample, taken for background, .35 and
    counter-examples .15 (without any, background has it all). Of a handful of counter-examples alone it would
    learn these and not the rest. One or two examples by themselves are no class to fit: their mean.

    Args:
        yes: (n, d) features that are alike, at least one.
        no: (m, d) features that aren't; (0, d) for none.
        sample: (rows, d) of what is searched: its mean, and the background.
        seed: Of the background.

    Raises:
        QueryError: No example is given, or nothing to be searched.
    """
    if not len(yes) or not len(sample):
        raise QueryError("no example lies on anything that is stored: give at least one place that does.")
    centre = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    alike = unit(yes - centre)
    if not len(no) and len(yes) < _LEAST_FOR_HEAD:
        return Likeness(centre, unit(alike.mean(axis=0)))
    from sklearn.linear_model import LogisticRegression

    drawn = np.random.default_rng(seed).choice(len(sample), min(_BACKGROUND, len(sample)), replace=False)
    background = unit(sample[drawn] - centre)
    if len(no):
        parts = [(alike, 0.5), (background, 0.5 - _COUNTER_SHARE), (unit(no - centre), _COUNTER_SHARE)]
    else:
        parts = [(alike, 0.5), (background, 0.5)]
    weights = np.concatenate([np.full(len(part), share / len(part)) for part, share in parts])
    is_alike = np.arange(len(weights)) < len(yes)
    rows = np.concatenate([part for part, _ in parts])
    with threads_for(len(rows)):
        model = LogisticRegression(C=_STRENGTH, max_iter=1000)
        model.fit(rows, is_alike, sample_weight=weights)
    return Likeness(centre, unit(model.coef_[0]))


def rank_alike(yes: np.ndarray, no: np.ndarray, features: np.ndarray) -> np.ndarray:
    """How much each of (n, d) features is like some examples and unlike others; see `fit_likeness`.

    Returns:
        (n,) float32 in [-1, 1], higher is more alike.

    Raises:
        QueryError: No example is given.
    """
    return fit_likeness(yes, no, features).scores(features)
