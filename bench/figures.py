"""A figure and how it comes about: two ways of doing the same, timed in turn in one run."""

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

# Eager torch waits at a barrier after each operation. With one of two cores half taken by another process it
# ran four times slower, where ours lost a third: such pairs would say that we are seven times faster.
CALM_SHARE = 0.05
PATIENCE = 3


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
        part: The part of the bench that measured it; `bench.__main__` writes it.
    """

    name: str
    against: str
    ratios: tuple[float, ...]
    goal: float | None = None
    is_at_most: bool = False
    detail: str = ""
    part: str = ""

    @property
    def digits(self) -> int:
        """Decimals that its ratio is written with: cosines near 1 and shares take more."""
        if "cosine" in self.name:
            return 5
        return 3 if self.goal is not None and self.goal < 1 else 2

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
            "part": self.part,
            "against": self.against,
            "ratio": round(self.ratio, 5),
            "goal": self.goal,
            "ok": self.is_reached,
            "goal_is": None if self.goal is None else "at most" if self.is_at_most else "at least",
            "digits": self.digits,
            "spread": [round(min(self.ratios), 5), round(max(self.ratios), 5)],
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class Pair:
    """Seconds that theirs and ours took, one right after the other; what others took of the machine then."""

    theirs_s: float
    ours_s: float
    others: float  # the greater of both times' shares, 0 to 1; 0 where it can't be told


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs that count: the calmest of those that were measured."""

    kept: tuple[Pair, ...]
    measured: int

    @property
    def speedups(self) -> tuple[float, ...]:
        """How many times faster ours was, pair by pair."""
        return tuple(pair.theirs_s / pair.ours_s for pair in self.kept)

    @property
    def slowdowns(self) -> tuple[float, ...]:
        """How many times longer ours took, pair by pair."""
        return tuple(pair.ours_s / pair.theirs_s for pair in self.kept)

    @property
    def theirs_s(self) -> float:
        """The median of theirs."""
        return float(np.median([pair.theirs_s for pair in self.kept]))

    @property
    def ours_s(self) -> float:
        """The median of ours."""
        return float(np.median([pair.ours_s for pair in self.kept]))

    @property
    def calm(self) -> str:
        """How quiet it was, in words."""
        most = max(pair.others for pair in self.kept)
        busy = f", BUSY: others took up to {most:.0%} of the machine" if most > CALM_SHARE else ""
        return f"the calmest {len(self.kept)} of {self.measured} pairs{busy}"


def paired(ours: Callable[[], float], theirs: Callable[[], float], *, repeats: int) -> Pairs:
    """Time theirs and ours in turn, until there are enough calm pairs or patience ends.

    Pairs are chosen by what other processes took of the machine meanwhile, never by what came out.

    Args:
        ours: Says how many seconds it took.
        theirs: The same.
        repeats: Pairs wanted.
    """
    pairs: list[Pair] = []
    while len(pairs) < PATIENCE * repeats and sum(pair.others <= CALM_SHARE for pair in pairs) < repeats:
        (theirs_s, beside_theirs), (ours_s, beside_ours) = _watched(theirs), _watched(ours)
        pairs.append(Pair(theirs_s, ours_s, max(beside_theirs, beside_ours)))
    return Pairs(tuple(sorted(pairs, key=lambda pair: pair.others)[:repeats]), len(pairs))


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _watched(timed: Callable[[], float]) -> tuple[float, float]:
    """What it says, and the share of the machine that other processes took while it ran."""
    began_s, busy_s, own_s = time.perf_counter(), _busy_s(), _own_s()
    told = timed()
    others_s = (_busy_s() - busy_s) - (_own_s() - own_s)
    lasted_s = time.perf_counter() - began_s
    return told, max(0.0, others_s / lasted_s / (os.cpu_count() or 1))


def _own_s() -> float:
    """Processor seconds of this process and of all below it, ended ones too: Ray's and Daft's workers are."""
    total = 0.0
    for process in (here := psutil.Process(), *here.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            spent = process.cpu_times()
            total += spent.user + spent.system + spent.children_user + spent.children_system
    return total


def _busy_s() -> float:
    """Seconds that all processors together have been at work, or were taken by the machine's host."""
    file = Path("/proc/stat")
    if not file.is_file():
        return time.process_time()
    user, nice, system, _, _, irq, softirq, steal = map(int, file.read_text().split(maxsplit=9)[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def least_cosine(ours: np.ndarray, exact: np.ndarray) -> float:
    """The least cosine of rows, (n, dim) each."""
    one, other = ours.astype(np.float64), exact.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(axis=1) / lengths).min())
