"""When each packet of a video is shown, and which packets a set of frames needs. Numbers, no decoder."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Timeline:
    """A video's packets in decoding order, as found by reading them without decoding.

    Times are ticks of `time_base` seconds, as the container counts them; where it doesn't count them in
    order, ticks begin at 0 with the first frame that is decoded.
    """

    pts: np.ndarray  # (packets,) int64: the tick at which each is shown
    is_key: np.ndarray  # (packets,) bool
    is_shown: np.ndarray  # (packets,) bool: False where an edit list hides the frame
    time_base: Fraction
    step: int  # ticks for which the last frame is shown, at least 1
    is_orderly: bool  # False where timestamps are missing, repeated or jump back, or packets are damaged
    top_layer: int = 0  # highest temporal sub-layer (HEVC)

    @cached_property
    def frames(self) -> int:
        """How many frames are to be shown."""
        return int(self.is_shown.sum())

    @cached_property
    def shown(self) -> np.ndarray:
        """The ticks of all shown frames, ascending."""
        return np.sort(self.pts[self.is_shown])

    @cached_property
    def origin(self) -> int:
        """The tick that counts as 0 s: the first frame's."""
        return int(self.shown[0]) if self.is_orderly else 0

    @cached_property
    def end(self) -> int:
        """The tick at which the last frame stops being shown."""
        return int(self.shown[-1]) + self.step if self.is_orderly else self.step * self.frames

    @property
    def duration_s(self) -> float:
        """From the first frame's time to the end of the last."""
        return self.seconds(self.end)

    def until(self, tick: int) -> int:
        """The tick at which the frame shown at this one gives way to the next."""
        if not self.is_orderly:
            return tick + self.step
        place = int(np.searchsorted(self.shown, tick, side="right"))
        return int(self.shown[place]) if place < len(self.shown) else self.end

    def seconds(self, tick: int) -> float:
        """Seconds since the first frame."""
        return float((tick - self.origin) * self.time_base)

    def spans(self) -> Iterator[tuple[int, int, bool]]:
        """Each shown frame's tick, the tick at which the next follows, and if it is a keyframe; by time."""
        shown = np.flatnonzero(self.is_shown)
        shown = shown[np.argsort(self.pts[shown], kind="stable")]
        ticks = self.pts[shown].tolist()
        return zip(ticks, [*ticks[1:], self.end], self.is_key[shown].tolist(), strict=True)

    def needed(self, wanted: np.ndarray) -> np.ndarray:
        """Which packets a decoder must see to give the wanted frames.

        From a wanted frame's keyframe up to its own packet. A leading frame (shown before the keyframe that
        it follows in the file, as in open GOPs) refers across that keyframe: it needs the GOP before as well.

        Args:
            wanted: Ticks of the wanted frames.

        Returns:
            (packets,) bool
        """
        keyframe = np.maximum.accumulate(np.where(self.is_key, np.arange(len(self.pts)), 0))
        packets = np.flatnonzero(np.isin(self.pts, wanted) & self.is_shown)
        starts = keyframe[packets]
        leading = (starts > 0) & (self.pts[packets] < self.pts[starts])
        while leading.any():
            starts[leading] = keyframe[starts[leading] - 1]
            leading = (starts > 0) & (self.pts[packets] < self.pts[starts])
        edges = np.zeros(len(self.pts) + 1, np.int64)
        np.add.at(edges, starts, 1)
        np.add.at(edges, packets + 1, -1)
        return np.cumsum(edges[:-1]) > 0
