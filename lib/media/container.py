"""Opening videos that nobody vouches for, and reading their packets. Only this and `encode` import av.

Such a file can open no other file and no address, nor ask for endless pictures or endless time.
"""

import contextlib
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import av
import numpy as np
from av.audio.resampler import AudioResampler as Resampler
from av.video.reformatter import VideoReformatter as Scaler

from lib.errors import DinolakeError, UnreadableMediaError
from lib.media.bitstream import hevc_layer, nal_length_of
from lib.media.source import open_regular
from lib.media.timeline import Timeline

__all__ = [
    "DECODER_ERRORS",
    "Clock",
    "Resampler",
    "Scaler",
    "open_video",
    "packets_of",
    "plain_errors",
    "read_timeline",
    "reason_of",
]

# Containers that hold all of their data. Not among them: playlists and scripts (hls, dash, concat, sdp, image
# sequences), which make the reader open whatever they name. The last line is sound, to be told from rubbish.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,mpegts,mpeg,ogg,asf,mxf,gif,nut,ivf,dv,rm,wtv,"
    "h264,hevc,m4v,mpegvideo,h263,vc1,obu,"
    "mp3,aac,flac,wav,aiff,amr,ac3,eac3,w64,caf"
)
PIXEL_LIMIT = 8192 * 8192
READ_BYTES = 1 << 18
DEFAULT_RATE = Fraction(25)  # for the rare stream that tells neither timestamps nor a rate
HIGHEST_RATE = 1000  # what claims more is the clock's own tick, which a one-frame file gives for its rate
DECODER_ERRORS = (av.FFmpegError, OSError, ValueError, ArithmeticError, LookupError)

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


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Turn whatever the decoder raises into UnreadableMediaError with a reason that reads well."""
    try:
        yield
    except DinolakeError:
        raise
    except DECODER_ERRORS as error:
        raise UnreadableMediaError(f"can't be decoded: {reason_of(error)}") from error


def reason_of(error: BaseException) -> str:
    """What went wrong, in the same words every time."""
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
    with open_regular(path) as file, _opened(file) as container:
        stream = _picture_stream(container)
        context = stream.codec_context
        if context.width * context.height > PIXEL_LIMIT:
            size = f"{context.width} x {context.height} pixels"
            raise UnreadableMediaError(f"frames of {size}: more than the limit of {PIXEL_LIMIT}")
        if container.format.name == "avi" and context.name in ("h264", "hevc"):
            # AVI holds no display times, and those that ffmpeg makes up are wrong for pyramids of B frames.
            container.flags &= ~av.container.core.Flags.gen_pts.value
        context.options = {"max_pixels": str(PIXEL_LIMIT)}
        context.thread_type = threads
        yield container, stream


def _opened(file: BinaryIO) -> Any:
    try:
        return av.open(
            file,
            "r",
            options={"max_pixels": str(PIXEL_LIMIT)},
            container_options={"format_whitelist": CONTAINERS, "protocol_whitelist": "none"},
            metadata_errors="ignore",
            buffer_size=READ_BYTES,
            io_open=_refuse,
        )
    except av.ArgumentError as error:
        raise UnreadableMediaError("not a video: a playlist, or a format that is not read here") from error
    except DECODER_ERRORS as error:
        raise UnreadableMediaError(f"not a video: {reason_of(error)}") from error


def _picture_stream(container: Any) -> Any:
    still = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    films = [stream for stream in container.streams.video if not stream.disposition & still]
    if not films:
        reason = "no video stream (audio only)" if container.streams.audio else "not a video: no video stream"
        raise UnreadableMediaError(reason)
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
    for packet in packets_of(container, stream, clock):
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
    rates = [rate for rate in (stream.guessed_rate, stream.average_rate) if rate and rate <= HIGHEST_RATE]
    nominal = max(1, round(1 / (next(iter(rates), DEFAULT_RATE) * stream.time_base)))
    if not is_orderly:
        step = nominal
    elif step * stream.time_base * HIGHEST_RATE < 1:
        step = int(np.median(gaps)) if len(gaps) else nominal
    is_key = np.array(keys, bool)
    return Timeline(ticks, is_key, is_shown, stream.time_base, step, is_orderly, top_layer)


def packets_of(container: Any, stream: Any, clock: Clock) -> Iterator[Any]:
    """The stream's packets. Reading that fails midway ends them, as a file that was cut short does."""
    packets = container.demux(stream)
    while True:
        clock.check()
        try:
            packet = next(packets, None)
        except DECODER_ERRORS:
            return
        if packet is None or packet.size == 0:
            return
        yield packet
