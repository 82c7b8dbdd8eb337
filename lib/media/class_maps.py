"""Maps of classes: a COG that opens in colours and names, and the areas of its classes on the ellipsoid."""

import colorsys
import os
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.errors import NotGeoreferencedWarning
from rasterio.warp import transform

from lib.errors import OutputError, QueryError
from lib.media.raster import Grid

# Of a map of classes.
NO_DATA = 0
MOST_CLASSES = 255
_LONLAT = "EPSG:4326"
_HA_M2 = 10_000.0
_WGS84_A_M, _WGS84_F = 6_378_137.0, 1 / 298.257223563
# Of a projected grid: how many pixels' side is taken for one area; at most this many blocks a side.
_BLOCK_PX, _MOST_BLOCKS = 64, 128
# TIFF's tag of what further bands are, and its word for none of the known things.
_EXTRA_SAMPLES, _UNSPECIFIED = 338, 0
# Okabe and Ito's, which the colour-blind tell apart; further classes get hues in between.
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
            (204, 121, 167), (120, 120, 120))  # fmt: skip


def colours_for(count: int) -> list[tuple[int, int, int]]:
    """Red, green and blue (0 to 255) for each of some classes, all different."""
    golden = 0.618034
    more = range(max(0, count - len(_COLOURS)))
    hues = [
        colorsys.hsv_to_rgb(number * golden % 1, 0.5 + 0.4 * (number % 2), 0.9 - 0.08 * (number % 5))
        for number in more
    ]
    made = [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in hues]
    return [*_COLOURS[:count], *made]


def write_class_cog(
    path: Path,
    classes: np.ndarray,
    confidence: np.ndarray,
    *,
    grid: Grid,
    names: Sequence[str],
    colours: Sequence[tuple[int, int, int]],
) -> tuple[Path, Path, Path]:
    """Write a map of classes as a Cloud Optimized GeoTIFF, and beside it what GIS programs look for.

    A TIFF holds bands of one type only, so both are bytes: band 1 the classes with a palette, band 2 the
    confidence in percent with a scale of 0.01 (1 % at least where there is a class: 0 is no data in both).
    Names stand in band 1's tags (`class_1` …). A TIFF has no place for the names that GDAL shows, so they go
    into `<path>.aux.xml` too; and QGIS takes any file of two bands for one of several colours unless a style
    of the same name (`.qml`) lies beside it.

    Args:
        path: Where to.
        classes: (height, width) uint8; 0 is no data, 1 the first name.
        confidence: (height, width) float32 in [0, 1]; anything where there is no class.
        grid: Where its pixels lie.
        names: Of the classes.
        colours: Red, green and blue of each, 0 to 255.

    Returns:
        What was written: the map, its names, its style.

    Raises:
        OutputError: More classes than bytes can tell apart, or a class without name or colour.
    """
    most = int(classes.max(initial=0))
    if len(names) > MOST_CLASSES or len(names) != len(colours) or most > len(names):
        raise OutputError(
            f"{path.name}: {len(names)} names and {len(colours)} colours for classes up to {most}; each "
            f"needs one of both, and there can be {MOST_CLASSES}."
        )
    beside = path.with_name(path.name + ".aux.xml"), path.with_suffix(".qml")
    _write_map(path, classes, confidence, grid=grid, names=names, colours=colours)
    _write_text(beside[0], _pam(names))
    _write_text(beside[1], _style(names, colours))
    return path, *beside


def _write_map(
    path: Path,
    classes: np.ndarray,
    confidence: np.ndarray,
    *,
    grid: Grid,
    names: Sequence[str],
    colours: Sequence[tuple[int, int, int]],
) -> None:
    percent = np.clip(np.round(np.nan_to_num(confidence) * 100), 1, 100).astype(np.uint8)
    percent[classes == NO_DATA] = NO_DATA
    told = {
        "driver": "MEM", "count": 2, "height": grid.height, "width": grid.width, "dtype": "uint8",
        "nodata": NO_DATA,
    }  # fmt: skip
    if grid.crs is not None:
        told |= {"crs": grid.crs, "transform": grid.transform}
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a plain picture's map isn't
            with rasterio.open("map", "w+", **told) as file:
                file.write_colormap(1, {NO_DATA: (0, 0, 0, 0)} | dict(enumerate(colours, 1)))
                file.write(np.stack([classes.astype(np.uint8, copy=False), percent]))
                file.descriptions, file.scales = ("class", "confidence"), (1.0, 0.01)
                file.update_tags(1, **{f"class_{number}": name for number, name in enumerate(names, 1)})
                rasterio.shutil.copy(
                    file, partial, driver="COG", compress="DEFLATE", overview_resampling="MODE"
                )
        _mark_no_alpha(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _mark_no_alpha(path: Path) -> None:
    """Tell each picture of a TIFF that its second band is no transparency.

    GDAL writes the band beside a palette as alpha, whatever it is told, and readers would fade out ground of
    little confidence. Told later, through GDAL, the directory moves to the end and the file is no COG.
    """
    with path.open("r+b") as file:
        head = file.read(16)
        order, is_big = "<" if head[:2] == b"II" else ">", 43 in head[2:4]
        count_of, next_of, entry_of = (
            struct.Struct(order + kind) for kind in (("Q", "Q", "HHQ8s") if is_big else ("H", "I", "HHI4s"))
        )
        (directory,) = next_of.unpack_from(head, 8 if is_big else 4)
        while directory:
            file.seek(directory)
            (count,) = count_of.unpack(file.read(count_of.size))
            tags = [tag for tag, *_ in entry_of.iter_unpack(file.read(count * entry_of.size))]
            (following,) = next_of.unpack(file.read(next_of.size))
            # The value is an entry's last part, as wide as an address.
            ends = directory + count_of.size + (tags.index(_EXTRA_SAMPLES) + 1) * entry_of.size
            file.seek(ends - next_of.size)
            file.write(struct.pack(order + "H", _UNSPECIFIED))
            directory = following


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _pam(names: Sequence[str]) -> str:
    """GDAL's own file of what a format can't hold."""
    listed = "".join(f"<Category>{escape(name)}</Category>" for name in ("no data", *names))
    return (
        '<PAMDataset><PAMRasterBand band="1"><CategoryNames>'
        f"{listed}</CategoryNames></PAMRasterBand></PAMDataset>\n"
    )


def _style(names: Sequence[str], colours: Sequence[tuple[int, int, int]]) -> str:
    """QGIS's own file of how a layer is drawn."""
    entries = "".join(
        f'<paletteEntry value="{number}" label={quoteattr(name)} color="#{r:02x}{g:02x}{b:02x}" alpha="255"/>'
        for number, (name, (r, g, b)) in enumerate(zip(names, colours, strict=True), 1)
    )
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis version="3.16.0" styleCategories="Symbology"><pipe>'
        '<rasterrenderer type="paletted" band="1" alphaBand="-1" opacity="1" nodataColor="">'
        f"<rasterTransparency/><colorPalette>{entries}</colorPalette></rasterrenderer></pipe></qgis>\n"
    )


def class_areas_ha(classes: np.ndarray, grid: Grid, names: Sequence[str]) -> dict[str, float]:
    """Hectares of each class on the WGS 84 ellipsoid.

    Args:
        classes: (height, width) uint8; 0 is no data, 1 the first name.
        grid: Where its pixels lie.
        names: Of the classes.

    Raises:
        QueryError: The grid has no CRS, so that its pixels have no area.
    """
    if grid.crs is None:
        raise QueryError("the map has no CRS: its areas can't be told in hectares.")
    is_straight = grid.crs.is_geographic and grid.transform.b == 0 and grid.transform.d == 0
    sums = (_by_rows if is_straight else _by_blocks)(classes, grid, len(names) + 1)
    return {name: float(sums[number] / _HA_M2) for number, name in enumerate(names, 1)}


def pixel_rows_m2(grid: Grid) -> np.ndarray:
    """Area of a pixel in each row of a grid of degrees, (height,) m²: exact between parallels.

    Source: the zone of an ellipsoid, Snyder, Map Projections (1987), equation 3-12.
    """
    rows = np.arange(grid.height + 1)
    latitude = np.clip(grid.transform.f + rows * grid.transform.e, -90, 90)
    sine, e2 = np.sin(np.radians(latitude)), _WGS84_F * (2 - _WGS84_F)
    e = np.sqrt(e2)
    authalic = (1 - e2) * (sine / (1 - e2 * sine**2) + np.arctanh(e * sine) / e)
    return np.asarray(np.abs(np.diff(authalic)) * _WGS84_A_M**2 / 2 * np.radians(abs(grid.transform.a)))


def _by_rows(classes: np.ndarray, grid: Grid, count: int) -> np.ndarray:
    sums = np.zeros(count)
    for row, area in zip(classes, pixel_rows_m2(grid), strict=True):
        sums += area * np.bincount(row, minlength=count)
    return sums


def _by_blocks(classes: np.ndarray, grid: Grid, count: int) -> np.ndarray:
    """Pixels of a block share one area, which on a projected grid hardly varies over so little ground."""
    from pyproj import Geod

    side = max(_BLOCK_PX, -(-max(classes.shape) // _MOST_BLOCKS))
    tops, lefts = (np.append(np.arange(0, length, side), length) for length in classes.shape)
    columns, rows = np.meshgrid(lefts, tops)
    xs, ys = grid.transform @ (columns.ravel().astype(float), rows.ravel().astype(float))
    lons, lats = (np.reshape(part, rows.shape) for part in transform(grid.crs, _LONLAT, xs, ys))
    ellipsoid, sums = Geod(ellps="WGS84"), np.zeros(count)
    for r, c in np.ndindex(len(tops) - 1, len(lefts) - 1):
        part = classes[tops[r] : tops[r + 1], lefts[c] : lefts[c + 1]]
        if not part.any():
            continue
        ring = (r, r, r + 1, r + 1), (c, c + 1, c + 1, c)
        area = abs(ellipsoid.polygon_area_perimeter(lons[ring], lats[ring])[0])
        sums += area / part.size * np.bincount(part.ravel(), minlength=count)
    return sums


def read_class_map(path: Path) -> np.ndarray:
    """A map that `write_class_cog` wrote, in its own colours: (height, width, 3) uint8, grey without data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path.absolute(), driver="GTiff") as file:
            classes, palette = file.read(1), file.colormap(1)
    colours = np.full((256, 3), 200, np.uint8)
    for number, colour in palette.items():
        if number != NO_DATA:
            colours[number] = colour[:3]
    return np.asarray(colours[classes])
