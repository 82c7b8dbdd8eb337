"""How many pictures at a time, in how many streams: measured once on a machine, then read back.

Vectors don't depend on it: bit for bit the same for batches of 1 to 8 in 1 or 2 streams, and for shapes that
weren't fixed (ViT-S/16 in bf16, EfficientNet-Lite0 in f32; AVX-512 with bf16, OpenVINO 2026.4).
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from lib.embedding.checkpoints import write_whole

_WINDOW_S = 0.15
_WINDOWS = 3
_BUDGET_S = 5.0
# What is slower than the best by less is taken for equal: then fewer pictures at a time win, since the last
# ones of a film wait for no others, and its last batch runs fewer empty places.
_ALIKE = 0.97
# Measured twice, if they come so close: one bad moment of a machine is no reason to lose for ever.
_CLOSE = 0.8
# What others may take of the machine while this is measured.
_QUIET_SHARE = 0.1
_QUIET_S = 0.1


@dataclass(frozen=True, slots=True)
class Choice:
    """Pictures a batch, batches that run side by side, and in what way where there is more than one."""

    batch: int
    streams: int
    how: str = ""

    @property
    def shown(self) -> str:
        """For people."""
        return f"{self.batch} x {self.streams}{' ' * bool(self.how)}{self.how}"


def default(threads: int) -> Choice:
    """What is taken where nothing was measured.

    On 2 cores one thread a stream beats both on one batch. One picture at a time did as well as 4 with
    ViT-S/16, and 178 pictures a second against 150 with EfficientNet-Lite0, whose maps then fit the caches.
    """
    return Choice(1, threads) if threads < 8 else Choice(4, threads // 4)


def candidates(threads: int) -> list[Choice]:
    """What is worth trying, the likeliest first."""
    streams = sorted({threads, max(1, threads // 2), max(1, threads // 4)}, reverse=True)
    tried = [Choice(batch, count) for count in streams[:2] for batch in (1, 2, 4)]
    tried += [Choice(4, count) for count in streams[2:]]
    first = default(threads)
    return [first, *(choice for choice in tried if choice != first)]


def fastest(
    choices: Iterable[Choice], rate_of: Callable[[Choice], float], *, budget_s: float = _BUDGET_S
) -> tuple[Choice, dict[Choice, float]]:
    """Try one after the other until the time is up; the first is tried in any case.

    Args:
        choices: Most likely ones first.
        rate_of: Pictures a second that one reaches.
        budget_s: No other choice is begun after so many seconds.

    Returns:
        The best, and the rates of all that were tried.
    """
    began, rates = time.monotonic(), dict[Choice, float]()

    def is_over() -> bool:
        return time.monotonic() - began > budget_s

    for choice in choices:
        if rates and is_over():
            break
        rates[choice] = rate_of(choice)
    for choice in [choice for choice in rates if rates[choice] >= _CLOSE * max(rates.values())]:
        if len(rates) > 1 and not is_over():
            rates[choice] = max(rates[choice], rate_of(choice))
    alike = [choice for choice, rate in rates.items() if rate >= _ALIKE * max(rates.values())]
    return min(alike, key=lambda choice: (choice.batch, -rates[choice])), rates


def rate_of_stream(
    run: Callable[[Iterable[np.ndarray]], Generator[tuple[np.ndarray, ...], None, None]], pictures: np.ndarray
) -> float:
    """Pictures a second of a runtime that is kept full; the best of a few short windows.

    The best, because what disturbs a measurement only ever slows it down.
    """
    with contextlib.closing(run(cycle(pictures))) as stream:
        _window(stream)  # finds cold caches and an empty queue
        began, rates = time.monotonic(), list[float]()
        # A network that takes a second for a few pictures is measured once.
        while len(rates) < _WINDOWS and time.monotonic() - began < _WINDOWS * _WINDOW_S + 0.1:
            rates.append(_window(stream))
    return max(rates)


def _window(stream: Iterator[tuple[np.ndarray, ...]]) -> float:
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < _WINDOW_S or not done:
        done += len(next(stream)[0])
    return done / (time.perf_counter() - began)


@contextlib.contextmanager
def one_at_a_time(lock_file: Path) -> Iterator[None]:
    """One process at a time does this; where no lock can be had, each as it comes."""
    lock = FileLock(lock_file)
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError:
        yield
        return
    try:
        yield
    finally:
        lock.release()


class Notebook:
    """What was measured before, in one small file a machine."""

    def __init__(self, file: Path):
        self._file = file

    def choice(self, what: str) -> Choice | None:
        """What was chosen; None when it never was, or the file is damaged."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(self._file.read_text())[what]
            batch, streams = int(kept["batch"]), int(kept["streams"])
            if batch > 0 and streams > 0:
                return Choice(batch, streams, str(kept.get("how", "")))
        return None

    def settled(self, what: str, measure: Callable[[], tuple[Choice, dict[Choice, float]]]) -> Choice | None:
        """The choice that is noted, else the one measured now; None where neither can be.

        One process at a time measures: two at once would slow each other. Where nothing can be written
        nothing is measured either, for each process would do it again; nor while others are at work, for it
        would stand for ever; nor with `DINOLAKE_TUNING=off`.
        """
        known = self.choice(what)
        if known or os.environ.get("DINOLAKE_TUNING") == "off":
            return known
        with one_at_a_time(self._file.with_suffix(".lock")):
            known = self.choice(what)
            if known or not self._keep({}) or not is_quiet():
                return known
            chosen, rates = measure()
            told = {"pictures_per_s": {choice.shown: round(rate, 1) for choice, rate in rates.items()}}
            self._keep({what: asdict(chosen) | told})
            return chosen

    def _keep(self, fresh: dict[str, Any]) -> bool:
        """Note this beside what stands there; False where it can't be."""
        try:
            write_whole(self._file, json.dumps(self._all() | fresh, indent=1))
        except OSError:
            return False
        return True

    def _all(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(self._file.read_text())
            if isinstance(known, dict):
                return known
        return {}


def is_quiet() -> bool:
    """Whether other processes leave this machine alone just now; yes where that can't be told."""
    before = _others_s()
    time.sleep(_QUIET_S)
    # Two ticks of a hundredth are within the counters' own error.
    return _others_s() - before <= _QUIET_SHARE * _QUIET_S * (os.cpu_count() or 1) + 0.02


def _others_s() -> float:
    """Seconds that all processors were busy for others than this process."""
    with contextlib.suppress(OSError, ValueError):
        user, nice, system, _, _, irq, soft, steal = map(
            int, Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
        )
        ticks = user + nice + system + irq + soft + steal
        return ticks / os.sysconf("SC_CLK_TCK") - time.process_time()
    return 0.0
