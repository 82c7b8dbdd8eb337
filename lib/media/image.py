"""Pictures: read upright as RGB, and written small. The only module that decodes them."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from lib.errors import UnreadableMediaError

MOST_PIXELS = 8192 * 8192


def read_image(path: Path | str) -> np.ndarray:
    """uint8 (H, W, 3), upright by its EXIF orientation."""
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise UnreadableMediaError(f"{picture.width} × {picture.height} pixels are too many")
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableMediaError(f"not a picture: {error}") from error


def jpeg_bytes(rgb: np.ndarray, max_side: int = 160, quality: int = 80) -> bytes:
    """A JPEG whose longer side is at most `max_side`."""
    picture = Image.fromarray(rgb)
    picture.thumbnail((max_side, max_side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def png_bytes(rgb: np.ndarray) -> bytes:
    """A PNG."""
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return file.getvalue()


def contact_sheet(
    pictures: Sequence[np.ndarray], captions: Sequence[str], *, columns: int, tile_px: int
) -> np.ndarray:
    """Pictures in rows, each with its caption below."""
    height, gap, line = round(tile_px * 0.75), 8, 18
    rows = math.ceil(len(pictures) / columns)
    board = Image.new("RGB", (columns * (tile_px + gap) + gap, rows * (height + line + gap) + gap), "white")
    draw, font = ImageDraw.Draw(board), ImageFont.load_default(12)
    for at, (rgb, caption) in enumerate(zip(pictures, captions, strict=True)):
        left, top = gap + (at % columns) * (tile_px + gap), gap + (at // columns) * (height + line + gap)
        tile = ImageOps.contain(Image.fromarray(rgb), (tile_px, height))
        board.paste(tile, (left + (tile_px - tile.width) // 2, top + (height - tile.height) // 2))
        text = caption
        while text and draw.textlength(text, font) > tile_px:
            text = text[:-2]
        draw.text((left, top + height + 2), text if text == caption else text + "…", "black", font)
    return np.asarray(board)
