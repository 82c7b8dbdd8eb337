"""Outlines in degrees where longitudes jump: across the 180th meridian, and around the poles."""

import math
from typing import Any

import numpy as np

_HAIR_DEG = 1e-9


def wrapped(lons: np.ndarray) -> np.ndarray:
    """Longitudes in [-180, 180); those that lie there stay as they are, to the last bit."""
    is_within = (lons >= -180) & (lons < 180)
    return np.where(is_within, lons, (lons + 180) % 360 - 180)


def unrolled(lons: np.ndarray, lats: np.ndarray) -> np.ndarray:
    """A closed ring without jumps, (n, 2): its longitudes may leave -180 to 180.

    One that goes around a pole is closed over it.

    Args:
        lons: (n,) degrees, from each point to the next less than 180; the first point again at the end.
        lats: (n,) degrees.
    """
    around = np.unwrap(lons, period=360)
    ring = np.stack([around, lats], axis=-1)
    if abs(around[-1] - around[0]) <= 180:
        return ring
    pole = math.copysign(90, lats.mean())
    return np.concatenate([ring, [(around[-1], pole), (around[0], pole), ring[0]]])


def parted(outline: Any) -> Any:
    """Each part of an outline, a shapely polygon, moved to where longitudes run from -180 to 180."""
    import shapely
    from shapely.affinity import translate

    west, _, east, _ = outline.bounds
    turns = range(math.floor((west + 180 + _HAIR_DEG) / 360), math.ceil((east + 180 - _HAIR_DEG) / 360))
    moved = (
        translate(outline.intersection(shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90)), -360 * turn)
        for turn in turns
    )
    parts = [part for one in moved for part in shapely.get_parts(one) if part.geom_type == "Polygon"]
    # What goes all around meets itself again.
    return parts[0] if len(parts) == 1 else shapely.union_all(shapely.MultiPolygon(parts))


def on_earth(outlines: np.ndarray) -> np.ndarray:
    """(n,) shapely outlines in degrees as RFC 7946 has them: parted at the 180th meridian, counter-clockwise.

    Args:
        outlines: In longitude and latitude. From each point to the next they go the shorter way around.
    """
    import shapely

    flat = np.array(shapely.force_2d(outlines), object)
    west, _, east, _ = shapely.bounds(flat).reshape(-1, 4).T
    for at in np.flatnonzero((east - west > 180) | (west < -180) | (east > 180)):
        flat[at] = _mended(flat[at])
    return np.asarray(shapely.orient_polygons(flat), object)


def _mended(outline: Any) -> Any:
    import shapely

    if outline.geom_type not in ("Polygon", "MultiPolygon"):
        return outline
    whole = [parted(shapely.make_valid(_unrolled_polygon(part))) for part in shapely.get_parts(outline)]
    parts = [part for one in whole for part in shapely.get_parts(one)]
    if not parts:
        return outline  # without an area: a line along the meridian
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _unrolled_polygon(polygon: Any) -> Any:
    import shapely

    shell, *holes = (
        unrolled(*shapely.get_coordinates(ring).T) for ring in (polygon.exterior, *polygon.interiors)
    )
    west = shell[:, 0].min()
    for hole in holes:
        hole[:, 0] += 360 * math.ceil((west - hole[:, 0].min() - _HAIR_DEG) / 360)
    return shapely.Polygon(shell, holes)
