"""The columns of the lake's Parquet files, stage by stage. Read by DuckDB and pyarrow as they lie."""

import json
from collections.abc import Mapping

import pyarrow as pa

# A frame's thumbnail is for people; vectors come from the full frame.
THUMBNAIL_PX = 160

_SEGMENT = pa.struct(
    [
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("label", pa.string()),
        ("copy_of", pa.string()),
        ("copy_start_s", pa.float64()),
    ]
)

ITEMS = pa.schema(
    [
        pa.field("item", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("duration_s", pa.float64()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("codec", pa.string()),
        pa.field("rotation_deg", pa.int32()),
        pa.field("fps", pa.float64()),
        pa.field("frames", pa.int64()),
        pa.field("has_audio", pa.bool_()),
        pa.field("label", pa.string()),
        pa.field("split", pa.string()),
        pa.field("segments", pa.list_(_SEGMENT)),
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("note", pa.string(), nullable=False),
        pa.field("removed", pa.bool_(), nullable=False),
    ]
)

FRAMES = pa.schema(
    [
        pa.field("sample", pa.string(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("t_s", pa.float64(), nullable=False),
        pa.field("pts", pa.int64(), nullable=False),
        pa.field("sample_hash", pa.string(), nullable=False),
        pa.field("thumbnail", pa.binary(), nullable=False),
    ]
)


def vector(dim: int) -> pa.DataType:
    """A vector column's type: fixed-size float16, which DuckDB reads as FLOAT[]."""
    return pa.list_(pa.field("item", pa.float16(), nullable=False), dim)


def vector32(dim: int) -> pa.DataType:
    """As `vector`, in float32: for fitted artifacts, which are few."""
    return pa.list_(pa.field("item", pa.float32(), nullable=False), dim)


def frame_embeddings(cls_dim: int, patch_dim: int, grid_cells: int = 0) -> pa.Schema:
    """One row a frame; `patch_grid` is row-major, cells times `patch_dim`, and only there when asked for."""
    fields = [
        pa.field("sample", pa.string(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("t_s", pa.float64(), nullable=False),
        pa.field("sample_hash", pa.string(), nullable=False),
        pa.field("cls", vector(cls_dim), nullable=False),
        pa.field("patch_mean", vector(patch_dim), nullable=False),
    ]
    if grid_cells:
        # As bytes: FixedSizeBinary reads several times faster, and nobody queries a grid by SQL.
        fields.append(pa.field("patch_grid", pa.binary(2 * grid_cells * patch_dim), nullable=False))
    return pa.schema(fields)


def clips(dim: int) -> pa.Schema:
    """One row a window of a few seconds, and one a whole video (`is_whole`)."""
    return pa.schema(
        [
            pa.field("clip", pa.string(), nullable=False),
            pa.field("item", pa.string(), nullable=False),
            pa.field("start_s", pa.float64(), nullable=False),
            pa.field("end_s", pa.float64(), nullable=False),
            pa.field("is_whole", pa.bool_(), nullable=False),
            pa.field("frames", pa.int32(), nullable=False),
            pa.field("vector", vector(dim), nullable=False),
        ]
    )


SUMMARIES = pa.schema(
    [
        pa.field("item", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("times_s", pa.list_(pa.float64()), nullable=False),
        pa.field("scores", pa.list_(pa.float32()), nullable=False),
        pa.field(
            "shots",
            pa.list_(
                pa.struct(
                    [
                        ("start_s", pa.float64()),
                        ("end_s", pa.float64()),
                        ("score", pa.float32()),
                        ("is_chosen", pa.bool_()),
                    ]
                )
            ),
            nullable=False,
        ),
        pa.field(
            "segments",
            pa.list_(pa.struct([("start_s", pa.float64()), ("end_s", pa.float64())])),
            nullable=False,
        ),
    ]
)

SCENE_ITEMS = pa.schema(
    [
        pa.field("item", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("tile", pa.string()),
        pa.field("acquired", pa.timestamp("us", "UTC")),
        pa.field("platform", pa.string()),
        pa.field("crs", pa.string()),
        pa.field("transform", pa.list_(pa.float64())),  # a, b, c, d, e, f
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("gsd_m", pa.float64()),
        pa.field("bands", pa.int32()),
        pa.field("band_names", pa.list_(pa.string())),
        pa.field("dtype", pa.string()),
        pa.field("nodata", pa.float64()),
        pa.field("scale", pa.float64()),
        pa.field("offset", pa.float64()),
        pa.field("cloud_cover", pa.float64()),
        pa.field("lon", pa.float64()),
        pa.field("lat", pa.float64()),
        pa.field("label", pa.string()),
        pa.field("split", pa.string()),
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("note", pa.string(), nullable=False),
        pa.field("removed", pa.bool_(), nullable=False),
        pa.field("facts", pa.string(), nullable=False),  # what the ledger keeps of it
        pa.field("footprint", pa.binary()),
    ]
)

TILES = pa.schema(
    [
        pa.field("tile", pa.string(), nullable=False),
        pa.field("crs", pa.string(), nullable=False),
        pa.field("transform", pa.list_(pa.float64()), nullable=False),
        pa.field("low", pa.list_(pa.float64()), nullable=False),
        pa.field("high", pa.list_(pa.float64()), nullable=False),
        pa.field("fitted_on", pa.string(), nullable=False),
        pa.field("mark", pa.string(), nullable=False),
    ]
)

WINDOWS = pa.schema(
    [
        pa.field("sample", pa.string(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("column", pa.int32(), nullable=False),
        pa.field("sample_hash", pa.string(), nullable=False),
        pa.field("valid", pa.float32(), nullable=False),  # of its own ground, the share with data
        pa.field("lon", pa.float64(), nullable=False),
        pa.field("lat", pa.float64(), nullable=False),
        pa.field("thumbnail", pa.binary(), nullable=False),
        pa.field("geometry", pa.binary(), nullable=False),
    ]
)


def window_embeddings(cls_dim: int, patch_dim: int, deep_dim: int, cells: int, *, kinds: int) -> pa.Schema:
    """One row a window; grids are row-major float16 of its own cells (a margin is the neighbours').

    `perturbed` and `pixel_noise` are null but for some windows: how far each cell moves when the window is
    spoiled in that way; and how far its pixels do, a count for each of 256 levels, kind by kind.
    """
    moved = pa.struct([("kind", pa.int8()), ("distance", pa.binary(2 * cells))])
    return pa.schema(
        [
            pa.field("sample", pa.string(), nullable=False),
            pa.field("item", pa.string(), nullable=False),
            pa.field("row", pa.int32(), nullable=False),
            pa.field("column", pa.int32(), nullable=False),
            pa.field("sample_hash", pa.string(), nullable=False),
            pa.field("cls", vector(cls_dim), nullable=False),
            pa.field("patch_mean", vector(patch_dim), nullable=False),
            pa.field("patch_grid", pa.binary(2 * cells * patch_dim), nullable=False),
            pa.field("deep_grid", pa.binary(2 * cells * deep_dim), nullable=False),
            pa.field(
                "cell_valid", pa.binary(cells), nullable=False
            ),  # uint8: percent of its pixels with data
            pa.field("perturbed", pa.list_(moved)),
            pa.field("pixel_noise", pa.binary(2 * 256 * kinds)),  # uint16
        ]
    )


CHANGES = pa.schema(
    [
        pa.field("change", pa.string(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("before_item", pa.string(), nullable=False),
        pa.field("tile", pa.string(), nullable=False),
        pa.field("before", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("after", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("dates", pa.int32(), nullable=False),  # earlier ones it was held against
        pa.field("area_m2", pa.float64(), nullable=False),
        pa.field("mean_score", pa.float32(), nullable=False),
        pa.field("lon", pa.float64(), nullable=False),
        pa.field("lat", pa.float64(), nullable=False),
        pa.field("geometry", pa.binary(), nullable=False),
    ]
)


LAND_COVER = pa.schema(
    [
        pa.field("tile", pa.string(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("class", pa.string(), nullable=False),
        pa.field("area_ha", pa.float64(), nullable=False),
    ]
)


PAIR_ITEMS = pa.schema(
    [
        pa.field("item", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("line", pa.int64()),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("left", pa.string()),  # as the table says it: a path, or the text itself
        pa.field("right", pa.string()),
        pa.field("left_hash", pa.string()),
        pa.field("right_hash", pa.string()),
        pa.field("left_text", pa.string()),
        pa.field("right_text", pa.string()),
        pa.field("group", pa.string()),
        pa.field("split", pa.string()),
        pa.field("lon", pa.float64()),
        pa.field("lat", pa.float64()),
        # Right sides that are neither right nor wrong.
        pa.field("near", pa.list_(pa.string()), nullable=False),
        pa.field("label", pa.string()),
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("note", pa.string(), nullable=False),
        pa.field("removed", pa.bool_(), nullable=False),
    ]
)


def side_embeddings(dims: Mapping[str, int]) -> pa.Schema:
    """One row a distinct content of one side, with its vectors by name, and a thumbnail of a picture."""
    return pa.schema(
        [
            pa.field("sample", pa.string(), nullable=False),
            pa.field("item", pa.string(), nullable=False),
            pa.field("sample_hash", pa.string(), nullable=False),
            *(pa.field(name, vector(length), nullable=False) for name, length in dims.items()),
            pa.field("thumbnail", pa.binary()),
        ]
    )


ALIGNER = pa.schema(
    [
        pa.field("rung", pa.string(), nullable=False),
        pa.field("seed", pa.int32(), nullable=False),
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("loss", pa.float32()),
        pa.field("validation", pa.float32()),  # R@1 on what is held out of training
    ]
)


def shared_embeddings(dim: int) -> pa.Schema:
    """One row a distinct content of either side, in the space that an aligner maps both to."""
    return pa.schema(
        [
            pa.field("sample", pa.string(), nullable=False),  # left:ITEM or right:ITEM
            pa.field("side", pa.string(), nullable=False),
            pa.field("item", pa.string(), nullable=False),
            pa.field("sample_hash", pa.string(), nullable=False),
            pa.field("vector", vector(dim), nullable=False),
        ]
    )


def as_geoparquet(schema: pa.Schema, column: str, kinds: list[str]) -> pa.Schema:
    """The schema of a table whose WKB column is in longitude and latitude: QGIS and geopandas open it.

    GeoParquet 1.1.0; a missing `crs` is OGC:CRS84 by its definition.
    """
    told = {
        "version": "1.1.0",
        "primary_column": column,
        "columns": {column: {"encoding": "WKB", "geometry_types": kinds}},
    }
    return schema.with_metadata({"geo": json.dumps(told)})
