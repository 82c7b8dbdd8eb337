"""Places found, as GeoJSON that QGIS opens."""

import json
from collections.abc import Mapping, Sequence
from typing import Any


def places_geojson(outlines: Sequence[bytes], properties: Sequence[Mapping[str, Any]]) -> str:
    """Outlines with what is known of each: longitude and latitude, right-hand winding (RFC 7946).

    Args:
        outlines: WKB polygons in EPSG:4326, also of several parts.
        properties: Of each, plain values.
    """
    import shapely
    from shapely.geometry import mapping

    features = [
        {"type": "Feature", "geometry": mapping(outline), "properties": dict(told)}
        for outline, told in zip(shapely.orient_polygons(shapely.from_wkb(outlines)), properties, strict=True)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False)
