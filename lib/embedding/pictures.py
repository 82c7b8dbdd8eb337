"""From a picture of any size to what a backbone sees; seeded pictures to check runtimes on. No torch."""

import numpy as np

from lib.errors import UnreadableMediaError


def squash(picture: np.ndarray, size_px: int) -> np.ndarray:
    """Resize a picture, uint8 (height, width, 3), to (size_px, size_px, 3) regardless of its aspect.

    By Pillow's bilinear filter, which averages over all source pixels when it shrinks: the original design's
    own resize (1.4 ms for 640 × 360). Filters that skip pixels (OpenCV's bilinear, swscale) move the vectors.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
        raise UnreadableMediaError(
            f"a picture has to be uint8 (height, width, 3), not {picture.dtype} {picture.shape}"
        )
    if picture.shape[:2] == (size_px, size_px):
        return picture
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((size_px, size_px), Image.Resampling.BILINEAR))


def seeded_pictures(count: int, size_px: int) -> np.ndarray:
    """Something like photographs, uint8 (count, size_px, size_px, 3): coarse shapes more than fine grain."""
    from PIL import Image

    random = np.random.default_rng(20)
    pictures = np.full((count, size_px, size_px, 3), 128.0, np.float32)
    for cells in (3, 9, 27, 81):
        grains = random.normal(scale=100 / cells**0.5, size=(count, cells, cells, 3)).astype(np.float32)
        for picture, grain in zip(pictures, grains, strict=True):
            for channel in range(3):
                layer = Image.fromarray(grain[..., channel])
                picture[..., channel] += np.asarray(
                    layer.resize((size_px, size_px), Image.Resampling.BICUBIC)
                )
    return pictures.clip(0, 255).astype(np.uint8)
