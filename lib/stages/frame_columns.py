"""Columns of a shard's frames and of their vectors: new ones, and those that stood already."""

from typing import Any

import numpy as np
import pyarrow as pa

from lib import schemas
from lib.columns import vectors_column
from lib.stages.frame_worker import FrameChunk
from lib.stages.making import Work

Vectors = dict[str, np.ndarray]  # column -> (rows, dim) float16
Kept = dict[str, Vectors]  # sample hash -> column -> (dim,) float16


def ids_of(item: str, times_s: list[float]) -> dict[str, Any]:
    """The columns that name an item's frames."""
    return {
        "sample": [f"{item}#t={round(time_s, 3)}" for time_s in times_s],
        "item": [item] * len(times_s),
        "t_s": times_s,
    }


def merged(chunk: FrameChunk, hashes: list[str], known: Kept) -> Vectors:
    """A chunk's new vectors, with those that were known already in their places."""
    if all(chunk.is_new):
        return chunk.vectors
    at, rows = 0, []
    for is_new, sample_hash in zip(chunk.is_new, hashes, strict=True):
        if is_new:
            rows.append({name: new[at].reshape(-1) for name, new in chunk.vectors.items()})
            at += 1
        else:
            rows.append(known[sample_hash])
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def columns_of(vectors: Vectors) -> dict[str, pa.Array]:
    """Vectors as they rest in the lake."""
    columns = {name: vectors_column(rows) for name, rows in vectors.items() if name != "patch_grid"}
    if "patch_grid" in vectors:
        grid = np.ascontiguousarray(vectors["patch_grid"], np.float16).reshape(len(vectors["patch_grid"]), -1)
        width = pa.binary(2 * grid.shape[1])
        columns["patch_grid"] = pa.FixedSizeBinaryArray.from_buffers(
            width, len(grid), [None, pa.py_buffer(grid.tobytes())]
        )
    return columns


def embedding_schema(work: Work) -> pa.Schema:
    """The columns of `frame_embeddings` under the archive's contract."""
    contract = work.contract
    cells = contract.grid_cells if "patch_grid" in contract.pooling else 0
    return schemas.frame_embeddings(contract.cls_dim, contract.patch_dim, cells)
