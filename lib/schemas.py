"""The columns of the lake's Parquet files, stage by stage. Read by DuckDB and pyarrow as they lie."""

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
