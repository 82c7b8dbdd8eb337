"""How well two heads retrieve pairs that were held out, both ways."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.alignment.pairs import Pairs
from lib.retrieval import retrieval_of_vectors


@dataclass(frozen=True, slots=True)
class Recall:
    """Of one direction: (queries,) rank, 0 the best; and what chance expects of R@1."""

    ranks: np.ndarray
    chance: float

    @property
    def at_1(self) -> float:
        """Share of queries whose best positive stands first."""
        return float((self.ranks == 0).mean()) if len(self.ranks) else 0.0

    @property
    def is_above_chance(self) -> bool:
        """Whether R@1 is more than two standard errors above what chance expects."""
        error = (self.chance * (1 - self.chance) / max(1, len(self.ranks))) ** 0.5
        return bool(self.at_1 > self.chance + 2 * error)

    @property
    def mrr(self) -> float:
        """Mean of 1 / (rank + 1)."""
        return float((1 / (self.ranks + 1.0)).mean()) if len(self.ranks) else 0.0


@dataclass(frozen=True, slots=True)
class Score:
    """What validation says of heads: mean reciprocal rank decides, being finer than R@1 on few pairs."""

    recalls: tuple[Recall, Recall]

    @property
    def mrr(self) -> float:
        """The mean of both ways."""
        return (self.recalls[0].mrr + self.recalls[1].mrr) / 2

    @property
    def at_1(self) -> float:
        """R@1, the mean of both ways."""
        return (self.recalls[0].at_1 + self.recalls[1].at_1) / 2

    @classmethod
    def pooled(cls, parts: Sequence[tuple[Recall, Recall]]) -> "Score":
        """Of several galleries that were searched apart: all queries together."""
        left, right = (
            Recall(
                np.concatenate([part[way].ranks for part in parts]),
                float(np.average([p[way].chance for p in parts], weights=[len(p[way].ranks) for p in parts])),
            )
            for way in (0, 1)
        )
        return cls((left, right))


def recalls(pairs: Pairs, left: np.ndarray, right: np.ndarray) -> tuple[Recall, Recall]:
    """Left to right and right to left, among the contents that are in a pair; ties count against us.

    Args:
        pairs: Who belongs to whom.
        left: (used left rows, k) unit vectors, in the order of `pairs.used(0)`.
        right: The same of the right.
    """
    local = np.stack([np.searchsorted(pairs.used(side), pairs.pairs[:, side]) for side in (0, 1)], axis=1)
    return _recall(left, right, local), _recall(right, left, local[:, ::-1])


def _recall(queries: np.ndarray, gallery: np.ndarray, positives: np.ndarray) -> Recall:
    found = retrieval_of_vectors(queries, gallery, positives)
    return Recall(found.ranks, float(found.relevant.mean() / max(1, len(gallery))) if len(queries) else 0.0)
