"""What is measured on, made by seeded code: films of texture and motion, and vectors in clusters."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

SCENE_S = 6.0
_SPRITES = 4


def make_film(
    path: Path, *, seconds: float, size: tuple[int, int] = (640, 360), fps: int = 25, seed: int = 0
) -> None:
    """Write an H.264 film as x264 makes them when nothing is asked for: B frames, keyframes at cuts.

    Scenes of some seconds; in each, a camera pans over a textured scene, shapes move across, and there is a
    sensor's grain. About 800 kbit/s at 640 x 360.
    """
    import av

    with av.open(str(path), "w") as container:
        # The encoder's own choices at high speed: a film is made in a tenth of its length.
        stream = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": "21"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.max_b_frames = 3
        for picture in _pictures(round(seconds * fps), size, fps=fps, seed=seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def repeat_film(film: Path, path: Path, *, times: int) -> None:
    """Write a film's packets so many times over, one showing after the other; nothing is encoded again."""
    import av

    with av.open(str(path), "w") as container:
        stream = shift = None
        for _ in range(times):
            with av.open(str(film)) as source:
                [pictures] = source.streams.video
                stream = stream or container.add_stream_from_template(pictures)
                until = shift = shift or 0
                for packet in source.demux(pictures):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    until = max(until, packet.pts + packet.duration)
                    packet.stream = stream
                    container.mux(packet)
                shift = until


def _pictures(count: int, size: tuple[int, int], *, fps: int, seed: int) -> Iterator[np.ndarray]:
    import cv2

    width, height = size
    grain = np.random.default_rng(seed).normal(scale=4, size=(8, height, width, 1)).astype(np.int16)
    grain = np.repeat(grain, 3, axis=3)
    scene_frames = round(SCENE_S * fps)
    for number in range(count):
        scene, at = divmod(number, scene_frames)
        if at == 0:
            random = np.random.default_rng([seed, scene])
            ground = _texture(random, (2 * width, 2 * height))
            shapes = [_texture(random, (width // 6, height // 5)) for _ in range(_SPRITES)]
            ways = random.uniform(-1.5, 1.5, (_SPRITES + 1, 2))
            starts = random.uniform(0.2, 0.8, (_SPRITES, 2))
        # The view stays within the ground: it covers at most half of it in a scene, either way.
        left, top = (np.array([width, height]) / 2 + ways[-1] * at).astype(int) % (width, height)
        picture = ground[top : top + height, left : left + width].copy()
        for shape, start, way in zip(shapes, starts, ways, strict=False):
            tall, wide = shape.shape[:2]
            x, y = (start * (width, height) + 2 * way * at).astype(int) % (width - wide, height - tall)
            picture[y : y + tall, x : x + wide] = shape
        # OpenCV takes a fifth of numpy's time for it, and stops at 0 and 255 as well.
        yield cv2.convertScaleAbs(cv2.max(cv2.add(picture, grain[number % len(grain)]), 0))


def _texture(random: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Coarse shapes more than fine ones, as in photographs; (height, width, 3) int16."""
    from PIL import Image

    made = np.full((size[1], size[0], 3), random.uniform(60, 190, 3))
    for cells in (4, 12, 36, 108):
        coarse = random.normal(scale=90 / cells**0.5, size=(cells, cells, 3)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(coarse[..., channel]).resize(size, Image.Resampling.BICUBIC)
            made[..., channel] += np.asarray(layer)
    return made.astype(np.int16)
