"""A GeoTIFF with all of its bands, read and written whole: for small rasters that are ours.

Imports rasterio, as `raster` and `geofiles` do.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp

from lib.errors import UnreadableMediaError
from lib.media.raster import Grid

_VISIBLE = ("red", "green", "blue")
_BLOCK_PX = 256


@dataclass(frozen=True, slots=True)
class Bands:
    """A raster's bands and where they lie."""

    values: np.ndarray  # (bands, height, width)
    descriptions: tuple[str, ...]
    grid: Grid
    valid: np.ndarray | None = None  # (height, width) bool; None: all of it is


def read_bands(path: Path) -> Bands:
    """Every band of a file of our own or of a package.

    Raises:
        UnreadableMediaError: It can't be read as a GeoTIFF with a CRS.
    """
    try:
        with rasterio.open(path, driver="GTiff") as file:
            grid = Grid(file.crs, file.transform, file.height, file.width)
            told = tuple(text or "" for text in file.descriptions)
            return Bands(file.read(), told, grid)
    except rasterio.errors.RasterioError as error:
        raise UnreadableMediaError(f"{path} can't be read as a GeoTIFF: {error}") from error


def write_bands(path: Path, bands: Bands, *, tags: Mapping[str, Mapping[str, str]]) -> None:
    """Write a tiled, compressed GeoTIFF, whole or not at all; the same bands give the same bytes.

    What isn't valid goes into a mask within the file, so that no value has to stand for "nothing".

    Args:
        path: Where to.
        bands: What; bands described as red, green and blue in this order at its head are marked as such.
        tags: Metadata by GDAL's domain; "" is the default one, where TIFF's own tags are.
    """
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    count, height, width = bands.values.shape
    is_visible = bands.descriptions[:3] == _VISIBLE
    profile = {
        "driver": "GTiff", "count": count, "height": height, "width": width, "dtype": bands.values.dtype.name,
        "crs": bands.grid.crs, "transform": bands.grid.transform, "tiled": True, "blockxsize": _BLOCK_PX,
        "blockysize": _BLOCK_PX, "compress": "deflate", "predictor": 2, "interleave": "pixel",
        # Left to itself, GDAL takes the fourth band of four for opacity.
        "photometric": "RGB" if is_visible else "MINISBLACK", "alpha": "NO",
    }  # fmt: skip
    try:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(partial, "w", **profile) as file:
            if is_visible:
                others = [ColorInterp.undefined] * (count - 3)
                file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, *others]
            file.descriptions = bands.descriptions
            for domain, told in tags.items():
                file.update_tags(**({"ns": domain} if domain else {}), **told)
            file.write(bands.values)
            if bands.valid is not None:
                file.write_mask(bands.valid)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
