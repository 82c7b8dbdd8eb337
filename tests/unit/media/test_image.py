"""Pictures of every kind come out upright and in RGB."""

import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from factories import cut_short, frame_picture, make_picture
from PIL import Image

from lib.embedding.pictures import squash
from lib.errors import UnreadableMediaError
from lib.media import image
from lib.media.image import contact_sheet, jpeg_bytes, png_bytes, read_image, read_squashed

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"  # for which PIL would start Ghostscript
# How a viewer has to turn what is stored, by EXIF's Orientation tag (CIPA DC-008, 4.6.4).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_honoured(tmp_path, orientation):
    stored = frame_picture(5, size=(64, 48))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), UPRIGHT[orientation](stored))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp"])
def test_lossless_pictures_come_out_as_they_went_in(tmp_path, suffix):
    picture = frame_picture(9, size=(64, 48))
    options = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(picture).save(tmp_path / f"a.{suffix}", **options)
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), picture)


@pytest.mark.parametrize(
    ("mode", "suffix"), [("L", "png"), ("P", "gif"), ("1", "png"), ("CMYK", "jpg"), ("RGB", "jpg")]
)
def test_other_kinds_become_rgb(tmp_path, mode, suffix):
    picture = make_picture(tmp_path / f"a.{suffix}", mode=mode)
    found = read_image(tmp_path / f"a.{suffix}")
    assert (found.shape, found.dtype) == (picture.shape, np.uint8)
    off_by = np.abs(found.mean(axis=(0, 1)) - picture.mean(axis=(0, 1)))
    assert off_by.max() < (45 if mode in ("L", "1") else 6)


@pytest.mark.parametrize(
    ("mode", "suffix"), [("RGB", "jpg"), ("L", "jpg"), ("CMYK", "jpg"), ("RGBA", "png"), ("P", "gif")]
)
def test_squashed_at_once_a_picture_has_the_pixels_of_one_read_and_then_squashed(tmp_path, mode, suffix):
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(frame_picture(7, size=(501, 375))).convert(mode).save(path, exif=exif)
    assert read_image(path).shape[:2] == ((375, 501) if suffix == "gif" else (501, 375))
    np.testing.assert_array_equal(read_squashed(path, 224), squash(read_image(path), 224))


def test_threads_that_read_at_once_leave_the_warnings_as_they_were():
    before, entered, left = list(warnings.filters), threading.Event(), threading.Event()

    def first():
        with image._QUIET:
            entered.set()
            left.wait(5)

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait(5)
    with image._QUIET:  # entered second, left last
        left.set()
        thread.join()
        warnings.warn("of odd metadata", stacklevel=1)
    assert warnings.filters == before


def test_16_bit_greys_keep_their_brightness(tmp_path):
    levels = np.uint16([[0, 257, 257 * 100, 65535]])
    Image.fromarray(levels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0, :, 0], [0, 1, 100, 255])


def test_what_is_transparent_lies_on_white(tmp_path):
    layer = np.zeros((1, 3, 4), np.uint8)
    layer[0, :, 3] = 0, 127, 255
    Image.fromarray(layer).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_image(tmp_path / "a.png")[0, :, 0], [255, 128, 0], atol=1)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_truncated_picture_is_refused(tmp_path, suffix):
    make_picture(tmp_path / f"a.{suffix}", size=(320, 240))
    cut_short(tmp_path / f"a.{suffix}", keep=0.5)
    with pytest.raises(UnreadableMediaError, match="can't be decoded"):
        read_image(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("side", [9000, 60_000])
def test_a_picture_that_claims_a_vast_size_is_refused_before_it_is_unpacked(tmp_path, side):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )
    with pytest.raises(UnreadableMediaError, match="more than the limit"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"hello", "not a picture"),
        (POSTSCRIPT, "not a picture"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path, content, reason):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnreadableMediaError, match=reason):
        read_image(tmp_path / "a.png")


def test_a_thumbnail_keeps_its_shape_and_is_never_enlarged():
    for shape, size in [((480, 640, 3), (160, 120)), ((20, 30, 3), (30, 20))]:
        assert Image.open(io.BytesIO(jpeg_bytes(np.zeros(shape, np.uint8)))).size == size


def test_a_png_holds_the_same_pixels():
    picture = frame_picture(3, size=(32, 32))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png_bytes(picture)))), picture)


def test_a_contact_sheet_shows_each_picture_whole_with_its_caption_below():
    colours = [(200, 30, 30), (30, 160, 30), (30, 30, 200)]
    pictures = [np.full((90, 160, 3), colour, np.uint8) for colour in colours]
    pictures[2] = np.full((160, 90, 3), colours[2], np.uint8)
    long = "a caption far too long for two lines of this width, which has to end within its own column"
    sheet = contact_sheet(pictures, ["one", long, "three"], columns=2, tile_px=160)
    for colour, share in zip(colours, (1.0, 1.0, (90 / 160) ** 2), strict=True):
        area = (np.abs(sheet.astype(int) - colour).max(axis=2) < 4).sum()
        assert area == pytest.approx(160 * 90 * share, rel=0.03)
    is_ink = sheet.max(axis=2) < 90
    captions = is_ink[100 : 100 + 34]
    assert captions[:, 10:170].any()  # below the first
    assert captions[:, 180:340].sum() > 3 * captions[:, 10:170].sum()
    assert not is_ink[:, :10].any()
    assert not is_ink[:, 340:].any()


def test_an_empty_contact_sheet_is_white():
    assert (contact_sheet([], [], columns=3, tile_px=50) == 255).all()
