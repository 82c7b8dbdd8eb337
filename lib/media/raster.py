"""Rasters, read by windows and written whole. The only module that imports rasterio.

GDAL opens far more than files: addresses, and files that point to others. Here it is given local TIFFs only.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform, transform_bounds
from rasterio.windows import Window

from lib.errors import UnreadableMediaError
from lib.media.bands import Choice, Header, choose
from lib.media.blocks import blocks_of, fullest_first, is_interleaved, require_small_blocks
from lib.media.source import open_regular

# Classic and BigTIFF, both byte orders.
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SAMPLE_PX = 1024
_QUANTILES, _ROOM, _DARK_SPAN, _MOST = (0.02, 0.98), 0.25, 128, 1e37  # `_MOST`: float32 has room beyond
# In bytes, which is what rasterio takes it for: GDAL's own reading of a small number, megabytes, would leave
# nothing kept between reads (thinning out 10,980 x 10,980 px then took 56 s instead of 3).
_CACHE_BYTES = 256 << 20
# Grids that lie whole pixels apart, to this part of one, are one.
_ALIGNED_PX = 0.01
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
        """Left, bottom, right, top of all four corners, in the CRS's units, however the grid is turned."""
        corners = ((0, 0), (self.width, 0), (0, self.height), (self.width, self.height))
        xs, ys = zip(*(self.transform @ corner for corner in corners), strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def lonlat_bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees; west is above east where the 180th meridian is crossed."""
        return tuple(transform_bounds(self.crs, "EPSG:4326", *self.bounds))

    def overlaps(self, other: "Grid") -> bool:
        """Whether their bounds in degrees have ground in common, also across the 180th meridian."""
        (west, south, east, north), (w, s, e, n) = self.lonlat_bounds, other.lonlat_bounds
        east, e = east + 360 * (east < west), e + 360 * (e < w)
        return south < n and s < north and any(west < e + turn and w + turn < east for turn in (-360, 0, 360))

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
        """(3, height, width) values as (height, width, 3) uint8, cut off before anything overflows."""
        high = np.maximum(self.high, np.nextafter(self.low, np.inf))
        cut = np.clip(values.transpose(1, 2, 0), self.low, high).astype(np.float32) - self.low
        return np.asarray(np.nan_to_num(cut / (high - self.low)) * 255 + 0.5, np.uint8)


class Scene:
    """An open raster: three of its bands, scale and offset applied, and which pixels it knows.

    Known are pixels where all three have data (no nodata, mask, transparency or NaN), and no cloud.
    """

    def __init__(self, dataset: Any, header: Header, choice: Choice, closing: ExitStack):
        self.header, self.choice = header, choice
        crs = _crs(dataset)
        # Without a CRS, a transform places pixels nowhere either.
        self.grid = (
            Grid(crs, dataset.transform, dataset.height, dataset.width)
            if crs
            else Grid.plain(dataset.height, dataset.width)
        )
        self._file, self._file_grid, self._closing = dataset, self.grid, closing
        self._palette = _palette(dataset, choice.bands[0]) if choice.is_palette else None
        # What is read; the same for clouds, which can't be blended; where the grid begins in it.
        self._values, self._sky, self._start = dataset, dataset, (0, 0)

    def on(self, grid: Grid) -> "Scene":
        """The same scene on another grid, which may reach beyond it.

        Where the two lie whole pixels apart, pixels stay the file's own. Else they are warped as they are
        read: bilinear, but nearest for clouds and palettes.

        Raises:
            UnreadableMediaError: One has no CRS, or there is no way from one to the other.
        """
        scene = Scene(self._file, self.header, self.choice, self._closing)
        scene.grid = grid
        start = _whole_pixels(self._file_grid, grid)
        if start is not None:
            scene._start = start
            return scene
        blending = Resampling.nearest if self.choice.is_palette else Resampling.bilinear
        scene._values = scene._sky = self._warped(grid, blending)
        if self.choice.cloud_band and not self.choice.is_palette:
            scene._sky = self._warped(grid, Resampling.nearest)
        return scene

    def _warped(self, grid: Grid, resampling: Resampling) -> Any:
        if self._file_grid.crs is None or grid.crs is None:
            raise UnreadableMediaError("without a CRS it can't be laid on another's grid")
        try:
            warped = WarpedVRT(
                self._file, src_crs=self._file_grid.crs, crs=grid.crs, transform=grid.transform,
                height=grid.height, width=grid.width, resampling=resampling,
                add_alpha=self.header.nodata is None and "alpha" not in self.header.colours,
            )  # fmt: skip
        except (RasterioError, CRSError, CPLE_BaseError) as error:
            raise UnreadableMediaError(f"can't be laid on another's grid: {_first_line(error)}") from error
        return self._closing.enter_context(warped)

    def scaling(self) -> Scaling:
        """From the 2nd to the 98th percentile of the scene and a quarter more on both sides, band by band.

        Where one date is cut off at black and the next, hazier, is not, all seems to change: hence the room.
        8-bit values stay as they are, unless they use less than half of their range: too faint for features.
        """
        low, high = np.zeros(3, np.float32), np.full(3, 255, np.float32)
        if self.choice.is_palette:
            return Scaling(low, high)
        is_eight_bit = self.header.dtypes[self.choice.bands[0] - 1] == "uint8" and self.choice.factors is None
        values, valid = self.sample()
        if valid.any():
            ends = np.quantile(values[:, valid].clip(-_MOST, _MOST), _QUANTILES, axis=1).astype(np.float32)
            span = ends[1] - ends[0]
            if not is_eight_bit or 0 < span.max() < _DARK_SPAN:
                low, high = ends[0] - _ROOM * span, ends[1] + _ROOM * span
        return Scaling(low, high)

    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """The whole scene, thinned out to at most 1,024 px a side: (3, h, w) values, (h, w) valid."""
        rows, columns = self.grid.height, self.grid.width
        times = max(1.0, max(rows, columns) / _SAMPLE_PX)
        height, width = max(1, round(rows / times)), max(1, round(columns / times))
        if self._values is not self._file and times > 1:
            return self._thinned(height, width).read(0, 0, height, width)
        # By strips: GDAL goes band by band, and would unpack all of a large file once for each.
        strip = max(1, int(max(256, self._file.block_shapes[0][0]) / times))
        parts = []
        for top in range(0, height, strip):
            bottom = min(height, top + strip)
            first, end = round(top * rows / height), round(bottom * rows / height)
            parts.append(self._read((first, 0, end - first, columns), (bottom - top, width)))
        values, valid = zip(*parts, strict=True)
        return np.concatenate(values, axis=1), np.concatenate(valid)

    def _thinned(self, height: int, width: int) -> "Scene":
        """Warped to fewer pixels in one pass; warping all and leaving out most of it took a minute."""
        step = rasterio.Affine.scale(self.grid.width / width, self.grid.height / height)
        scene = Scene(self._file, self.header, self.choice, self._closing)
        scene.grid = Grid(self.grid.crs, self.grid.transform @ step, height, width)
        scene._values = scene._sky = self._warped(scene.grid, Resampling.nearest)
        return scene

    def read(self, top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """A window of the grid: (3, height, width) values and (height, width) valid.

        Values are the file's own numbers, float32 where a scale or an offset is applied to them, a palette's
        colours as uint8.

        Raises:
            UnreadableMediaError: The file is damaged there.
        """
        return self._read((top, left, height, width), (height, width))

    def _read(self, box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Top, left, height, width of the grid, as so many pixels; what lies beyond the file isn't valid."""
        top, height, rows = _inside(box[0] + self._start[0], box[2], self._values.height, size[0])
        left, width, columns = _inside(box[1] + self._start[1], box[3], self._values.width, size[1])
        shape = rows.stop - rows.start, columns.stop - columns.start
        if not all(shape):
            values = np.zeros((3, *size), self._values.dtypes[self.choice.bands[0] - 1])
            return self._seen(values), np.zeros(size, bool)
        values, valid = self._pixels(Window(left, top, width, height), shape)
        if shape != size:
            pads = (rows.start, size[0] - rows.stop), (columns.start, size[1] - columns.stop)
            values, valid = np.pad(values, ((0, 0), *pads)), np.pad(valid, pads)
        return self._seen(values), valid

    def _pixels(self, window: Window, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Numbers as stored, and which are valid."""
        bands = list(self.choice.bands)
        try:
            values = self._values.read(bands, window=window, out_shape=(3, *shape))
            valid = (self._values.read_masks(bands, window=window, out_shape=(3, *shape)) > 0).all(0)
            if self.choice.cloud_band:
                sky = self._sky.read(self.choice.cloud_band, window=window, out_shape=shape)
                valid &= ~self.choice.is_cloud(sky)
        except (RasterioError, OSError) as error:
            raise UnreadableMediaError(f"its pixels can't be read: {_first_line(error)}") from error
        if np.issubdtype(values.dtype, np.floating):
            valid &= np.isfinite(values).all(0)
        return values, valid

    def _seen(self, stored: np.ndarray) -> np.ndarray:
        if self._palette is not None:
            numbers = stored[0].astype(np.int64) % len(self._palette)
            return np.moveaxis(self._palette[numbers], -1, 0)
        return self.choice.as_values(stored)

    def end_byte(self) -> int:
        """Where in the file its blocks end, as its header says; no pixel is read."""
        bands = 1 if is_interleaved(self._file) else self.header.count
        return max((block.offset + block.size for block in blocks_of(self._file, bands=bands)), default=0)

    def has_valid_pixel(self) -> bool:
        """Whether any pixel has data, clouded or not. One block tells, but in a scene that has next to none.

        Raises:
            UnreadableMediaError: The file is damaged where it was read.
        """
        clear = Scene(self._file, self.header, replace(self.choice, cloud_band=None), self._closing)
        blocks = fullest_first(blocks_of(self._file, bands=1))
        sizes = [(block.window, (block.window.height, block.window.width)) for block in blocks]
        return any(clear._pixels(window, size)[1].any() for window, size in sizes)


@contextmanager
def open_scene(
    path: Path, *, bands: Sequence[int] | None = None, cloud_band: int | None = None
) -> Iterator[Scene]:
    """Open a local TIFF; nothing that it names is opened.

    Args:
        path: Of the file.
        bands: Numbers, from 1, of what is seen as red, green and blue (or one, for all three); left out, as
            the file tells.
        cloud_band: Number of a band that is not 0 under cloud; left out, one described as `SCL`, `QA_PIXEL`
            (whose codes are then understood), `cloud`, `clouds`, `cloud_mask` or `cloudmask`.

    Raises:
        UnreadableMediaError: No TIFF, damaged, without such bands, or of a kind that has no pixels to see.
        UsageError: Neither one band nor three were given.
    """
    if not is_tiff(path):
        raise UnreadableMediaError(
            "no GeoTIFF; files that point to others (VRT) and addresses aren't opened: write its pixels as "
            "one (`gdal_translate -of COG IN OUT`)"
        )
    # No file beside it is looked for, and no driver but this one tries.
    with (
        rasterio.Env(
            GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_PAM_ENABLED="NO", GDAL_CACHEMAX=_CACHE_BYTES
        ),
        ExitStack() as closing,
    ):
        # The grid tells. For good, because files are opened in threads, where `catch_warnings` isn't safe.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            dataset = closing.enter_context(rasterio.open(path.absolute(), driver="GTiff"))
        except (RasterioError, CRSError, OSError) as error:
            raise UnreadableMediaError(f"can't be opened: {_first_line(error)}") from error
        header = Header.of(dataset)
        if not header.count or np.issubdtype(np.dtype(header.dtypes[0]), np.complexfloating):
            raise UnreadableMediaError(
                f"has no bands of plain numbers ({', '.join(header.dtypes[:1]) or 'none'}): write what "
                "is to be seen, such as the amplitude, as a GeoTIFF of its own"
            )
        require_small_blocks(dataset)
        yield Scene(dataset, header, choose(header, bands=bands, cloud_band=cloud_band), closing)


def _whole_pixels(held: Grid, wanted: Grid) -> tuple[int, int] | None:
    """Row and column of one grid where another begins, if their pixels are the same ones."""
    if held.crs != wanted.crs or not held.transform.determinant:
        return None
    a, b, left, d, e, top = tuple(~held.transform @ wanted.transform)[:6]
    drift = max(abs(a - 1), abs(b), abs(d), abs(e - 1)) * max(wanted.height, wanted.width)
    if max(drift, abs(left - round(left)), abs(top - round(top))) > _ALIGNED_PX:
        return None
    return round(top), round(left)


def _inside(start: int, length: int, limit: int, size: int) -> tuple[int, int, slice]:
    """First and count of what an axis really has of a stretch, and where that lies in so many pixels."""
    first, end = (min(max(edge, 0), limit) for edge in (start, start + length))
    return first, end - first, slice(*(round((edge - start) * size / length) for edge in (first, end)))


def _crs(dataset: Any) -> CRS | None:
    try:
        return dataset.crs or None
    except CRSError:
        return None


def _palette(dataset: Any, band: int) -> np.ndarray:
    """(colours, 3) uint8."""
    told = dataset.colormap(band)
    colours = np.zeros((256 if dataset.dtypes[band - 1] == "uint8" else 1 << 16, 3), np.uint8)
    for value, colour in told.items():
        colours[value] = colour[:3]
    return colours


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
