"""A video's sound as 48 kHz stereo blocks, each where it belongs in time."""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lib.media.container import DECODER_ERRORS, Clock, Resampler, open_video, packets_of

RATE_HZ = 48_000
LAYOUT = "stereo"
# Timestamps are rounded (to 1 ms in Matroska), blocks are not: they follow one another without a seam unless
# the timestamps tell of a real gap.
SEAM_S = 0.04
LEAD_IN_S = 1.0  # decoded and dropped, because the first packets after a jump lean on earlier ones
PROBED_PACKETS = 50


def has_sound(path: Path | str) -> bool:
    """Is there a sound track, and does it decode at all?"""
    return next(_blocks(path, 0.0, limit=PROBED_PACKETS), None) is not None


def read_sound(
    path: Path | str, start_s: float, end_s: float, *, origin_s: float
) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of sound that cover a span; packets that don't decode leave gaps.

    Args:
        path: The video.
        start_s: From here, in seconds since the video's first frame.
        end_s: To here.
        origin_s: The container's time of the video's first frame.

    Yields:
        Each block's first sample, counted from the video's first frame, and (2, samples) float32.
    """
    due: int | None = None
    for time_s, samples in _blocks(path, start_s + origin_s - LEAD_IN_S):
        stamped = round((time_s - origin_s) * RATE_HZ)
        first = due if due is not None and abs(stamped - due) <= SEAM_S * RATE_HZ else stamped
        due = first + samples.shape[1]
        if first >= end_s * RATE_HZ:
            return
        if due > start_s * RATE_HZ:
            yield first, samples


def _blocks(
    path: Path | str, from_s: float, *, limit: int | None = None
) -> Iterator[tuple[float, np.ndarray]]:
    with open_video(path) as (container, _):
        stream = container.streams.best("audio")
        if stream is None or stream.codec_context is None:
            return
        resampler: Any = None
        source: Any = None
        packets = itertools.chain(packets_of(container, stream, Clock(float("inf"))), [None])
        for packet in itertools.islice(packets, limit):
            if packet is not None and packet.pts is not None and packet.pts * stream.time_base < from_s:
                continue
            frames: list[Any] = []
            with contextlib.suppress(*DECODER_ERRORS):
                frames = [frame for frame in stream.codec_context.decode(packet) if frame.pts is not None]
            for frame in frames:
                # A sound track may change its rate or channels on the way.
                if source != (source := (frame.format.name, frame.layout.name, frame.sample_rate)):
                    resampler = Resampler(format="fltp", layout=LAYOUT, rate=RATE_HZ)
                with contextlib.suppress(*DECODER_ERRORS):
                    blocks = [block.to_ndarray() for block in resampler.resample(frame)]
                    if blocks:
                        yield float(frame.pts * stream.time_base), np.concatenate(blocks, axis=1)
