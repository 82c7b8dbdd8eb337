"""Videos: their facts, and their frames by timestamp, upright."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter

from lib.errors import UnreadableMediaError
from lib.media.decode import Clock, Damage, decode, open_video, plain_errors, read_timeline
from lib.media.orientation import Orientation
from lib.media.sampling import Between, Choice, Exactly, Sampling, keep_cuts, luma_difference
from lib.media.timeline import Timeline

THUMBNAIL_PX = 32
PROBE_LIMIT_S = 120.0


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

    `t_s` is the frame's own time since the first frame, rounded to a millisecond; not the time it was sampled
    for. `pts` finds it again with `read_frames_at`.
    """

    t_s: float
    pts: int
    rgb: np.ndarray  # (height, width, 3) uint8


def probe_video(path: Path | str, *, limit_s: float = PROBE_LIMIT_S) -> VideoFacts:
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
        first = next(decode(path, timeline, Between(), clock=clock, damage=damage), None)
    if first is None:
        raise UnreadableMediaError(_no_frames(damage))
    orientation = Orientation.of_frame(first[1])
    width, height = orientation.upright_size(first[1].width, first[1].height)
    note = damage.note
    if not note and timeline.frames < announced and len(timeline.pts) < announced:
        note = f"the file ends early: {len(timeline.pts)} of {announced} announced frames are there"
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


class FrameStream(Iterator[Frame]):
    """Frames as they are decoded; afterwards, what was left out and why."""

    def __init__(self, path: Path | str, choice: Choice, *, sampling: Sampling, limit_s: float) -> None:
        self._clock = Clock(limit_s)
        self._damage = Damage()
        self._sampling = sampling
        self._thumbnail = Thumbnailer()
        self._frames = self._decoded(path, choice)
        self.skipped = 0  # frames that looked like the last one kept

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

    def _decoded(self, path: Path | str, choice: Choice) -> "Generator[Frame]":
        with plain_errors():
            with open_video(path) as (container, stream):
                timeline = read_timeline(container, stream, self._clock)
            frames = decode(path, timeline, choice, clock=self._clock, damage=self._damage)
            is_empty = True
            to_rgb = VideoReformatter()
            for tick, frame in self._kept(frames):
                is_empty = False
                yield Frame(round(timeline.seconds(tick), 3), tick, upright_rgb(frame, to_rgb))
            if is_empty:
                raise UnreadableMediaError(_no_frames(self._damage))
