"""Vector files that users bring (labels, footprints), read from memory, and what they say of windows.

GDAL opens far more than files: addresses, archives, and files that point to others. It is handed bytes of two
formats only, never a name; the others it never sees.
"""

import contextlib
import io
import json
import re
import sqlite3
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.errors import QueryError, UnreadableMediaError
from lib.media.source import open_regular

if TYPE_CHECKING:
    import geopandas

SUFFIXES = (".geojson", ".json", ".gpkg", ".shp", ".parquet", ".geoparquet", ".fgb")
_LONLAT = "EPSG:4326"
_SLACK_DEG = 1e-6
_SIDECARS = (".shx", ".dbf", ".prj", ".cpg")
_WAL_AT = slice(18, 20)
# Of a GeoPackage's geometry: bytes of the box before it, by kind.
_BOX_BYTES = (0, 32, 48, 48, 64)
# How CRS are named in GeoJSON of before RFC 7946. Not among them: links, which GDAL would follow.
_CRS_NAME = re.compile(r"(?:urn:ogc:def:crs:)?(OGC|EPSG):[\d.]*:?(CRS84|\d+)")


@dataclass(frozen=True, slots=True)
class _Table:
    """A file as it lies: geometries (None where there is none), attributes, and whatever names its CRS."""

    geometries: np.ndarray
    columns: dict[str, np.ndarray]
    crs: Any


@dataclass(frozen=True, slots=True)
class Shapes:
    """Geometries with their attributes.

    Attributes:
        geometries: (n,) shapely geometries in EPSG:4326, valid, of two dimensions, none empty.
        columns: Attributes by name, (n,) each.
        without_geometry: Rows that were left out: they had none, or one with coordinates that are no numbers.
    """

    geometries: np.ndarray
    columns: dict[str, np.ndarray]
    without_geometry: int

    def __len__(self) -> int:
        return len(self.geometries)

    def classes(self, column: str) -> list[str | None]:
        """A column as class names; None where it is empty.

        Raises:
            QueryError: There is no such column, or nothing in it.
        """
        if column not in self.columns:
            listed = ", ".join(self.columns) or "none at all"
            raise QueryError(f"no column {column!r} to take classes from: the file's columns are {listed}.")
        names = [_name(value) for value in self.columns[column]]
        if not any(names):
            raise QueryError(f"column {column!r} is empty: give each shape its class there.")
        return names


def _name(value: Any) -> str | None:
    """A class as text; whole numbers as such, though a column with gaps holds them as fractions."""
    if value is None or value != value:
        return None
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return str(value).strip() or None


def read_shapes(path: Path) -> Shapes:
    """Read GeoJSON, GeoPackage, a shapefile, GeoParquet or FlatGeobuf, by suffix and first bytes.

    Raises:
        UnreadableMediaError: Another kind of file, damaged, empty, without geometries, of unknown or unusable
            CRS, or with coordinates that lie nowhere on Earth.
    """
    readers: dict[str, Callable[[Path], _Table]] = {
        ".geojson": _read_geojson, ".json": _read_geojson, ".gpkg": _read_geopackage, ".shp": _read_shapefile,
        ".parquet": _read_geoparquet, ".geoparquet": _read_geoparquet, ".fgb": _read_flatgeobuf,
    }  # fmt: skip
    if path.suffix.lower() not in readers:
        raise UnreadableMediaError(
            f"{path.suffix or 'no suffix'}: give a local file of {', '.join(SUFFIXES)}; archives, "
            "addresses and files that point to others (VRT) aren't opened"
        )
    table = readers[path.suffix.lower()](path)
    if not len(table.geometries):
        raise UnreadableMediaError("holds no features")
    geometries, has_geometry = _cleaned(table.geometries)
    if not has_geometry.any():
        raise UnreadableMediaError(f"none of its {len(geometries)} features has a geometry")
    return Shapes(
        _placed(geometries[has_geometry], table.crs),
        {name: values[has_geometry] for name, values in table.columns.items()},
        int((~has_geometry).sum()),
    )


def _cleaned(geometries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import shapely

    flat = shapely.force_2d(geometries)
    places, owners = shapely.get_coordinates(flat, return_index=True)
    flat[owners[~np.isfinite(places).all(axis=1)]] = None
    is_invalid = ~shapely.is_missing(flat) & ~shapely.is_valid(flat)
    try:
        flat[is_invalid] = shapely.make_valid(flat[is_invalid])
    except shapely.errors.ShapelyError as error:
        raise UnreadableMediaError(f"an outline of it can't be mended: {_first_line(error)}") from error
    return flat, ~shapely.is_missing(flat) & ~shapely.is_empty(flat)


def _placed(geometries: np.ndarray, crs: Any) -> np.ndarray:
    import geopandas
    from pyproj.exceptions import CRSError, ProjError

    if crs is None:
        raise UnreadableMediaError(
            "has no CRS, so where it lies is not known: assign one, or save as GeoJSON"
        )
    try:
        series = geopandas.GeoSeries(geometries, crs=crs)
        lonlat = series.to_crs(_LONLAT)
    except (CRSError, ProjError) as error:
        raise UnreadableMediaError(f"its CRS can't be turned into degrees: {_first_line(error)}") from error
    west, south, east, north = lonlat.total_bounds
    if not (max(-west, east) <= 180 + _SLACK_DEG and max(-south, north) <= 90 + _SLACK_DEG):
        raise UnreadableMediaError(
            f"its coordinates go from {west:g}, {south:g} to {east:g}, {north:g}, which are no degrees of "
            "longitude and latitude: is its CRS the right one?"
        )
    return np.asarray(lonlat.to_numpy(), object)


def _bytes_of(path: Path, magic: bytes = b"") -> bytes:
    with open_regular(path) as file:
        data = b"".join(iter(lambda: file.read(1 << 24), b""))
    if not data.startswith(magic):
        raise UnreadableMediaError(f"named {path.suffix}, but doesn't begin as such files do")
    return data


def _read_geojson(path: Path) -> _Table:
    from shapely.errors import ShapelyError
    from shapely.geometry import shape

    try:
        told = json.loads(_bytes_of(path).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UnreadableMediaError(f"no JSON: {error}") from error
    features = _features(told)
    crs = _named_crs(told.get("crs"))
    try:
        shapes = [shape(part["geometry"]) if part["geometry"] else None for part in features]
        attributes = [dict(part.get("properties") or {}) for part in features]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, ShapelyError) as error:
        raise UnreadableMediaError(f"a feature of it is no GeoJSON: {_first_line(error)}") from error
    return _Table(np.array(shapes, object), _columns(attributes), crs)


def _features(told: Any) -> list[Any]:
    kind = told.get("type") if isinstance(told, dict) else None
    if kind == "FeatureCollection" and isinstance(told.get("features"), list):
        return list(told["features"])
    if kind == "Feature":
        return [told]
    if isinstance(told, dict) and ("coordinates" in told or "geometries" in told):
        return [{"geometry": told}]
    raise UnreadableMediaError("JSON, but no GeoJSON: it holds no features")


def _columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    made = {name: np.empty(len(rows), object) for name in names}
    for number, row in enumerate(rows):
        for name, value in row.items():
            made[name][number] = value
    return made


def _named_crs(crs: Any) -> str:
    """Degrees, as RFC 7946 has it, unless an older file names another CRS."""
    if crs is None:
        return _LONLAT
    told = crs.get("properties") if isinstance(crs, dict) else None
    named = _CRS_NAME.fullmatch(str(told.get("name"))) if isinstance(told, dict) else None
    if named is None:
        raise UnreadableMediaError(f"names its CRS in a way that isn't followed: {json.dumps(crs)[:200]}")
    return _LONLAT if named[2] == "CRS84" else f"EPSG:{named[2]}"


def _read_geopackage(path: Path) -> _Table:
    """By SQLite alone: in GDAL's, a file's tables and views may call functions that open others."""
    import shapely
    from shapely.errors import ShapelyError

    journal = path.with_name(path.name + "-wal")
    if journal.is_file() and journal.stat().st_size:
        raise UnreadableMediaError(
            f"is being written to ({journal.name} lies beside it): close it there first"
        )
    data = bytearray(_bytes_of(path, b"SQLite format 3\0"))
    data[_WAL_AT] = b"\1\1"  # a file that was left in this mode can't be opened from memory
    try:
        with contextlib.closing(sqlite3.connect(":memory:")) as base:
            base.deserialize(bytes(data))
            layer, geometry, crs = _only_layer(base)
            quoted = layer.replace('"', '""')
            found = base.execute(f'SELECT * FROM "{quoted}"')  # noqa: S608  (quoted; and a base of its own)
            names = [name for name, *_ in found.description]
            columns = _columns(dict(zip(names, row, strict=True)) for row in found)
            for _, name, *_, is_key in base.execute(f'PRAGMA table_info("{quoted}")'):
                if is_key:
                    columns.pop(name, None)
        blobs = columns.pop(geometry, np.zeros(0, object))
        shapes = shapely.from_wkb([None if blob is None else _without_box(blob) for blob in blobs])
    except (sqlite3.Error, ShapelyError, LookupError, TypeError, OverflowError, UnicodeError) as error:
        raise UnreadableMediaError(f"no GeoPackage that can be read: {_first_line(error)}") from error
    return _Table(np.asarray(shapes, object), columns, crs)


def _only_layer(base: sqlite3.Connection) -> tuple[str, str, str | None]:
    """Table, geometry column and CRS."""
    layers = base.execute(
        "SELECT g.table_name, g.column_name, g.srs_id, s.organization, s.organization_coordsys_id, "
        "s.definition FROM gpkg_geometry_columns g "
        "JOIN sqlite_master m ON m.name = g.table_name AND m.type = 'table' "
        "AND m.sql NOT LIKE 'CREATE VIRTUAL%' LEFT JOIN gpkg_spatial_ref_sys s ON s.srs_id = g.srs_id"
    ).fetchall()
    if len(layers) != 1:
        listed = ", ".join(str(name) for name, *_ in layers) or "none"
        raise UnreadableMediaError(
            f"holds {len(layers)} layers of shapes ({listed}): save the one that is meant by itself"
        )
    table, column, number, organisation, code, definition = layers[0]
    if number in (None, 0, -1):  # 0 and -1: the standard's undefined ones
        return table, column, None
    return table, column, f"EPSG:{code}" if str(organisation).upper() == "EPSG" else definition


def _without_box(blob: bytes) -> bytes:
    if blob[:2] != b"GP":
        raise LookupError("a geometry isn't in GeoPackage's form")
    return blob[8 + _BOX_BYTES[blob[3] >> 1 & 7] :]


def _read_geoparquet(path: Path) -> _Table:
    import geopandas
    import pyarrow as pa
    from pyproj.exceptions import CRSError
    from shapely.errors import ShapelyError

    try:
        return _table_of(geopandas.read_parquet(io.BytesIO(_bytes_of(path, b"PAR1"))))
    except (ValueError, TypeError, LookupError, OSError, pa.ArrowException, CRSError, ShapelyError) as error:
        raise UnreadableMediaError(f"no GeoParquet that can be read: {_first_line(error)}") from error


def _read_flatgeobuf(path: Path) -> _Table:
    data = bytearray(_bytes_of(path, b"fgb\3fgb"))
    # GDAL takes any file for a VRT that has its first word in what, read as a string, is the beginning. Here
    # the string ends; the byte is a patch version, which no reader minds.
    data[7:8] = b"\0"
    return _by_gdal(bytes(data))


def _read_shapefile(path: Path) -> _Table:
    parts = {".shp": _bytes_of(path, b"\0\0\x27\x0a")}
    beside = {found.suffix.lower(): found for found in path.parent.iterdir() if found.stem == path.stem}
    parts |= {suffix: _bytes_of(beside[suffix]) for suffix in _SIDECARS if suffix in beside}
    if ".shx" not in parts:
        raise UnreadableMediaError(
            "lacks the .shx that belongs beside it: bring the shapefile's other files too"
        )
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for suffix, data in parts.items():
            archive.writestr(f"shapes{suffix}", data)
    return _by_gdal(held.getvalue())


def _by_gdal(data: bytes) -> _Table:
    import geopandas
    import pyogrio
    from shapely.errors import ShapelyError

    failures = (
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
        ShapelyError,
        ValueError,
        LookupError,
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd dates and rings; what matters comes as an error
            frame = pyogrio.read_dataframe(data)
    except failures as error:
        raise UnreadableMediaError(f"can't be read: {_first_line(error)}") from error
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise UnreadableMediaError("holds a table without geometries")
    return _table_of(frame)


def _table_of(frame: "geopandas.GeoDataFrame") -> _Table:
    others = frame.drop(columns=frame.geometry.name)
    columns = {str(name): others[name].to_numpy(object) for name in others}
    return _Table(np.array(frame.geometry.to_numpy(), object), columns, frame.crs)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
