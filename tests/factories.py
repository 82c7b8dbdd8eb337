"""Seeded videos and pictures for tests. Every frame of a video carries its number, readable by machine."""

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np

BITS = 12  # of the frame number, drawn as a row of black and white blocks
LUMA_OF_SCENES = (130, 80, 180, 105)
CLOCK = Fraction(1, 90000)


def frame_picture(number: int, *, size: tuple[int, int], scene: int = 0, seed: int = 0) -> np.ndarray:
    """A textured colour that drifts, a bright square that moves, and the number as blocks across the top.

    The number is in Gray code, one block changing at a time, so that it makes no cut; scenes differ in luma.
    """
    width, height = size
    rng = np.random.default_rng([seed, scene])
    colour = LUMA_OF_SCENES[scene % len(LUMA_OF_SCENES)] + rng.integers(-30, 31) * np.array([1, 0, -1])
    texture = np.roll(rng.integers(-5, 6, (height, width, 1)), (number, 2 * number), (0, 1))
    picture = np.clip(colour + texture, 0, 255).astype(np.uint8)
    side = height // 5
    x, y = (3 * number) % (width - side), height // 2 + (2 * number) % (height // 2 - side)
    picture[y : y + side, x : x + side] += 50
    for bit, edge in enumerate(_edges(width)):
        picture[: height // 12, edge] = 235 if (number ^ number >> 1) >> bit & 1 else 16
    return picture


def read_number(picture: np.ndarray) -> int:
    """The number that `frame_picture` drew, from a decoded frame."""
    height, width = picture.shape[:2]
    row = picture[: height // 12].mean(axis=(0, 2))
    number = sum(int(row[edge].mean() > 128) << bit for bit, edge in enumerate(_edges(width)))
    for shift in (8, 4, 2, 1):
        number ^= number >> shift
    return number


def _edges(width: int) -> list[slice]:
    return [slice(bit * width // BITS, (bit + 1) * width // BITS) for bit in range(BITS)]


def tone_hz(scene: int) -> float:
    """The pitch of a scene's sound."""
    return 500.0 * (scene + 1)


def make_video(
    path: Path,
    *,
    seconds: float = 2.0,
    fps: int = 25,
    size: tuple[int, int] = (160, 120),
    seed: int = 0,
    codec: str = "libx264",
    gop: int = 12,
    b_frames: int = 2,
    options: dict[str, str] | None = None,
    rotation_deg: int = 0,
    audio: bool = False,
    vfr: bool = False,
    scenes: int = 1,
    container_options: dict[str, str] | None = None,
) -> np.ndarray:
    """Write a video; its kind follows the suffix.

    Args:
        path: Where to.
        seconds: Length, roughly where `vfr`.
        fps: Frames a second; the mean where `vfr`.
        size: Width and height, upright.
        seed: Of the pictures and of the irregular times.
        codec: An ffmpeg encoder.
        gop: Frames between keyframes at most.
        b_frames: Consecutive B frames (at most, but for H.264: exactly).
        options: More for the encoder.
        rotation_deg: Clockwise turn that a player has to make, because it is stored turned the other way
            (mp4 and mov).
        audio: With a tone, another for each scene.
        vfr: Irregular times between frames.
        scenes: Equal parts of different colour.
        container_options: For the muxer.

    Returns:
        Each frame's time in seconds.
    """
    import av

    count = max(1, round(seconds * fps))
    rng = np.random.default_rng([seed, 7])
    steps = rng.choice([0.25, 0.5, 1.0, 2.25], count) if vfr else np.ones(count)
    times_s = np.round(np.concatenate([[0.0], np.cumsum(steps)[:-1]]) / fps, 3 if vfr else 9)
    with av.open(str(path), "w", options=container_options or {}) as container:
        steady = {"b_strategy": "0"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=fps, options=steady | (options or {}))
        stream.width, stream.height = size if rotation_deg % 180 == 0 else size[::-1]
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
        context = stream.codec_context
        if path.suffix != ".avi" and (codec.startswith("libx26") or vfr):
            context.time_base = CLOCK
        context.gop_size, context.max_b_frames = gop, b_frames
        sound = (
            container.add_stream("libopus" if path.suffix == ".webm" else "aac", rate=48000)
            if audio
            else None
        )
        if sound:
            sound.codec_context.layout = "mono"
        for number, time_s in enumerate(times_s):
            scene = number * scenes // count
            upright = frame_picture(number, size=size, scene=scene, seed=seed)
            stored = np.ascontiguousarray(np.rot90(upright, rotation_deg // 90))
            frame = av.VideoFrame.from_ndarray(stored).reformat(format=stream.pix_fmt)
            frame.time_base = context.time_base or Fraction(1, fps)
            frame.pts = round(Fraction(time_s).limit_denominator(10**6) / frame.time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            starts_s = [times_s[-(-scene * count // scenes)] for scene in range(scenes)]
            _write_tones(container, sound, [*starts_s, times_s[-1] + 1 / fps])
    if rotation_deg:
        _set_rotation(path, rotation_deg)
    return times_s


def _write_tones(container, stream, edges_s: list[float]) -> None:
    import av

    clock_s = np.arange(int(edges_s[-1] * 48000)) / 48000
    scene = np.searchsorted(edges_s[1:-1], clock_s, side="right")
    samples = (0.4 * np.sin(2 * np.pi * 500.0 * (scene + 1) * clock_s)).astype(np.float32)
    for start in range(0, len(samples), 960):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 960], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _set_rotation(path: Path, clockwise_deg: int) -> None:
    """Overwrite the display matrix in the (version 0) track header, which no muxer option can set."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    cosine, sine = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[clockwise_deg]
    one = 1 << 16
    matrix = (cosine * one, sine * one, 0, -sine * one, cosine * one, 0, 0, 0, 1 << 30)
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)


def make_sound(path: Path, *, seconds: float = 1.0) -> None:
    """A file with a tone and no picture."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        stream.codec_context.layout = "mono"
        _write_tones(container, stream, [0.0, seconds])


def cut_short(path: Path, *, keep: float) -> None:
    """Keep only the first part of a file, as an upload that broke off."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


def make_picture(
    path: Path, *, size: tuple[int, int] = (64, 48), seed: int = 0, mode: str = "RGB"
) -> np.ndarray:
    """Write a picture, without loss where its kind can.

    Returns:
        (height, width, 3) uint8, as it was before it became `mode`.
    """
    from PIL import Image

    picture = frame_picture(seed, size=size, seed=seed)
    Image.fromarray(picture).convert(mode).save(path)
    return picture


def ground(size: tuple[int, int], *, seed: int = 0) -> np.ndarray:
    """Land from above, (height, width, 3) uint8: fields of several colours, coarse and fine texture."""
    from scipy import ndimage

    height, width = size
    rng = np.random.default_rng(seed)
    coarse = ndimage.zoom(rng.normal(size=(height // 48 + 2, width // 48 + 2)), 48, order=3)[:height, :width]
    fields = rng.uniform(60, 150, (5, 3))[np.digitize(coarse, [-0.8, -0.2, 0.3, 0.9])]
    fine = sum(
        ndimage.zoom(rng.normal(size=(height // s + 2, width // s + 2)), s, order=1)[:height, :width] * w
        for s, w in ((16, 9), (4, 6), (1, 3))
    )
    return np.clip(fields + fine[..., None], 0, 255).astype(np.uint8)


def write_geotiff(path: Path, pixels: np.ndarray, *, crs="EPSG:32633", left=500_000.0, top=5_400_000.0,
                  gsd=10.0, **more) -> Path:  # fmt: skip
    """(height, width, bands) pixels as a GeoTIFF; north up unless a `transform` is given."""
    import rasterio

    height, width, count = pixels.shape
    told = {
        "driver": "GTiff", "height": height, "width": width, "count": count, "dtype": pixels.dtype,
        "crs": crs, "transform": rasterio.transform.from_origin(left, top, gsd, gsd), "tiled": True,
        "photometric": "RGB" if count == 3 else "MINISBLACK",
    }  # fmt: skip
    with rasterio.open(path, "w", **(told | more)) as file:
        file.write(pixels.transpose(2, 0, 1))
    return path
