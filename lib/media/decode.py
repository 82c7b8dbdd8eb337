"""Frames of video files, exactly as a full decode gives them, at the cost of what they need. Imports av.

Files are trusted with nothing: they can open no other file and no address, ask for no endless picture, and take no
endless time.
"""

import contextlib
import itertools
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, NoReturn

import av
import numpy as np

from lib.errors import DinolakeError, UnreadableMediaError
from lib.media.bitstream import hevc_layer, is_disposable, nal_length_of
from lib.media.sampling import Choice, choose_frames, choose_ticks
from lib.media.source import open_regular
from lib.media.timeline import Timeline

# Containers that hold all of their data. Playlists and scripts (hls, dash, concat, sdp, image sequences), which make
# the reader open whatever they name, are not among them. The last line is for sound: it gets its own plain reason.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,mpegts,mpeg,ogg,asf,mxf,gif,nut,ivf,dv,rm,wtv,"
    "h264,hevc,m4v,mpegvideo,h263,vc1,obu,"
    "mp3,aac,flac,wav,aiff,amr,ac3,eac3,w64,caf"
)
PIXEL_LIMIT = 8192 * 8192
READ_BYTES = 1 << 18
DEFAULT_RATE = Fraction(25)  # for the rare stream that tells neither timestamps nor a rate
RESET_S = 1.0  # timestamps that fall back by more than this start anew; by less, they are errors

av.logging.set_level(None)  # ffmpeg's own lines on standard error would reach nobody who can use them


@dataclass(slots=True)
class Clock:
    """A limit on the time spent in here; what the caller does between two frames doesn't count."""

    limit_s: float
    _spent_s: float = 0.0
    _since: float | None = None

    def run(self) -> None:
        """Count from now."""
        self._since = time.monotonic()

    def pause(self) -> None:
        """Stop counting."""
        self._spent_s += 0.0 if self._since is None else time.monotonic() - self._since
        self._since = None

    def check(self) -> None:
        """Raise UnreadableMediaError once the limit has passed."""
        running_s = 0.0 if self._since is None else time.monotonic() - self._since
        if self._spent_s + running_s > self.limit_s:
            raise UnreadableMediaError(f"decoding took longer than {self.limit_s:g} s")


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


@contextlib.contextmanager
def plain_errors(what: str = "not a video") -> Iterator[None]:
    """Turn whatever the decoder raises into UnreadableMediaError with a reason that reads well."""
    try:
        yield
    except DinolakeError:
        raise
    except (av.FFmpegError, OSError, ValueError, ArithmeticError, LookupError) as error:
        raise UnreadableMediaError(f"{what}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    # Not av's own text: it carries the path and the latest log line of whichever thread wrote one.
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _refuse(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise PermissionError(f"a video may not open {url}")


@contextlib.contextmanager
def open_video(path: Path | str, *, threads: str = "SLICE") -> Iterator[tuple[Any, Any]]:
    """Open a video and pick its picture stream.

    Args:
        path: Any path, however odd its name.
        threads: `FRAME` is fastest; with `SLICE` an error is raised at the packet that causes it.

    Yields:
        The container and its best video stream.

    Raises:
        UnreadableMediaError: Not a video, a playlist, sound only, too large.
    """
    with open_regular(path) as file:
        try:
            container = av.open(
                file,
                "r",
                options={"max_pixels": str(PIXEL_LIMIT)},
                container_options={"format_whitelist": CONTAINERS, "protocol_whitelist": "none"},
                metadata_errors="ignore",
                buffer_size=READ_BYTES,
                io_open=_refuse,
            )
        except av.ArgumentError as error:
            raise UnreadableMediaError("not a video: a playlist or a format that is not read here") from error
        with container:
            stream = _picture_stream(container)
            context = stream.codec_context
            if context.width * context.height > PIXEL_LIMIT:
                size = f"{context.width} x {context.height} pixels"
                raise UnreadableMediaError(f"frames of {size}: more than the limit of {PIXEL_LIMIT}")
            context.options = {"max_pixels": str(PIXEL_LIMIT)}
            context.thread_type = threads
            yield container, stream


def _picture_stream(container: Any) -> Any:
    still = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    films = [stream for stream in container.streams.video if not stream.disposition & still]
    if not films:
        has_audio = bool(container.streams.audio)
        raise UnreadableMediaError("no video stream (audio only)" if has_audio else "not a video: no video stream")
    best = container.streams.best("video")
    stream = best if best in films else films[0]
    if stream.codec_context is None:
        raise UnreadableMediaError("no decoder for its video stream")
    return stream


def read_timeline(container: Any, stream: Any, clock: Clock) -> Timeline:
    """Read all packets of a stream, decoding none: when each is shown, and which are keyframes."""
    pts, keys, shown = array("q"), array("b"), array("b")
    last_dts, latest, step, top_layer, is_orderly = None, None, 0, 0, True
    nal_length = nal_length_of(stream.codec_context.name, stream.codec_context.extradata)
    for packet in _packets(container, stream, clock):
        tick, dts = packet.pts, packet.dts
        if tick is None or packet.is_corrupt or (None not in (dts, last_dts) and dts < last_dts):
            is_orderly = False
        if tick is not None and not packet.is_discard and (latest is None or tick > latest):
            latest, step = tick, packet.duration or 0
        last_dts = last_dts if dts is None else dts
        pts.append(0 if tick is None else tick)
        keys.append(packet.is_keyframe)
        shown.append(not packet.is_discard)
        if stream.codec_context.name == "hevc":
            top_layer = max(top_layer, hevc_layer(bytes(packet), nal_length))
    is_shown = np.array(shown, bool)
    if not is_shown.any():
        raise UnreadableMediaError("not a video: its video stream holds no frames")
    ticks = np.array(pts, np.int64)
    gaps = np.diff(np.sort(ticks[is_shown]))
    is_orderly = is_orderly and bool((gaps > 0).all())
    rate = stream.guessed_rate or stream.average_rate or DEFAULT_RATE
    nominal = max(1, round(1 / (rate * stream.time_base)))
    if is_orderly:
        step = step or (int(np.median(gaps)) if len(gaps) else nominal)
    return Timeline(
        ticks, np.array(keys, bool), is_shown, stream.time_base, step if is_orderly else nominal, is_orderly, top_layer
    )


def _packets(container: Any, stream: Any, clock: Clock) -> Iterator[Any]:
    """The stream's packets. Reading that fails midway ends them, as a file that was cut short does."""
    packets = container.demux(stream)
    while True:
        clock.check()
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError):
            return
        if packet is None or packet.size == 0:
            return
        yield packet


def decode(
    path: Path | str, timeline: Timeline, choice: Choice, *, clock: Clock, damage: Damage
) -> Iterator[tuple[int, Any]]:
    """The chosen frames (tick, av.VideoFrame), ascending, pixel for pixel as a full decode gives them.

    The quick way decodes what the chosen frames need. Where anything is out of the ordinary (an error, a frame
    that didn't come out, timestamps that can't be relied on), the careful way takes over behind the last frame
    that was given: every packet in turn, and after an error on from the next keyframe.

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
        for place, packet in enumerate(_packets(container, stream, clock)):
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
    except (av.FFmpegError, OSError, ValueError) as error:
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
        """A new stretch. Frames shown before its keyframe lean on what wasn't decoded: they count for nothing."""
        self._all_out()
        self._floor = floor

    def expect(self, tick: int) -> None:
        if tick >= self._floor:
            heappush(self._due, tick)

    def passed(self, frames: list[Any]) -> Iterator[tuple[int, Any]]:
        for frame in frames:
            if frame.pts is not None and frame.pts < self._floor:
                continue
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
        for packet in itertools.chain(_packets(container, stream, clock), [None]):
            if is_broken and (packet is None or not packet.is_keyframe):
                continue
            if is_broken:
                ticks.floor = packet.pts
            frames, error = _decode_or_drain(stream.codec_context, packet)
            for tick, frame in ticks.of(frames):
                damage.ended(timeline.seconds(tick))
                yield tick, frame
            if error and not is_broken:
                damage.began(timeline.seconds(timeline.origin if ticks.last is None else ticks.last), error)
            is_broken = bool(error)


def _decode_or_drain(context: Any, packet: Any) -> tuple[list[Any], str]:
    """The frames that come out; at an error, the good ones that were still inside, and the reason."""
    try:
        if packet is not None and packet.is_corrupt:
            raise ValueError("the data is cut short or damaged")
        return list(context.decode(packet)), ""
    except (av.FFmpegError, OSError, ValueError) as error:
        frames: list[Any] = []
        with contextlib.suppress(av.FFmpegError, OSError, ValueError):
            frames = context.decode(None)
        context.flush_buffers()
        # Frames that are shown later than the damaged one may lean on it.
        limit = None if packet is None else packet.pts
        return [f for f in frames if None in (limit, f.pts) or f.pts < limit], _reason(error)


class _Ticks:
    """Gives frames their ticks: ascending, and where the file has none to rely on, counted on from 0."""

    def __init__(self, timeline: Timeline) -> None:
        self.last: int | None = None
        self.floor: int | None = None
        self._timeline = timeline
        self._shift: int | None = 0 if timeline.is_orderly else None

    def of(self, frames: list[Any]) -> Iterator[tuple[int, Any]]:
        for frame in frames:
            tick = self._tick(frame)
            if frame.is_corrupt or (self.floor is not None and frame.pts is not None and frame.pts < self.floor):
                continue
            if self.last is None or tick > self.last:
                self.last = tick
                yield tick, frame

    def _tick(self, frame: Any) -> int:
        following = 0 if self.last is None else self.last + self._timeline.step
        stamp = frame.dts if frame.pts is None else frame.pts
        if stamp is None:
            return following
        if self._shift is None:
            self._shift = -stamp
        is_reset = not self._timeline.is_orderly and following - stamp - self._shift > RESET_S / self._timeline.time_base
        if is_reset:
            self._shift = following - stamp
        return int(stamp + self._shift)
