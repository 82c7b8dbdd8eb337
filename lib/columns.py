"""Vectors and grids as Arrow columns and back, without a Python loop."""

import numpy as np
import pyarrow as pa


def vectors_column(vectors: np.ndarray, dtype: type = np.float16) -> pa.Array:
    """A (rows, dim) array as a FixedSizeList column, without a Python loop."""
    rows, dim = vectors.shape
    values = pa.array(np.ascontiguousarray(vectors, dtype).reshape(-1))
    kind = pa.list_(pa.field("item", values.type, nullable=False), dim)
    return pa.FixedSizeListArray.from_arrays(values, type=kind) if rows else pa.array([], kind)


def vectors_of(table: pa.Table, column: str) -> np.ndarray:
    """A FixedSizeList column as a (rows, dim) float16 array; of one chunk, a view for reading only."""
    chunks = table.column(column).chunks
    dim = table.schema.field(column).type.list_size
    parts = [chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim) for chunk in chunks]
    return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty((0, dim), np.float16)


def bytes_column(values: np.ndarray) -> pa.Array:
    """(rows, …) values as fixed-size bytes a row, without a Python loop."""
    values = np.ascontiguousarray(values if values.dtype == np.uint8 else values.astype(np.float16))
    width = pa.binary(values[0].nbytes)
    return pa.FixedSizeBinaryArray.from_buffers(width, len(values), [None, pa.py_buffer(values.tobytes())])


def grids_of(column: pa.ChunkedArray, *shape: int, dtype: type = np.float16) -> np.ndarray:
    """A fixed-size bytes column as (rows, *shape), without a copy a row; of one chunk, without any."""
    parts: list[np.ndarray] = []
    for chunk in column.chunks:
        width = chunk.type.byte_width
        raw = np.frombuffer(chunk.buffers()[1], np.uint8)
        raw = raw[chunk.offset * width : (chunk.offset + len(chunk)) * width]
        parts.append(raw.view(dtype).reshape(len(chunk), *shape))
    return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty((0, *shape), dtype)
