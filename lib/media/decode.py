"""Frames of a video, exactly as a full decode gives them, at the cost of what they need."""

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

import numpy as np

from lib.media.bitstream import is_disposable, nal_length_of
from lib.media.container import DECODER_ERRORS, Clock, open_video, packets_of, reason_of
from lib.media.sampling import Choice, choose_frames, choose_ticks
from lib.media.timeline import Timeline

RESET_S = 1.0  # timestamps that fall back by more than this start anew; by less, they are errors


@dataclass(slots=True)
class Damage:
    """What could not be decoded on the way."""

    first_s: float | None = None
    resumed_s: float | None = None
    reason: str = ""
    stretches: int = 0

    def began(self, after_s: float, error: str) -> None:
        """A stretch that can't be decoded begins after the last good frame."""
        self.stretches += 1
        if self.first_s is None:
            self.first_s, self.reason = after_s, error

    def ended(self, at_s: float) -> None:
        """Good frames come again."""
        if self.first_s is not None and self.resumed_s is None:
            self.resumed_s = at_s

    @property
    def note(self) -> str:
        """One plain line; empty where all went well."""
        if self.first_s is None:
            return ""
        if self.resumed_s is None:
            return f"decoding stops after {self.first_s:.1f} s: {self.reason}"
        more = f" and {self.stretches - 1} times more" if self.stretches > 1 else ""
        return f"can't be decoded from {self.first_s:.1f} to {self.resumed_s:.1f} s{more}: {self.reason}"


class _TroubleError(Exception):
    """The quick way met something that it can't vouch for; the careful way has to be taken."""


def decode(
    path: Path | str, timeline: Timeline, choice: Choice, *, clock: Clock, damage: Damage
) -> Iterator[tuple[int, Any]]:
    """The chosen frames (tick, av.VideoFrame), ascending, pixel for pixel as a full decode gives them.

    The quick way decodes what the chosen frames need. Where anything is out of the ordinary (an error, a
    frame that didn't come out, timestamps that can't be relied on), the careful way takes over behind the
    last frame that was given: every packet in turn, and after an error on from the next keyframe.

    Args:
        path: The video.
        timeline: What `read_timeline` gave for it.
        choice: Which frames.
        clock: Running; says when to give up.
        damage: Filled in on the way; final when the frames end.
    """
    last = None
    if timeline.is_orderly:
        with contextlib.suppress(_TroubleError):
            for tick, frame in _decode_needed(path, timeline, choose_ticks(choice, timeline), clock):
                last = tick
                yield tick, frame
            return
    for tick, frame in choose_frames(choice, timeline, _decode_all(path, timeline, clock, damage)):
        if last is None or tick > last:
            yield tick, frame


def _decode_needed(
    path: Path | str, timeline: Timeline, wanted: np.ndarray, clock: Clock
) -> Iterator[tuple[int, Any]]:
    needed = timeline.needed(wanted)
    with open_video(path, threads="FRAME") as (container, stream):
        gate = _Gate(wanted.tolist())
        context = stream.codec_context
        nal_length = nal_length_of(context.name, context.extradata)
        last_needed = np.flatnonzero(needed).max(initial=-1)
        before = None
        for place, packet in enumerate(packets_of(container, stream, clock)):
            if place > last_needed:
                break
            if packet.pts != timeline.pts[place]:
                raise _TroubleError
            if not needed[place]:
                continue
            if before != place - 1:
                # Emptied and reset, so that this stretch's frames can't lean on those of an earlier one.
                if before is not None:
                    yield from gate.passed(_decode_quickly(context, None))
                    context.flush_buffers()
                gate.begin(packet.pts)
            before = place
            is_shown = bool(timeline.is_shown[place])
            if not (is_shown and packet.pts in gate.wanted) and is_disposable(
                context.name, bytes(packet), nal_length=nal_length, top_layer=timeline.top_layer
            ):
                continue
            if is_shown:
                gate.expect(packet.pts)
            yield from gate.passed(_decode_quickly(context, packet))
        if before is not None:
            yield from gate.passed(_decode_quickly(context, None))
        gate.finish()


def _decode_quickly(context: Any, packet: Any) -> list[Any]:
    try:
        return list(context.decode(packet))
    except DECODER_ERRORS as error:
        raise _TroubleError from error


class _Gate:
    """Lets wanted frames pass, and checks that everything that went in comes out, in order.

    With frame threads av can lose an error together with its frame: the missing frame gives it away here.
    """

    def __init__(self, wanted: list[int]) -> None:
        self.wanted = frozenset(wanted)
        self._left = wanted[::-1]
        self._due: list[int] = []
        self._floor = 0

    def begin(self, floor: int) -> None:
        """A new stretch. No decoder gives what is shown before its keyframe: that leans on the one before."""
        self._all_out()
        self._floor = floor

    def expect(self, tick: int) -> None:
        if tick >= self._floor:
            heappush(self._due, tick)

    def passed(self, frames: list[Any]) -> Iterator[tuple[int, Any]]:
        for frame in frames:
            if not self._due or heappop(self._due) != frame.pts or frame.is_corrupt:
                raise _TroubleError
            if frame.pts in self.wanted:
                if self._left.pop() != frame.pts:
                    raise _TroubleError
                yield frame.pts, frame

    def finish(self) -> None:
        self._all_out()
        if self._left:
            raise _TroubleError

    def _all_out(self) -> None:
        if self._due:
            raise _TroubleError


def _decode_all(
    path: Path | str, timeline: Timeline, clock: Clock, damage: Damage
) -> Iterator[tuple[int, Any]]:
    """Every frame that can be decoded, in order; after an error, on from the next keyframe."""
    ticks = _Ticks(timeline)
    is_broken = False
    with open_video(path) as (container, stream):
        for packet in itertools.chain(packets_of(container, stream, clock), [None]):
            if is_broken and (packet is None or not packet.is_keyframe):
                continue
            frames, error = _decode_or_drain(stream.codec_context, packet)
            for tick, frame in ticks.of(frames):
                damage.ended(timeline.seconds(tick))
                yield tick, frame
            reason = error or ("a frame came out damaged" if any(f.is_corrupt for f in frames) else "")
            if reason and not is_broken:
                damage.began(timeline.seconds(timeline.origin if ticks.last is None else ticks.last), reason)
            is_broken = bool(error)


def _decode_or_drain(context: Any, packet: Any) -> tuple[list[Any], str]:
    """The frames that come out; at an error, the good ones that were still inside, and the reason."""
    try:
        if packet is not None and packet.is_corrupt:
            raise ValueError("the data is cut short or damaged")
        return list(context.decode(packet)), ""
    except DECODER_ERRORS as error:
        frames: list[Any] = []
        with contextlib.suppress(*DECODER_ERRORS):
            frames = context.decode(None)
        context.flush_buffers()
        # Frames that are shown later than the damaged one may lean on it.
        limit = None if packet is None else packet.pts
        return [f for f in frames if None in (limit, f.pts) or f.pts < limit], reason_of(error)


class _Ticks:
    """Gives frames their ticks: ascending, and where the file has none to rely on, counted on from 0."""

    def __init__(self, timeline: Timeline) -> None:
        self.last: int | None = None
        self._timeline = timeline
        self._shift: int | None = 0 if timeline.is_orderly else None

    def of(self, frames: list[Any]) -> Iterator[tuple[int, Any]]:
        for frame in frames:
            tick = self._tick(frame)
            if not frame.is_corrupt and (self.last is None or tick > self.last):
                self.last = tick
                yield tick, frame

    def _tick(self, frame: Any) -> int:
        following = 0 if self.last is None else self.last + self._timeline.step
        if frame.pts is None:
            return following
        if self._shift is None:
            self._shift = -frame.pts
        fallen_s = (following - frame.pts - self._shift) * self._timeline.time_base
        if fallen_s > RESET_S and not self._timeline.is_orderly:
            self._shift = following - frame.pts
        return int(frame.pts + self._shift)
