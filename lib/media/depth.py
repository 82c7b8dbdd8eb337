"""Depth maps: read as metres, and shown to a picture's backbone as three channels."""

import struct
import warnings
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from lib.errors import UnreadableMediaError
from lib.media.source import open_regular

NEAREST_M = 0.5
PIXEL_LIMIT = 4096 * 4096
_FORMATS = ["PNG", "TIFF"]
_MARK = b"\x93NUMPY"
_UNKNOWN = (0, 0xFFFF)
# Nothing that a camera measures lies further away; what does was written in millimetres.
_FURTHEST_MEDIAN_M = 1000.0
# Focal length by the longer side: Kinect's 585 px at 640, NYU Depth V2's 519 to 583.
_FOCAL = 0.9
_SMOOTH = 2 / 640  # of the longer side: a sensor's steps are no surface
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, ArithmeticError, LookupError, struct.error, zlib.error)


def read_depth(path: Path | str, *, unit_m: float = 0.001) -> np.ndarray:
    """Read a depth map as (height, width) float32 in metres, NaN where nothing was measured.

    16-bit PNG and TIFF hold whole units, 0 and 65,535 being none (Kinect, 7-Scenes, ScanNet: millimetres;
    TUM: 1/5000 m). TIFF and .npy of floating-point numbers hold metres.

    Args:
        path: A PNG or TIFF of one channel, or a .npy of two axes.
        unit_m: Metres in one unit of whole numbers.

    Raises:
        UnreadableMediaError: Why it can't be read.
    """
    with open_regular(path) as file:
        values = _npy(file) if file.read(len(_MARK)) == _MARK else _picture(file)
    is_whole = values.dtype.kind in "iu"
    if is_whole and values.dtype.itemsize == 1:
        raise UnreadableMediaError("a depth map of 8 bits has no set unit: give one of 16 bits, or metres")
    metres = values.astype(np.float32)
    with np.errstate(invalid="ignore"):
        unknown = ~np.isfinite(metres) | (metres <= 0) | (np.isin(values, _UNKNOWN) if is_whole else False)
    metres[unknown] = np.nan
    if unknown.all():
        raise UnreadableMediaError("a depth map in which no pixel has a depth")
    if is_whole:
        metres *= unit_m
    middle = float(np.nanmedian(metres))
    if middle > _FURTHEST_MEDIAN_M:
        raise UnreadableMediaError(
            f"a depth map whose median is {middle:,.0f} m: were these millimetres? Write them as 16-bit "
            "PNG, or as metres"
        )
    return metres


def depth_picture(metres: np.ndarray) -> np.ndarray:
    """Show depth to a backbone of pictures: (height, width) in metres to (height, width, 3) uint8.

    Red is nearness, 0.5 m / depth (a disparity: what lies nearer than 0.5 m is full); green and blue are the
    x and y of the surface's normal, from -1 to 1, away from the camera. The scales are fixed, so that the
    same place has the same colour in every map. It is HHA (Gupta et al. 2014, https://arxiv.org/abs/1407.5736:
    disparity, height, angle with gravity) for a camera of which neither height nor tilt is known: the
    normal stands for both. Where nothing was measured, the nearest measured depth is taken.

    Of seven encodings (nearness or log depth in grey, as jet colours, with normals; normals alone), each with
    unknown pixels filled or black, on the 20 shared frames of 7-Scenes with EfficientNet-Lite0: this one was
    first by CLS (standardised per view, depth to colour: mean rank 4.2 of 20, grey nearness 4.7, its jet
    colours 8.6), and by CLS all seven agreed better with the colour frames (CKA) filled than black. Twenty
    frames of one room, no more.

    Raises:
        UnreadableMediaError: No map, or one in which no pixel has a depth.
    """
    if metres.ndim != 2 or min(metres.shape) < 2 or not np.isfinite(metres).any():
        raise UnreadableMediaError(
            f"no depth map to be shown: {metres.shape} with no known depth, or no area"
        )
    depth = _filled(metres.astype(np.float32))
    normal_x, normal_y = _normals(depth)
    channels = [np.clip(NEAREST_M / depth, 0, 1), (normal_x + 1) / 2, (normal_y + 1) / 2]
    return np.rint(np.stack(channels, axis=-1) * 255).astype(np.uint8)


def _filled(depth: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    unknown = ~np.isfinite(depth)
    if not unknown.any():
        return depth
    places = ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
    nearest: np.ndarray = depth[tuple(places)]
    return nearest


def _normals(depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The x (to the right) and y (down) of the unit normal at each pixel, away from the camera.

    A plane n . P = 1, seen at P = z (u, v, 1), has 1 / z = n . (u, v, 1): its slopes over the picture are n.
    """
    from scipy import ndimage

    height, width = depth.shape
    focal = _FOCAL * max(height, width)
    # Linear on a plane, so smoothing leaves planes as they are.
    inverse = ndimage.gaussian_filter(1 / depth, _SMOOTH * max(height, width), truncate=3.0)
    slope_y, slope_x = (slope * np.float32(focal) for slope in np.gradient(inverse))
    u = (np.arange(width, dtype=np.float32) - (width - 1) / 2) / np.float32(focal)
    v = (np.arange(height, dtype=np.float32)[:, None] - (height - 1) / 2) / np.float32(focal)
    length = np.sqrt(slope_x**2 + slope_y**2 + (inverse - slope_x * u - slope_y * v) ** 2)
    length = np.maximum(length, np.finfo(np.float32).tiny)
    return slope_x / length, slope_y / length


def _npy(file: BinaryIO) -> np.ndarray:
    """Two axes of numbers. What numpy would unpickle is refused by its type."""
    file.seek(0)
    layout = np.lib.format
    readers = {(1, 0): layout.read_array_header_1_0, (2, 0): layout.read_array_header_2_0}
    try:
        shape, is_fortran, dtype = readers[layout.read_magic(file)](file)
    except (ValueError, LookupError, EOFError) as error:
        raise UnreadableMediaError(f"a .npy that can't be read: {error}") from error
    if len(shape) != 2 or dtype.kind not in "fiu":
        raise UnreadableMediaError(
            f"a .npy of shape {shape} and type {dtype}: wanted are two axes of numbers"
        )
    _require_size(shape[1], shape[0])
    wanted = shape[0] * shape[1] * dtype.itemsize
    held = file.read(wanted)
    if len(held) < wanted:
        raise UnreadableMediaError(f"a .npy cut short: {len(held):,} of {wanted:,} bytes")
    values: np.ndarray = np.frombuffer(held, dtype).reshape(shape, order="F" if is_fortran else "C")
    return values.astype(dtype.newbyteorder("="))


def _picture(file: BinaryIO) -> np.ndarray:
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata
        try:
            with Image.open(file, formats=_FORMATS) as picture:
                _require_size(picture.width, picture.height)
                if len(picture.getbands()) != 1 or picture.mode in {"P", "1"}:
                    raise UnreadableMediaError(
                        f"a picture in colours ({picture.mode}), no depth map: wanted is one channel of 16 "
                        "bits"
                    )
                picture.load()
                return np.asarray(picture)
        except Image.DecompressionBombError as error:
            raise UnreadableMediaError(f"depth map of more than the limit of {PIXEL_LIMIT} pixels") from error
        except UnidentifiedImageError as error:
            raise UnreadableMediaError("not a depth map: wanted are PNG, TIFF and .npy") from error
        except _BROKEN as error:
            raise UnreadableMediaError(f"depth map can't be decoded: {error}") from error


def _require_size(width: int, height: int) -> None:
    if min(width, height) < 2 or width * height > PIXEL_LIMIT:
        raise UnreadableMediaError(
            f"depth map of {width} x {height} pixels: wanted are 2 x 2 to {PIXEL_LIMIT} in all"
        )
