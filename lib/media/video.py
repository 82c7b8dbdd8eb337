"""Videos: their facts, and their frames by timestamp, upright."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import UnreadableMediaError
from lib.media.container import Clock, Scaler, open_video, plain_errors, read_timeline
from lib.media.decode import Damage, decode
from lib.media.orientation import Orientation
from lib.media.sampling import Choice, Everything, Exactly, Sampling, keep_cuts, luma_difference

THUMBNAIL_PX = 32


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a video is, as its packets and its first frame say; headers are not believed."""

    duration_s: float
    width: int  # upright, as is height
    height: int
    codec: str
    rotation_deg: int  # clockwise, to stand upright
    fps: float  # mean
    frames: int
    has_audio: bool
    note: str  # empty, or what is wrong with it although it can be read


@dataclass(slots=True)
class Frame:
    """One upright frame.

    `t_s` is the frame's own time since the first frame, rounded to a millisecond, and not the time for which
    it was sampled. `read_frames_at` finds it again by its `pts`.
    """

    t_s: float
    pts: int
    rgb: np.ndarray  # (height, width, 3) uint8


def probe_video(path: Path | str, *, limit_s: float = 120.0) -> VideoFacts:
    """Read a video's facts, and decode a frame to see that it can be.

    Raises:
        UnreadableMediaError: Why it can't be read.
    """
    clock, damage = Clock(limit_s), Damage()
    clock.run()
    with plain_errors():
        with open_video(path) as (container, stream):
            timeline = read_timeline(container, stream, clock)
            codec, announced = stream.codec_context.codec.canonical_name, stream.frames
            has_audio = any(sound.codec_context is not None for sound in container.streams.audio)
        first = next(decode(path, timeline, Everything(), clock=clock, damage=damage), None)
        if first is None:
            raise _no_frames(damage)
        orientation = Orientation.of_frame(first[1])
        width, height = orientation.upright_size(first[1].width, first[1].height)
    packets, note = len(timeline.pts), damage.note
    if not note and packets < announced:
        note = f"the file ends early: {packets} of {announced} announced frames are there"
    return VideoFacts(
        duration_s=round(timeline.duration_s, 3),
        width=width,
        height=height,
        codec=codec,
        rotation_deg=orientation.rotation_deg,
        fps=round(timeline.frames / timeline.duration_s, 3),
        frames=timeline.frames,
        has_audio=has_audio,
        note=note,
    )


def sample_video(path: Path | str, sampling: Sampling, *, limit_s: float = 600.0) -> "FrameStream":
    """Frames chosen by their timestamps, in one decode of no more than they need.

    Args:
        path: The video.
        sampling: Which frames.
        limit_s: How long decoding may take in all; the caller's own time between frames doesn't count.

    Raises:
        UnreadableMediaError: On the way: not one frame can be decoded, or it takes too long.
    """
    return FrameStream(path, sampling.choice, limit_s=limit_s, sampling=sampling)


def read_frames_at(path: Path | str, pts: Sequence[int], *, limit_s: float = 600.0) -> "FrameStream":
    """Exactly the frames of these `Frame.pts`, in time order.

    Raises:
        UnreadableMediaError: On the way: as for `sample_video`, or a frame isn't there any more.
    """
    return FrameStream(path, Exactly(frozenset(pts)), limit_s=limit_s, expected=len(set(pts)))


class FrameStream(Iterator[Frame]):
    """Frames as they are decoded; afterwards, what was left out and why."""

    def __init__(
        self,
        path: Path | str,
        choice: Choice,
        *,
        limit_s: float,
        sampling: Sampling | None = None,
        expected: int = 1,
    ) -> None:
        self.skipped = 0  # frames that looked like the last one kept
        self._clock = Clock(limit_s)
        self._damage = Damage()
        self._frames = self._decoded(path, choice, sampling or Sampling(), expected)

    @property
    def note(self) -> str:
        """What couldn't be decoded, in one line; empty if nothing. Final once the frames have ended."""
        return self._damage.note

    def __next__(self) -> Frame:
        self._clock.run()
        try:
            return next(self._frames)
        finally:
            self._clock.pause()

    def close(self) -> None:
        """Let go of the file before the end."""
        self._frames.close()

    def _decoded(
        self, path: Path | str, choice: Choice, sampling: Sampling, expected: int
    ) -> Generator[Frame, None, None]:
        with plain_errors():
            with open_video(path) as (container, stream):
                timeline = read_timeline(container, stream, self._clock)
            frames = decode(path, timeline, choice, clock=self._clock, damage=self._damage)
            to_rgb, given = Scaler(), 0
            for tick, frame in self._thinned(frames, sampling):
                given += 1
                yield Frame(round(timeline.seconds(tick), 3), tick, upright_rgb(frame, to_rgb))
            if given == 0:
                raise _no_frames(self._damage)
            if given < expected:
                reason = self.note or "the file changed since it was sampled"
                raise UnreadableMediaError(f"{expected - given} of {expected} frames are not there: {reason}")

    def _thinned(self, frames: Iterator[tuple[int, Any]], sampling: Sampling) -> Iterator[tuple[int, Any]]:
        if sampling.mode != "scene" and not sampling.skip_similar:
            yield from frames
            return
        scaler = Scaler()
        seen = ((pair, _thumbnail(pair[1], scaler)) for pair in frames)
        kept: np.ndarray | None = None
        for pair, thumbnail in keep_cuts(seen) if sampling.mode == "scene" else seen:
            is_similar = kept is not None and luma_difference(thumbnail, kept) <= sampling.similar_luma
            if sampling.skip_similar and is_similar:
                self.skipped += 1
                continue
            kept = thumbnail
            yield pair


def upright_rgb(frame: Any, scaler: Scaler) -> np.ndarray:
    """A decoded frame as (height, width, 3) uint8, by its own colour matrix and range, turned upright."""
    rgb = scaler.reformat(frame, format="rgb24", threads=1).to_ndarray()
    return Orientation.of_frame(frame).apply(rgb)


def _thumbnail(frame: Any, scaler: Scaler) -> np.ndarray:
    small = scaler.reformat(
        frame, width=THUMBNAIL_PX, height=THUMBNAIL_PX, format="gray", interpolation="AREA", threads=1
    )
    return np.asarray(small.to_ndarray())


def _no_frames(damage: Damage) -> UnreadableMediaError:
    return UnreadableMediaError(f"no frame can be decoded: {damage.reason or 'the decoder gives none'}")
