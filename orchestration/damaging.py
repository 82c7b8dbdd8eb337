"""`dinolake change --buildings`: how much each building changed, by footprints that the user gives."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.errors import QueryError, UnreadableMediaError

if TYPE_CHECKING:
    from lib.media.vectorfiles import Shapes
    from lib.tasks.change_pair import Changes

FILES = ("buildings.parquet", "buildings.geojson")


def read_buildings(path: Path) -> "Shapes":
    """The areas of a vector file.

    Raises:
        QueryError: It can't be read, or holds no areas.
    """
    import shapely

    from lib.media.vectorfiles import Shapes, read_shapes

    try:
        shapes = read_shapes(path)
    except UnreadableMediaError as error:
        raise QueryError(f"--buildings {path} can't be used: {error}.") from error
    is_area = shapely.get_dimensions(shapes.geometries) == 2
    if not is_area.any():
        raise QueryError(f"--buildings {path} holds no areas: give footprints, not points or lines.")
    columns = {name: values[is_area] for name, values in shapes.columns.items()}
    return Shapes(shapes.geometries[is_area], columns, shapes.without_geometry)


def write_damage(changes: "Changes", buildings: "Shapes", out: Path) -> dict[str, Any]:
    """Score, class and area of each building, as GeoParquet and GeoJSON; what the summary says of them.

    Raises:
        QueryError: The pair has no CRS, or shows none of the buildings.
    """
    from lib.media.footprints import footprints_on, framed
    from lib.media.geofiles import write_geojson, write_geoparquet
    from lib.tasks.damage import judge_buildings

    labels, areas_m2 = footprints_on(buildings.geometries, changes.grid)
    if not labels.any():
        raise QueryError("none of the buildings lies on what BEFORE shows.")
    found = judge_buildings(changes.score, labels, areas_m2, gate=changes.gate, threshold=changes.threshold)
    told = {f"given_{name}": values for name, values in buildings.columns.items()}
    told |= {"score": np.round(found.scores, 4), "damage": np.array(found.classes)}
    frame = framed(buildings.geometries, told | {"area_m2": np.round(areas_m2, 2)})
    write_geoparquet(frame, out / FILES[0])
    write_geojson(frame, out / FILES[1])
    return {
        "counts": found.counts,
        "areas_m2": {name: round(area, 2) for name, area in found.areas_m2.items()},
        "levels": [round(level, 4) for level in found.levels],
        "note": "classes are an ordered change score cut at the pair's own gate and threshold: nothing was "
        "trained on damaged buildings",
    }
