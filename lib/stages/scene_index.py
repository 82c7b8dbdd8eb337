"""scene_index: the windows of all scenes, found by FAISS."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.columns import vectors_column, vectors_of
from lib.lake import Facts
from lib.stages.centring import centred, frame_features, read_centre
from lib.stages.making import Work
from lib.stages.published_index import Indexed, make_index

_WINDOW = ("sample", "item", "row", "column", "lon", "lat", "valid")
# Of a window with less data than this, most of what is found is the gap's outline.
LEAST_VALID = 0.5


def window_features(work: Work, shard: str) -> tuple[pa.Table, np.ndarray]:
    """A cell's windows (`_WINDOW`) that have data enough, and their centred unit features, (n, d) float32."""
    table = work.rows("window_embeddings", shard, ["sample", "cls", "patch_mean"])
    windows, at = _embedded(work, shard, table)
    table = table.take(at)
    features = frame_features(vectors_of(table, "cls"), vectors_of(table, "patch_mean"))
    return windows, centred(features, read_centre(work)) if windows.num_rows else features


def _embedded(work: Work, shard: str, embeddings: pa.Table) -> tuple[pa.Table, pa.Array]:
    """The windows that have data enough and a vector, and which row of the embeddings that is."""
    windows = work.rows("windows", shard, list(_WINDOW))
    windows = windows.filter(pc.greater_equal(windows.column("valid"), LEAST_VALID))
    # A scene that broke while it was embedded has windows without vectors.
    at = pc.index_in(windows.column("sample"), value_set=embeddings.column("sample").combine_chunks())
    return windows.filter(pc.is_valid(at)), pc.drop_null(at)


def _rows(work: Work, shard: str, with_vectors: bool) -> pa.Table:
    if not with_vectors:
        return _embedded(work, shard, work.rows("window_embeddings", shard, ["sample"]))[0]
    windows, features = window_features(work, shard)
    return windows.append_column("vector", vectors_column(features))


WINDOWS = Indexed(
    stage="scene_index",
    source="window_embeddings",
    key="sample",
    columns=_WINDOW,
    rows=_rows,
    about=("path", "tile", "acquired", "platform", "cloud_cover", "gsd_m", "label", "split"),
    noun="windows",
)


def make_scene_index(work: Work) -> Facts:
    """Index every cell's windows; the index before stays in place if the new one isn't good enough.

    Raises:
        IndexRejectedError: Recall below the catalog's `index.min_recall` at every setting.
    """
    return make_index(work, WINDOWS)
