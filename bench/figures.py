"""A figure and how it comes about: two ways of doing the same, timed in turn in one process."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Figure:
    """A ratio to something that a reader can run.

    Attributes:
        name: What is measured.
        against: What it is held against.
        ratios: One for each time that both were measured; the median counts.
        goal: What the median has to reach; None where a figure stands for itself.
        is_at_most: Whether the goal is an upper limit.
        detail: The numbers behind the ratio, and what else one should know.
    """

    name: str
    against: str
    ratios: tuple[float, ...]
    goal: float | None = None
    is_at_most: bool = False
    detail: str = ""

    @property
    def ratio(self) -> float:
        """The median."""
        return float(np.median(self.ratios))

    @property
    def is_reached(self) -> bool:
        """Whether the goal is; yes where there is none."""
        if self.goal is None:
            return True
        return self.ratio <= self.goal if self.is_at_most else self.ratio >= self.goal

    def as_json(self) -> dict[str, Any]:
        """As it stands in `latest.json`."""
        return {
            "name": self.name,
            "against": self.against,
            "ratio": round(self.ratio, 5),
            "goal": self.goal,
            "ok": self.is_reached,
            "goal_is": None if self.goal is None else "at most" if self.is_at_most else "at least",
            "spread": [round(min(self.ratios), 5), round(max(self.ratios), 5)],
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class Pairs:
    """Seconds that two ways took, measured in turn."""

    ours_s: tuple[float, ...]
    theirs_s: tuple[float, ...]

    @property
    def speedups(self) -> tuple[float, ...]:
        """How many times faster ours was, pair by pair."""
        return tuple(theirs / ours for ours, theirs in zip(self.ours_s, self.theirs_s, strict=True))

    @property
    def slowdowns(self) -> tuple[float, ...]:
        """How many times longer ours took, pair by pair."""
        return tuple(1 / speedup for speedup in self.speedups)

    @property
    def best_speedup(self) -> float:
        """The fastest of theirs against the fastest of ours: what load from outside disturbs least."""
        return min(self.theirs_s) / min(self.ours_s)


def paired(ours: Callable[[], float], theirs: Callable[[], float], *, repeats: int) -> Pairs:
    """Time theirs and ours in turn; each says how many seconds it took."""
    theirs_s, ours_s = [], []
    for _ in range(repeats):
        theirs_s.append(theirs())
        ours_s.append(ours())
    return Pairs(tuple(ours_s), tuple(theirs_s))


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def least_cosine(ours: np.ndarray, exact: np.ndarray) -> float:
    """The least cosine of rows, (n, dim) each."""
    one, other = ours.astype(np.float64), exact.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(axis=1) / lengths).min())
