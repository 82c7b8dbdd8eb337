"""Folders of JPEGs, made by seeded code: as many bytes, and as much to decode, as photographs have."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

SIZE, QUALITY = (500, 375), 90
# Grounds are dear to make: each is cut, mirrored and lit anew for as many pictures as are wanted.
_GROUNDS, _GROUND_SIZE = 24, (1400, 1050)
_LAYERS = (3, 9, 27, 81, 243)


def make_photos(folder: Path, count: int, *, seed: int = 0) -> list[Path]:
    """Write `count` JPEGs of 500 x 375 px at quality 90, no two alike, into a new folder; sorted paths."""
    folder.mkdir(parents=True)
    paths = [folder / f"photo_{number:05d}.jpg" for number in range(count)]
    with ThreadPoolExecutor() as threads:
        grounds = list(threads.map(lambda number: _ground(seed, number), range(_GROUNDS)))
        list(threads.map(lambda number: _photo(grounds, seed, number).save(paths[number], quality=QUALITY),
                         range(count)))  # fmt: skip
    return paths


def _ground(seed: int, number: int) -> np.ndarray:
    """Coarse shapes more than fine ones, as in photographs; (height, width, 3) int16."""
    random = np.random.default_rng([seed, number])
    width, height = _GROUND_SIZE
    made = np.full((height, width, 3), random.uniform(70, 180, 3), np.float32)
    for cells in _LAYERS:
        coarse = random.normal(scale=110 / cells**0.45, size=(cells, cells, 3)).astype(np.float32)
        coarse += coarse.mean(axis=-1, keepdims=True)  # of light more than of colour
        for channel in range(3):
            layer = Image.fromarray(coarse[..., channel]).resize(_GROUND_SIZE, Image.Resampling.BICUBIC)
            made[..., channel] += np.asarray(layer)
    return made.clip(-300, 500).astype(np.int16)


def _photo(grounds: list[np.ndarray], seed: int, number: int) -> Image.Image:
    """A part of a ground under its own light, with a sensor's grain."""
    random = np.random.default_rng([seed, 1, number])
    width, height = SIZE
    ground = grounds[number % len(grounds)]
    top, left = (
        int(random.integers(0, room)) for room in (_GROUND_SIZE[1] - height, _GROUND_SIZE[0] - width)
    )
    part = ground[top : top + height, left : left + width, :][:, :: random.choice([-1, 1])]
    grain = random.integers(-8, 9, (height, width, 1), np.int16)
    lit = part * np.float32(random.uniform(0.7, 1.2)) + grain
    return Image.fromarray(lit.clip(0, 255).astype(np.uint8))
