"""Pictures: read upright as RGB, and written small. The only module that decodes them."""

import contextlib
import io
import math
import struct
import textwrap
import threading
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from lib.errors import UnreadableMediaError
from lib.media.source import open_regular

# Not among them: EPS and WMF, for which PIL starts other programs.
FORMATS = ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "JPEG2000", "PPM", "TGA", "ICO", "QOI"]
PIXEL_LIMIT = 8192 * 8192
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, ArithmeticError, LookupError, struct.error, zlib.error)

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

GAP_PX = 10
CAPTION_LINES = 2
PAPER, INK, BACKDROP = (255, 255, 255), (25, 25, 25), (236, 236, 236)


def read_image(path: Path | str) -> np.ndarray:
    """Read a picture as (height, width, 3) uint8 RGB, turned upright by its EXIF orientation.

    Transparent parts lie on white. 16-bit greys are scaled to 8 bits by their full range, not by their
    content. Of an animation, the first frame. Several threads may read at once: decoding holds no lock.

    Raises:
        UnreadableMediaError: Why it can't be read.
    """
    with _opened(path) as picture:
        return np.asarray(_as_rgb(_upright(picture)))


def read_squashed(path: Path | str, size_px: int) -> np.ndarray:
    """A picture as the network sees it, (size_px, size_px, 3): `squash` of what `read_image` reads, exactly.

    In one pass, without an array of the whole picture between: 2.9 ms instead of 3.6 for a JPEG of 500 x 375
    px, of which decoding takes 1.2 and the resize 1.6.

    Raises:
        UnreadableMediaError: Why it can't be read.
    """
    # Letting libjpeg scale down as it decodes (`Image.draft`) takes 10 ms instead of 87 for 4000 x 3000 px,
    # but moves the vectors: on 47 real pictures of 512 to 1974 px, EfficientNet-Lite0's least cosine to this
    # way was .985 when scaled to no less than 224 px and .997 to no less than 448; .9999 would be needed.
    with _opened(path) as picture:
        return np.asarray(_as_rgb(_upright(picture)).resize((size_px, size_px), Image.Resampling.BILINEAR))


def size_of(path: Path | str) -> tuple[int, int]:
    """A picture's width and height in pixels as its header tells, not turned by its EXIF orientation.

    Raises:
        UnreadableMediaError: It is no picture.
    """
    with open_regular(path) as file, _QUIET:
        try:
            Image.init()
            with Image.open(file, formats=[kind for kind in FORMATS if kind in Image.OPEN]) as picture:
                return picture.size
        except (Image.DecompressionBombError, UnidentifiedImageError, *_BROKEN) as error:
            raise UnreadableMediaError(f"not a picture: {error}") from error


class _Quiet:
    """No warnings while any thread is within: of odd metadata, of large pictures (which have a limit here).

    `warnings.catch_warnings` alone is for one thread: two that overlap leave each other's filters behind.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._within = 0
        self._filters = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._within:
                self._filters.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            self._within += 1

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            self._within -= 1
            if not self._within:
                self._filters.close()


_QUIET = _Quiet()


@contextlib.contextmanager
def _opened(path: Path | str) -> Iterator[Image.Image]:
    """A picture to decode; what goes wrong with it meanwhile is said as an `UnreadableMediaError`."""
    with open_regular(path) as file, _QUIET:
        try:
            Image.init()
            with Image.open(file, formats=[kind for kind in FORMATS if kind in Image.OPEN]) as picture:
                if picture.width * picture.height > PIXEL_LIMIT:
                    raise _too_large(f"{picture.width} x {picture.height}")
                yield picture
        except Image.DecompressionBombError as error:
            raise _too_large("far more") from error
        except UnidentifiedImageError as error:
            raise UnreadableMediaError("not a picture, or of a kind that is not read here") from error
        except _BROKEN as error:
            raise UnreadableMediaError(f"picture can't be decoded: {error}") from error


def _too_large(size: str) -> UnreadableMediaError:
    return UnreadableMediaError(f"picture of {size} pixels: more than the limit of {PIXEL_LIMIT}")


def _upright(picture: Image.Image) -> Image.Image:
    picture.load()
    with contextlib.suppress(*_BROKEN):  # broken EXIF says nothing about the pixels
        if picture.getexif().get(ExifTags.Base.Orientation, 1) != 1:  # what needn't be turned would be copied
            return ImageOps.exif_transpose(picture)
    return picture


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "F":
        raise ValueError("floating-point samples have no set brightness: convert it to 8 or 16 bits first")
    if picture.mode.startswith("I"):
        samples = np.asarray(picture).astype(np.int64)
        if samples.min() < 0 or samples.max() > 0xFFFF:
            raise ValueError("32-bit samples have no set brightness: convert it to 8 or 16 bits first")
        return Image.fromarray(((samples + 128) // 257).astype(np.uint8)).convert("RGB")
    if not picture.has_transparency_data:
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    layer = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, (*PAPER, 255)), layer).convert("RGB")


def jpeg_bytes(rgb: np.ndarray, max_side: int = 160, quality: int = 80) -> bytes:
    """A JPEG whose longer side is at most `max_side` pixels."""
    picture = Image.fromarray(rgb)
    picture.thumbnail((max_side, max_side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return _saved(picture, "JPEG", quality=quality)


def png_bytes(rgb: np.ndarray) -> bytes:
    """A PNG of the same pixels."""
    return _saved(Image.fromarray(rgb), "PNG")


def _saved(picture: Image.Image, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def contact_sheet(
    pictures: Sequence[np.ndarray], captions: Sequence[str], *, columns: int, tile_px: int
) -> np.ndarray:
    """Lay pictures out in rows, each whole and with its caption below in at most two lines.

    Args:
        pictures: (height, width, 3) uint8 each, of any sizes.
        captions: As many.
        columns: Pictures a row.
        tile_px: Width of a picture.

    Returns:
        (height, width, 3) uint8
    """
    shapes = [picture.shape[0] / picture.shape[1] for picture in pictures]
    box = tile_px, round(tile_px * float(np.clip(np.median(shapes or [0.75]), 0.5, 1.0)))
    size = max(11, tile_px // 15)
    font, line = ImageFont.load_default(size=size), round(size * 1.3)
    step = tile_px + GAP_PX, box[1] + CAPTION_LINES * line + GAP_PX
    columns = max(1, columns)
    rows = max(1, math.ceil(len(pictures) / columns))
    sheet = Image.new("RGB", (columns * step[0] + GAP_PX, rows * step[1] + GAP_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    for place, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left, top = GAP_PX + place % columns * step[0], GAP_PX + place // columns * step[1]
        tile = ImageOps.pad(Image.fromarray(picture), box, Image.Resampling.LANCZOS, color=BACKDROP)
        sheet.paste(tile, (left, top))
        for number, text in enumerate(_lines(caption, font, tile_px)):
            draw.text((left, top + box[1] + 3 + number * line), text, INK, font)
    return np.asarray(sheet)


def text_picture(text: str, *, width: int = 300, height: int = 210) -> np.ndarray:
    """A text as a picture among pictures, (height, width, 3) uint8: what fits of it, then an ellipsis."""
    tile = Image.new("RGB", (width, height), BACKDROP)
    font, step = ImageFont.load_default(size=20), 26
    # Some characters are wider than others: so many fit on a line of this font on average.
    lines = textwrap.wrap(
        " ".join(text.split()), width=max(8, width // 10), max_lines=height // step, placeholder=" …"
    )
    ImageDraw.Draw(tile).multiline_text((8, 8), "\n".join(lines), INK, font, spacing=4)
    return np.asarray(tile)


def _lines(caption: str, font: _Font, width_px: int) -> list[str]:
    """Break a caption at spaces, or within a word that is too long by itself; an ellipsis for the rest."""
    lines, words = [""], caption.split()
    while words:
        longer = f"{lines[-1]} {words[0]}".strip()
        if font.getlength(longer) <= width_px:
            lines[-1] = longer
            words.pop(0)
        elif lines[-1] and len(lines) < CAPTION_LINES:
            lines.append("")
        elif lines[-1]:
            lines[-1] = _shortened(f"{lines[-1]} {words[0]}", font, width_px)
            break
        else:
            fits = max(1, sum(font.getlength(words[0][:n]) <= width_px for n in range(1, len(words[0]) + 1)))
            lines[-1], words[0] = words[0][:fits], words[0][fits:]
    return lines


def _shortened(text: str, font: _Font, width_px: int) -> str:
    while text and font.getlength(f"{text}…") > width_px:
        text = text[:-1]
    return f"{text.rstrip()}…"
