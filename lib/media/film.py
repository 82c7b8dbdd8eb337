"""An mp4 being written: pictures and sound, each at its own time, moved into place whole. Imports av."""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Colorspace

from lib.errors import OutputError
from lib.media.container import DECODER_ERRORS, Scaler, reason_of
from lib.media.orientation import Orientation
from lib.media.sound import LAYOUT, RATE_HZ
from lib.media.video import upright_rgb

CLOCK_HZ = 90_000  # divides evenly by all usual frame rates
# mp4 counts durations in decoding order: with B frames a last frame that is held for long would be cut short.
X264 = {"crf": "20", "preset": "veryfast", "bf": "0"}
BT709 = 1
LIMITED_RANGE = 1


@dataclass(frozen=True, slots=True)
class Canvas:
    """What every frame of a film looks like."""

    width: int  # even, as is height
    height: int
    pixel_aspect: Fraction
    fps: Fraction | None  # None keeps each frame's own time
    has_margins: bool  # pictures of another shape get black margins


@dataclass(frozen=True, slots=True)
class Film:
    """Where pictures and sound go."""

    pictures: "PictureTrack"
    sound: "SoundTrack | None"

    def finish(self, end: int) -> None:
        """Hold the last frame, and be silent, until this tick; then write what the encoders still hold."""
        self.pictures.finish(end)
        if self.sound:
            self.sound.finish(end * RATE_HZ // CLOCK_HZ)


@contextlib.contextmanager
def open_film(out: Path, canvas: Canvas, *, like: Any, aspect: Fraction, has_sound: bool) -> Iterator[Film]:
    """Write an mp4 under a name of its own beside `out`, and move it into place if all goes well.

    Args:
        out: The file to make or replace.
        canvas: Size and rate.
        like: An av.VideoFrame whose colours (matrix, range) the film takes over.
        aspect: Width of that frame's pixels over their height, upright.
        has_sound: Whether it gets a sound track.

    Raises:
        OutputError: It can't be written.
    """
    if not out.absolute().parent.is_dir():
        raise OutputError(f"can't write {out}: there is no folder {out.parent}")
    partial = out.absolute().with_name(f".{uuid.uuid4().hex}.mp4")
    try:
        with av.open(f"file:{partial}", "w", format="mp4", options={"movflags": "+faststart"}) as container:
            pictures = PictureTrack(container, canvas, like, aspect)
            yield Film(pictures, SoundTrack(container) if has_sound else None)
        partial.replace(out)
    except DECODER_ERRORS as error:
        raise OutputError(f"can't write {out}: {reason_of(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


class PictureTrack:
    """The picture track. A frame is written once it is known how long it lasts."""

    def __init__(self, container: Any, canvas: Canvas, like: Any, aspect: Fraction) -> None:
        self._container, self._canvas = container, canvas
        self._to_rgb, self._resize, self._to_yuv = Scaler(), Scaler(), Scaler()
        self._held: tuple[int, Any] | None = None
        self._stream = container.add_stream("libx264", rate=canvas.fps or 25, options=X264)
        self._stream.width, self._stream.height, self._stream.pix_fmt = canvas.width, canvas.height, "yuv420p"
        context = self._stream.codec_context
        context.time_base = Fraction(1, CLOCK_HZ)
        context.sample_aspect_ratio = canvas.pixel_aspect
        context.flags |= av.codec.context.Flags.frame_duration  # or the last frame would last 1 / rate
        fitted = self._fitted(like, aspect)
        context.colorspace, context.color_range = fitted.colorspace, fitted.color_range
        context.color_primaries, context.color_trc = fitted.color_primaries, fitted.color_trc

    def put(self, at: int, frame: Any, aspect: Fraction) -> None:
        """Show an av.VideoFrame from this tick on, until the next one's."""
        if self._held is None or at > self._held[0]:
            self._let_go(at)
            self._held = at, self._fitted(frame, aspect)

    def finish(self, end: int) -> None:
        """Hold the last frame until this tick."""
        self._let_go(end)
        self._container.mux(self._stream.encode(None))

    def _let_go(self, until: int) -> None:
        if self._held is None:
            return
        at, frame = self._held
        frame.pts, frame.duration, frame.time_base = at, until - at, Fraction(1, CLOCK_HZ)
        frame.pict_type = 0  # for the encoder to choose anew
        self._container.mux(self._stream.encode(frame))

    def _fitted(self, frame: Any, aspect: Fraction) -> Any:
        canvas = self._canvas
        width, height = canvas.width, canvas.height
        if not canvas.has_margins and Orientation.of_frame(frame) == Orientation():
            return self._to_yuv.reformat(frame, width, height, "yuv420p", interpolation="BICUBIC", threads=1)
        rgb = av.VideoFrame.from_ndarray(upright_rgb(frame, self._to_rgb))
        if canvas.has_margins:
            rgb = self._with_margins(rgb, aspect)
        fitted = self._to_yuv.reformat(
            rgb,
            width,
            height,
            "yuv420p",
            dst_colorspace=Colorspace.ITU709,
            interpolation="BICUBIC",
            threads=1,
        )
        fitted.colorspace = fitted.color_primaries = fitted.color_trc = BT709
        fitted.color_range = LIMITED_RANGE
        return fitted

    def _with_margins(self, rgb: Any, aspect: Fraction) -> Any:
        width, height = self._canvas.width, self._canvas.height
        scale = min(width / (rgb.width * aspect), height / rgb.height)
        inner = max(1, round(rgb.width * aspect * scale)), max(1, round(rgb.height * scale))
        small = self._resize.reformat(
            rgb, *inner, interpolation="AREA" if scale < 1 else "BICUBIC", threads=1
        )
        picture = np.zeros((height, width, 3), np.uint8)
        x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
        picture[y : y + inner[1], x : x + inner[0]] = small.to_ndarray()
        return av.VideoFrame.from_ndarray(picture)


class SoundTrack:
    """The sound track: without a seam, silent where nothing is put."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self._position = 0
        self._stream = container.add_stream("aac", rate=RATE_HZ)
        self._stream.codec_context.layout = LAYOUT
        self._stream.codec_context.bit_rate = 128_000

    def put(self, at: int, samples: np.ndarray) -> None:
        """(2, samples) float32 from this sample on; what is already written stays."""
        self._be_silent_until(at)
        self._encode(samples[:, self._position - at :])

    def finish(self, end: int) -> None:
        """Be silent until this sample."""
        self._be_silent_until(end)
        self._container.mux(self._stream.encode(None))

    def _be_silent_until(self, at: int) -> None:
        while self._position < at:
            self._encode(np.zeros((2, min(RATE_HZ, at - self._position)), np.float32))

    def _encode(self, samples: np.ndarray) -> None:
        if samples.shape[1] == 0:
            return
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=LAYOUT)
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, self._position, Fraction(1, RATE_HZ)
        self._position += samples.shape[1]
        self._container.mux(self._stream.encode(frame))
