"""A tile's lattice: the pixel grid that all its dates share, and the windows on it.

A window is named by its first pixel on the lattice, so that the same ground has the same name on every date.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.warp import transform as transform_points

from lib.media.lonlat import on_earth, wrapped
from lib.media.raster import Grid, Scaling, Scene

Points = tuple[np.ndarray, np.ndarray]  # xs, ys

WINDOW_PX = 256
# What a window shares with its neighbours on each side.
MARGIN_PX = 32
STRIDE_PX = WINDOW_PX - 2 * MARGIN_PX
_GREY = 127
_LONLAT = CRS.from_epsg(4326)
# In pixels: so little over a pixel's border is rounding.
_ALIGNED = 0.02
# Of a tile in degrees: so far may later scenes begin before its first one.
_BEFORE_DEG = 10.0
# A square with wider sides has each in so many parts.
_WIDE_DEG, _SIDES = 90, 16


@dataclass(frozen=True, slots=True)
class Lattice:
    """A pixel grid without an end. `transform`: a, b, c, d, e, f from (column, row) to the CRS."""

    crs: str
    transform: tuple[float, ...]

    def grid(self, top: int, left: int, height: int, width: int) -> Grid:
        """A part of it."""
        a, b, c, d, e, f = self.transform
        moved = rasterio.Affine(a, b, c + a * left + b * top, d, e, f + d * left + e * top)
        return Grid(CRS.from_user_input(self.crs), moved, height, width)

    def cells(self, top: int, left: int, rows: int, columns: int, side: int) -> Grid:
        """A part of it with so many pixels a side made one."""
        a, b, c, d, e, f = self.grid(top, left, rows * side, columns * side).transform[:6]
        wider = rasterio.Affine(a * side, b * side, c, d * side, e * side, f)
        return Grid(CRS.from_user_input(self.crs), wider, rows, columns)

    def whole(self, span: tuple[int, int, int, int]) -> Grid:
        """A part of it (top, left, bottom, right) as a single pixel."""
        top, left, bottom, right = span
        a, b, c, d, e, f = self.grid(top, left, 1, 1).transform[:6]
        height, width = bottom - top, right - left
        wide = rasterio.Affine(a * width, b * height, c, d * width, e * height, f)
        return Grid(CRS.from_user_input(self.crs), wide, 1, 1)

    def span(self, grid: Grid) -> tuple[int, int, int, int]:
        """Top, left, bottom, right of the pixels that hold all of a grid."""
        columns, rows = self._edge(grid)
        # A hair's breadth over a border is rounding, not ground.
        top, left = (int(np.floor(v.min() + _ALIGNED)) for v in (rows, columns))
        bottom, right = (int(np.ceil(v.max() - _ALIGNED)) for v in (rows, columns))
        return top, left, bottom, right

    def _edge(self, grid: Grid) -> Points:
        """Columns and rows on the lattice of points along a grid's edge."""
        steps = np.linspace(0, 1, 21)
        columns = np.concatenate([steps, steps, np.zeros(21), np.ones(21)]) * grid.width
        rows = np.concatenate([np.zeros(21), np.ones(21), steps, steps]) * grid.height
        points = _applied(grid.transform, (columns, rows))
        if grid.crs == CRS.from_user_input(self.crs) or not self._is_in_degrees:
            return _applied(self._inverse, _moved(points, grid.crs, CRS.from_user_input(self.crs)))
        xs, ys = _moved(points, grid.crs, CRS.from_user_input(self.crs))
        whole = np.unwrap(xs, period=360)
        return _applied(self._inverse, (whole + self._turned(whole[:1], None) - whole[:1], ys))

    @property
    def _inverse(self) -> rasterio.Affine:
        return ~rasterio.Affine(*self.transform)

    def lonlat(self, rows: np.ndarray, columns: np.ndarray) -> Points:
        """Longitudes and latitudes of points on the lattice."""
        lons, lats = self._degrees(rows, columns)
        return wrapped(lons), lats

    def squares(self, tops: np.ndarray, lefts: np.ndarray, side: int) -> np.ndarray:
        """(n,) outlines, shapely, EPSG:4326 as RFC 7946 has them, of squares from their first pixels on."""
        import shapely

        # In degrees a side may be more than half way around: then a corner doesn't tell the next one.
        is_wide = self._is_in_degrees and side * max(np.abs(self.transform[:2])) > _WIDE_DEG
        steps = np.linspace(0, side, _SIDES, endpoint=False) if is_wide else np.zeros(1)
        down = np.concatenate([steps, 0 * steps + side, side - steps, 0 * steps])
        along = np.concatenate([0 * steps, steps, 0 * steps + side, side - steps])
        ring = np.stack(self._degrees(tops[:, None] + down, lefts[:, None] + along), axis=-1)
        return on_earth(shapely.polygons(ring))

    def _degrees(self, rows: np.ndarray, columns: np.ndarray) -> Points:
        points = _applied(rasterio.Affine(*self.transform), (columns.astype(float), rows.astype(float)))
        shape = points[0].shape
        lons, lats = _moved((points[0].ravel(), points[1].ravel()), CRS.from_user_input(self.crs), _LONLAT)
        # A window may reach beyond the last row of the earth.
        return lons.reshape(shape), np.clip(lats, -90, 90).reshape(shape)

    @property
    def _is_in_degrees(self) -> bool:
        return bool(CRS.from_user_input(self.crs).is_geographic)

    def pixels(
        self, lons: np.ndarray, lats: np.ndarray, *, near: tuple[float, float] | None = None
    ) -> Points:
        """Rows and columns of places.

        Args:
            lons: In degrees; whole turns more or less are the same place.
            lats: In degrees.
            near: Row and column that tell which turn is meant, where the lattice is in degrees: the middle of
                what lies on it. Left out: little is taken to lie before its first column.
        """
        xs, ys = _moved((lons, lats), _LONLAT, CRS.from_user_input(self.crs))
        if self._is_in_degrees:
            xs = self._turned(xs, near)
        columns, rows = _applied(self._inverse, (xs, ys))
        return rows, columns

    def _turned(self, xs: np.ndarray, near: tuple[float, float] | None) -> np.ndarray:
        """Longitudes as the lattice counts them."""
        a, b, origin = self.transform[:3]
        if near is None:
            least, most = (-_BEFORE_DEG, 360.0) if a + b >= 0 else (-360.0, _BEFORE_DEG)
        else:
            middle = a * near[1] + b * near[0]
            least, most = middle - 180, middle + 180
        past = xs - origin
        # Both ends of a whole turn stay what they are.
        return np.where((past >= least) & (past <= most), xs, xs - 360 * np.floor((past - least) / 360))


class PlacedScene:
    """A scene on its tile's lattice, read as 8-bit pictures."""

    def __init__(self, scene: Scene, lattice: Lattice, scaling: Scaling):
        self.span = lattice.span(scene.grid)
        self.scaling = scaling
        top, left, bottom, right = self.span
        self._scene = scene.on(lattice.grid(top, left, bottom - top, right - left))

    def windows(self) -> Iterator[tuple[int, int]]:
        """First pixels (row, column), on the lattice, of the windows whose own ground it touches."""
        top, left, bottom, right = self.span
        for row in range(top // STRIDE_PX * STRIDE_PX, bottom, STRIDE_PX):
            for column in range(left // STRIDE_PX * STRIDE_PX, right, STRIDE_PX):
                yield row, column

    def reach(self, row: int, column: int) -> float:
        """The share of a window's own ground that the scene's grid reaches."""
        top, left, bottom, right = self.span
        height = min(bottom, row + STRIDE_PX) - max(top, row)
        width = min(right, column + STRIDE_PX) - max(left, column)
        return max(0, height) * max(0, width) / STRIDE_PX**2

    def read(self, row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
        """A window with its margin: (256, 256, 3) uint8 and (256, 256) valid.

        What isn't valid is grey; beyond the scene's edge the edge is repeated, and is not valid.

        Raises:
            UnreadableMediaError: The file is damaged there.
        """
        return self.part(row - MARGIN_PX, column - MARGIN_PX, WINDOW_PX, WINDOW_PX)

    def part(self, row: int, column: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Any part of the lattice that the scene reaches into, as `read` gives windows."""
        top, left, bottom, right = self.span
        wanted = row - top, column - left
        rows = max(0, wanted[0]), min(bottom - top, wanted[0] + height)
        columns = max(0, wanted[1]), min(right - left, wanted[1] + width)
        values, valid = self._scene.read(rows[0], columns[0], rows[1] - rows[0], columns[1] - columns[0])
        picture = self.scaling.apply(values)
        picture[~valid] = _GREY
        pads = (
            (rows[0] - wanted[0], wanted[0] + height - rows[1]),
            (columns[0] - wanted[1], wanted[1] + width - columns[1]),
        )
        return np.pad(picture, (*pads, (0, 0)), mode="edge"), np.pad(valid, pads)


def _applied(affine: rasterio.Affine, points: Points) -> Points:
    a, b, c, d, e, f = affine[:6]
    xs, ys = points
    return a * xs + b * ys + c, d * xs + e * ys + f


def _moved(points: Points, source: CRS, target: CRS) -> Points:
    if source == target:
        return points
    xs, ys = transform_points(source, target, *points)
    return np.asarray(xs), np.asarray(ys)
