"""Which frames of a video are taken. Plain data and numbers: no decoder, no pictures but small thumbnails."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Literal, Protocol, TypeVar

import numpy as np

from lib.errors import UsageError
from lib.media.timeline import Timeline

# A cut stands out from its own surroundings. On 32 x 32 luma thumbnails of eleven real videos, true cuts
# differ by 32 to 102, at least 2.7 times as much as the two steps on either side; a jerked camera by
# up to 53, 1.9 times.
CUT_LUMA = 15.0
CUT_OVER_NEIGHBOURS = 2.0
CUT_NEIGHBOURS = 2

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Sampling:
    """How frames are chosen.

    Attributes:
        mode: `interval`: the frame shown at 0, 1/n, 2/n … seconds; `scene`: the first frame and one after
            each cut; `keyframes`: those that the file can decode by themselves.
        per_second: n of `interval`.
        skip_similar: Leave out a frame that looks like the last one kept.
        similar_luma: Mean absolute difference of 32 x 32 luma thumbnails (0 to 255) up to which frames are
            alike.
    """

    mode: Literal["interval", "scene", "keyframes"] = "interval"
    per_second: float = 1.0
    skip_similar: bool = False
    similar_luma: float = 2.0

    def __post_init__(self) -> None:
        if self.mode not in ("interval", "scene", "keyframes"):
            raise UsageError(f"unknown sampling mode {self.mode!r}: choose interval, scene or keyframes")
        if not 0.001 <= self.per_second <= 1000:
            raise UsageError(f"{self.per_second} frames a second: choose between 0.001 and 1000")

    @property
    def choice(self) -> "Choice":
        """The frames to decode; for `scene` all of them, to find the cuts among them."""
        if self.mode == "interval":
            return AtIntervals(Fraction(self.per_second).limit_denominator(10_000))
        return Keyframes() if self.mode == "keyframes" else Everything()


class DecodedFrame(Protocol):
    """What a choice asks of a frame."""

    key_frame: bool


FrameT = TypeVar("FrameT", bound=DecodedFrame)


class Choice(Protocol):
    """Says of each frame whether it is taken."""

    has_first: ClassVar[bool]  # the first frame that can be decoded is taken in any case

    def takes(self, tick: int, until: int, is_key: bool, timeline: Timeline) -> bool:
        """Whether to take the frame that is shown from `tick` until just before `until`."""


def choose_ticks(choice: Choice, timeline: Timeline) -> np.ndarray:
    """Ticks of the chosen frames, ascending, from timestamps alone."""
    return np.array([span[0] for span in timeline.spans() if choice.takes(*span, timeline)], np.int64)


def choose_frames(
    choice: Choice, timeline: Timeline, frames: Iterable[tuple[int, FrameT]]
) -> Iterator[tuple[int, FrameT]]:
    """The chosen ones of all (tick, frame), ascending, as they come."""
    held, is_first = None, choice.has_first
    for tick, frame in frames:
        if held and (is_first or choice.takes(held[0], tick, held[1].key_frame, timeline)):
            yield held
        is_first = is_first and held is None
        held = tick, frame
    if held and (is_first or choice.takes(held[0], held[0] + timeline.step, held[1].key_frame, timeline)):
        yield held


@dataclass(frozen=True, slots=True)
class AtIntervals:
    """For each k / per_second from 0 s on, the frame shown then; each frame once."""

    has_first: ClassVar[bool] = True
    per_second: Fraction

    def takes(self, tick: int, until: int, is_key: bool, timeline: Timeline) -> bool:
        """See Choice."""
        # Whole numbers: 30 frames of 1/30 s each must make 1 s exactly. One interval is a / b ticks.
        a = self.per_second.denominator * timeline.time_base.denominator
        b = self.per_second.numerator * timeline.time_base.numerator
        k = -(-(tick - timeline.origin) * b // a)  # the first k whose time is not before this frame's
        return k * a < (until - timeline.origin) * b


@dataclass(frozen=True, slots=True)
class Everything:
    """Every frame."""

    has_first: ClassVar[bool] = True

    def takes(self, tick: int, until: int, is_key: bool, timeline: Timeline) -> bool:
        """See Choice."""
        return True


@dataclass(frozen=True, slots=True)
class Keyframes:
    """Every keyframe."""

    has_first: ClassVar[bool] = True

    def takes(self, tick: int, until: int, is_key: bool, timeline: Timeline) -> bool:
        """See Choice."""
        return is_key


@dataclass(frozen=True, slots=True)
class Exactly:
    """The frames of these ticks."""

    has_first: ClassVar[bool] = False
    ticks: frozenset[int]

    def takes(self, tick: int, until: int, is_key: bool, timeline: Timeline) -> bool:
        """See Choice."""
        return tick in self.ticks


@dataclass(frozen=True, slots=True)
class Between:
    """All frames that are shown at some time within any of these spans of seconds."""

    has_first: ClassVar[bool] = False
    spans_s: tuple[tuple[float, float], ...]

    def takes(self, tick: int, until: int, is_key: bool, timeline: Timeline) -> bool:
        """See Choice."""
        start_s, end_s = timeline.seconds(tick), timeline.seconds(until)
        return any(start_s < span[1] and end_s > span[0] for span in self.spans_s)


def keep_cuts(frames: Iterable[tuple[Item, np.ndarray]]) -> Iterator[tuple[Item, np.ndarray]]:
    """Keep the first frame, and each that differs far more from the one before than its neighbours do.

    Args:
        frames: (anything, thumbnail), in time order; thumbnails of one shape.
    """
    steps: deque[float] = deque(maxlen=2 * CUT_NEIGHBOURS + 1)
    waiting: deque[tuple[Item, np.ndarray]] = deque()  # until the steps on both sides are known
    before: np.ndarray | None = None
    for item, thumbnail in frames:
        if before is None:
            yield item, thumbnail
        else:
            steps.append(luma_difference(thumbnail, before))
            waiting.append((item, thumbnail))
            if len(waiting) > CUT_NEIGHBOURS:
                candidate = waiting.popleft()
                if _is_cut(list(steps), len(steps) - 1 - CUT_NEIGHBOURS):
                    yield candidate
        before = thumbnail
    for place, candidate in enumerate(waiting, start=len(steps) - len(waiting)):
        if _is_cut(list(steps), place):
            yield candidate


def _is_cut(steps: list[float], place: int) -> bool:
    near = steps[max(0, place - CUT_NEIGHBOURS) : place] + steps[place + 1 : place + 1 + CUT_NEIGHBOURS]
    return steps[place] >= max(CUT_LUMA, CUT_OVER_NEIGHBOURS * max(near, default=0.0))


def luma_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference of two thumbnails, 0 to 255."""
    return float(np.abs(one.astype(np.int16) - other.astype(np.int16)).mean())
