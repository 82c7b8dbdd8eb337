"""Cuts, summaries and joined films: which frames and samples go where."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from lib.errors import UnreadableMediaError, UsageError
from lib.media.container import Clock, open_video, read_timeline
from lib.media.decode import Damage, decode
from lib.media.film import CLOCK_HZ, Canvas, open_film
from lib.media.orientation import Orientation
from lib.media.sampling import Between, Everything
from lib.media.sound import RATE_HZ, has_sound, read_sound
from lib.media.timeline import Timeline

PICTURE, SOUND = 0, 1


@dataclass(frozen=True, slots=True)
class _Source:
    """A video to take pieces from."""

    path: Path
    timeline: Timeline
    first: Any  # av.VideoFrame
    pixel_aspect: Fraction  # of the stored pixels
    has_sound: bool

    @property
    def upright_size(self) -> tuple[int, int]:
        return Orientation.of_frame(self.first).upright_size(self.first.width, self.first.height)

    @property
    def upright_aspect(self) -> Fraction:
        is_turned = Orientation.of_frame(self.first).is_transposed
        return 1 / self.pixel_aspect if is_turned else self.pixel_aspect

    @classmethod
    def read(cls, path: Path, clock: Clock) -> "_Source":
        with open_video(path) as (container, stream):
            timeline = read_timeline(container, stream, clock)
            aspect = stream.sample_aspect_ratio or Fraction(1)
        frames = decode(path, timeline, Everything(), clock=clock, damage=Damage())
        first = next(frames, None)
        if first is None:
            raise UnreadableMediaError("no frame can be decoded")
        return cls(path, timeline, first[1], aspect, has_sound(path))


@dataclass(frozen=True, slots=True)
class _Piece:
    source: _Source
    start_s: float
    end_s: float
    offset: int  # where it begins in the film, in ticks of CLOCK_HZ

    @property
    def length(self) -> int:
        return round((self.end_s - self.start_s) * CLOCK_HZ)


def cut_clip(path: Path | str, start_s: float, end_s: float, out: Path, *, limit_s: float = 600.0) -> None:
    """Write a stretch of a video as H.264 mp4, upright, with its sound if it has one that can be decoded.

    Args:
        path: The video.
        start_s: In seconds since its first frame.
        end_s: Likewise; what lies beyond the video's end is left out.
        out: The mp4; replaced whole once done.
        limit_s: How long it may take.

    Raises:
        UnreadableMediaError: The video can't be decoded.
        UsageError: Nothing lies in that stretch, or `out` is the video itself.
        OutputError: `out` can't be written.
    """
    write_summary(path, [(start_s, end_s)], out, limit_s=limit_s)


def write_summary(
    path: Path | str, segments: Sequence[tuple[float, float]], out: Path, *, limit_s: float = 600.0
) -> list[tuple[float, float]]:
    """Write segments of a video one after another, each frame and sample at its own time.

    Returns:
        Where each segment lies in the summary, in seconds.

    Raises:
        UnreadableMediaError, UsageError, OutputError: As for `cut_clip`.
    """
    clock = Clock(limit_s)
    clock.run()
    source = _Source.read(Path(path), clock)
    pieces = _laid_out([(source, start_s, end_s) for start_s, end_s in segments], fps=None)
    width, height = source.upright_size
    canvas = Canvas(_even(width), _even(height), source.upright_aspect, fps=None, has_margins=False)
    return _write(pieces, out, canvas, clock)


def join_videos(
    pieces: Sequence[tuple[Path, float, float]],
    out: Path,
    *,
    width: int,
    height: int,
    fps: float,
    limit_s: float = 600.0,
) -> list[tuple[float, float]]:
    """Join pieces of several videos into one film of one size and rate, silent where a piece has no sound.

    Args:
        pieces: (video, start_s, end_s) each; lengths are rounded to whole frames.
        out: The mp4.
        width: Of the film, even; pictures of another shape get black margins.
        height: Likewise.
        fps: Frames a second.
        limit_s: How long it may take.

    Returns:
        Where each piece lies in the film, in seconds.

    Raises:
        UnreadableMediaError, UsageError, OutputError: As for `cut_clip`.
    """
    clock = Clock(limit_s)
    clock.run()
    sources = {path: _Source.read(Path(path), clock) for path in dict.fromkeys(path for path, _, _ in pieces)}
    rate = Fraction(fps).limit_denominator(1001)
    laid_out = _laid_out([(sources[path], start_s, end_s) for path, start_s, end_s in pieces], fps=rate)
    canvas = Canvas(_even(width), _even(height), Fraction(1), fps=rate, has_margins=True)
    return _write(laid_out, out, canvas, clock)


def _even(pixels: int) -> int:
    return max(2, pixels // 2 * 2)


def _laid_out(stretches: Sequence[tuple[_Source, float, float]], fps: Fraction | None) -> list[_Piece]:
    pieces: list[_Piece] = []
    offset = 0
    for source, start_s, end_s in stretches:
        duration_s, asked = source.timeline.duration_s, f"from {start_s:g} to {end_s:g} s"
        start_s, end_s = max(0.0, start_s), min(end_s, duration_s)
        if not start_s < end_s:
            raise UsageError(f"nothing to take {asked}: the video lasts {duration_s:g} s")
        if fps is not None:
            end_s = start_s + float(max(1, round((end_s - start_s) * fps)) / fps)
        pieces.append(_Piece(source, start_s, end_s, offset))
        offset += max(1, pieces[-1].length)
    if not pieces:
        raise UsageError("no segments to write: give at least one")
    return pieces


def _write(pieces: list[_Piece], out: Path, canvas: Canvas, clock: Clock) -> list[tuple[float, float]]:
    sources = [piece.source for piece in pieces]
    if any(out.exists() and out.samefile(source.path) for source in sources):
        raise UsageError(f"{out} is the video itself: choose another name to write to")
    is_heard = any(source.has_sound for source in sources)
    shown: set[int] = set()
    first = sources[0]
    with open_film(out, canvas, like=first.first, aspect=first.upright_aspect, has_sound=is_heard) as film:
        for run in _runs(pieces):
            # Both kinds in step, so that a player needn't look far ahead for either.
            events: Iterable[tuple[int, int, Any]] = _picture_events(run, canvas, clock)
            if film.sound and run[0].source.has_sound:
                events = heapq.merge(events, _sound_events(run), key=lambda event: event[:2])
            for at, kind, content in events:
                clock.check()
                if kind == PICTURE:
                    piece, frame = content
                    shown.add(piece.offset)
                    film.pictures.put(at, frame, piece.source.upright_aspect)
                elif film.sound:
                    film.sound.put(*content)
        for piece in pieces:
            if piece.offset not in shown:
                stretch = f"{piece.start_s:g} to {piece.end_s:g} s"
                raise UnreadableMediaError(f"nothing from {stretch} can be decoded")
        film.finish(pieces[-1].offset + pieces[-1].length)
    return [(piece.offset / CLOCK_HZ, (piece.offset + piece.length) / CLOCK_HZ) for piece in pieces]


def _runs(pieces: list[_Piece]) -> Iterator[list[_Piece]]:
    """Pieces that one pass over their video can serve: neighbours that follow one another in it."""
    run: list[_Piece] = []
    for piece in pieces:
        if run and (piece.source is not run[-1].source or piece.start_s < run[-1].end_s):
            yield run
            run = []
        run.append(piece)
    yield run


def _picture_events(run: list[_Piece], canvas: Canvas, clock: Clock) -> Iterator[tuple[int, int, Any]]:
    """(tick in the film, PICTURE, (piece, av.VideoFrame)), ascending."""
    source = run[0].source
    timeline = source.timeline
    choice = Between(tuple((piece.start_s, piece.end_s) for piece in run))
    for tick, frame in decode(source.path, timeline, choice, clock=clock, damage=Damage()):
        shown_s, gone_s = timeline.seconds(tick), timeline.seconds(timeline.until(tick))
        for piece in run:
            if not (shown_s < piece.end_s and gone_s > piece.start_s):
                continue
            first_s = max(shown_s, piece.start_s) - piece.start_s
            last_s = min(gone_s, piece.end_s) - piece.start_s
            for at_s in [first_s] if canvas.fps is None else _grid(first_s, last_s, canvas.fps):
                yield piece.offset + round(at_s * CLOCK_HZ), PICTURE, (piece, frame)


def _grid(first_s: float, last_s: float, fps: Fraction) -> list[Fraction]:
    """All k / fps from the first time until just before the last."""
    # Times come as floats: a millionth of a frame decides nothing.
    first, last = (int(-(-(s * float(fps) - 1e-6) // 1)) for s in (first_s, last_s))
    return [k / fps for k in range(first, last)]


def _sound_events(run: list[_Piece]) -> Iterator[tuple[int, int, Any]]:
    """(tick in the film, SOUND, (sample in the film, samples)), ascending."""
    source = run[0].source
    origin_s = float(source.timeline.origin * source.timeline.time_base)
    for first, samples in read_sound(source.path, run[0].start_s, run[-1].end_s, origin_s=origin_s):
        for piece in run:
            start = round(piece.start_s * RATE_HZ)
            low, high = max(first, start), min(first + samples.shape[1], round(piece.end_s * RATE_HZ))
            if low < high:
                at = piece.offset * RATE_HZ // CLOCK_HZ + low - start
                yield at * CLOCK_HZ // RATE_HZ, SOUND, (at, samples[:, low - first : high - first])
