"""Rasters, read by windows and written whole. The only module that imports rasterio.

GDAL opens far more than files: addresses, and files that point to others. Here it is given local TIFFs only.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.transform import array_bounds
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform, transform_bounds
from rasterio.windows import Window

from lib.errors import UnreadableMediaError
from lib.media.source import open_regular

# Classic and BigTIFF, both byte orders.
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SAMPLE_PX = 1024
_QUANTILES = (0.02, 0.98)
# GDAL says more of a file's oddities than a user can use; what matters comes as an error.
logging.getLogger("rasterio").setLevel(logging.CRITICAL)


def is_tiff(path: Path) -> bool:
    """Whether a file begins as TIFFs do.

    Raises:
        UnreadableMediaError: It can't be opened, or is no regular file.
    """
    with open_regular(path) as file:
        return file.read(4) in _TIFF


@dataclass(frozen=True, slots=True)
class Grid:
    """Where pixels lie."""

    crs: CRS | None
    transform: rasterio.Affine
    height: int
    width: int

    @classmethod
    def plain(cls, height: int, width: int) -> "Grid":
        """A picture's, which lies nowhere: coordinates are its pixels."""
        return cls(None, rasterio.Affine.identity(), height, width)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top, in the CRS's units."""
        return tuple(array_bounds(self.height, self.width, self.transform))

    @property
    def lonlat_bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees."""
        return tuple(transform_bounds(self.crs, "EPSG:4326", *self.bounds))

    @property
    def pixel_m(self) -> float | None:
        """Width of a pixel in the middle, on the ellipsoid; None without a CRS."""
        if self.crs is None:
            return None
        from pyproj import Geod

        row, column = self.height / 2, self.width / 2
        ends = [self.transform @ (column + step, row) for step in (0, 1)]
        lons, lats = transform(self.crs, "EPSG:4326", *zip(*ends, strict=True))
        return float(Geod(ellps="WGS84").line_length(lons, lats))


@dataclass(frozen=True, slots=True)
class Scaling:
    """How a date's values become 8 bits: (3,) least and most; the same for all dates that are compared."""

    low: np.ndarray
    high: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """(3, height, width) values as (height, width, 3) uint8."""
        span = np.maximum(self.high - self.low, 1e-12)
        scaled = (values.transpose(1, 2, 0).astype(np.float32) - self.low) / span
        return np.asarray(np.clip(np.nan_to_num(scaled) * 255 + 0.5, 0, 255), np.uint8)


class Scene:
    """An open raster: three of its bands, and which pixels it knows."""

    def __init__(self, dataset: Any):
        self._dataset = dataset
        self._bands = _visible(dataset)
        self._palette = _palette(dataset)
        crs = _crs(dataset)
        # Without a CRS, a transform places pixels nowhere either.
        self.grid = (
            Grid(crs, dataset.transform, dataset.height, dataset.width)
            if crs
            else Grid.plain(dataset.height, dataset.width)
        )

    def on(self, grid: Grid) -> "Scene":
        """The same scene on another grid, warped as it is read (bilinear)."""
        resampling = Resampling.nearest if self._palette is not None else Resampling.bilinear
        warped = WarpedVRT(
            self._dataset, src_crs=self.grid.crs, crs=grid.crs, transform=grid.transform,
            height=grid.height, width=grid.width, resampling=resampling,
            add_alpha=self._dataset.nodata is None and ColorInterp.alpha not in self._dataset.colorinterp,
        )  # fmt: skip
        scene = Scene(warped)
        scene._bands, scene._palette = self._bands, self._palette
        return scene

    def scaling(self) -> Scaling:
        """8-bit values as they are; others by the 2nd and 98th percentile of the scene, band by band."""
        low, high = np.zeros(3, np.float32), np.full(3, 255, np.float32)
        if self._dataset.dtypes[0] != "uint8":
            values, valid = self.sample()
            if valid.any():
                low, high = np.quantile(values[:, valid], _QUANTILES, axis=1).astype(np.float32)
        return Scaling(low, high)

    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """The whole scene, thinned out to at most 1,024 px a side: (3, h, w) values, (h, w) valid."""
        times = max(1.0, max(self.grid.height, self.grid.width) / _SAMPLE_PX)
        size = max(1, round(self.grid.height / times)), max(1, round(self.grid.width / times))
        return self._read(None, size)

    def read(self, top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """A window within the scene: (3, height, width) values and (height, width) valid.

        Raises:
            UnreadableMediaError: The file is damaged there.
        """
        return self._read(Window(left, top, width, height), (height, width))

    def _read(self, window: Window | None, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        try:
            values = self._dataset.read(self._bands, window=window, out_shape=(3, *size))
            masks = self._dataset.read_masks(self._bands, window=window, out_shape=(3, *size))
        except (RasterioError, OSError) as error:
            raise UnreadableMediaError(f"its pixels can't be read: {_first_line(error)}") from error
        valid = (masks > 0).all(0)
        if np.issubdtype(values.dtype, np.floating):
            valid &= np.isfinite(values).all(0)
        if self._palette is not None:
            values = self._palette[values[0].astype(np.uint8)].transpose(2, 0, 1)
        return values, valid


@contextmanager
def open_scene(path: Path) -> Iterator[Scene]:
    """Open a local TIFF; nothing that it names is opened.

    Raises:
        UnreadableMediaError: No TIFF, damaged, or of a kind that has no pixels to see.
    """
    if not is_tiff(path):
        raise UnreadableMediaError("no GeoTIFF: files that point to others (VRT) and addresses aren't opened")
    # No file beside it is looked for, and no driver but this one tries.
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_PAM_ENABLED="NO", GDAL_CACHEMAX=128):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)  # the grid tells
                dataset = rasterio.open(path.absolute(), driver="GTiff")
        except (RasterioError, CRSError, OSError) as error:
            raise UnreadableMediaError(f"can't be opened: {_first_line(error)}") from error
        with dataset:
            if not dataset.count or np.issubdtype(np.dtype(dataset.dtypes[0]), np.complexfloating):
                raise UnreadableMediaError("has no bands of plain numbers")
            yield Scene(dataset)


def _crs(dataset: Any) -> CRS | None:
    try:
        return dataset.crs or None
    except CRSError:
        return None


def _visible(dataset: Any) -> list[int]:
    """Numbers of the red, green and blue band, as far as the file tells; else its first three, or its one."""
    named = {kind: number for number, kind in enumerate(dataset.colorinterp, 1)}
    wanted = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if all(kind in named for kind in wanted):
        return [named[kind] for kind in wanted]
    told = {(text or "").strip().lower(): number for number, text in enumerate(dataset.descriptions, 1)}
    if all(name in told for name in ("red", "green", "blue")):
        return [told[name] for name in ("red", "green", "blue")]
    seen = [n for n, kind in enumerate(dataset.colorinterp, 1) if kind != ColorInterp.alpha] or [1]
    return seen[:3] if len(seen) >= 3 else [seen[0]] * 3


def _palette(dataset: Any) -> np.ndarray | None:
    if dataset.colorinterp[0] != ColorInterp.palette:
        return None
    colours = np.zeros((256, 3), np.uint8)
    for value, colour in dataset.colormap(1).items():
        colours[min(value, 255)] = colour[:3]
    return colours


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
