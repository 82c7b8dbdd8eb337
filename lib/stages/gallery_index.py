"""gallery_index: both sides of all pairs in their shared space, found by FAISS."""

from typing import Any

import pyarrow as pa

from lib.lake import Facts
from lib.stages.making import Work
from lib.stages.published_index import Indexed, make_index

_COLUMNS = ("sample", "side", "item", "sample_hash")


def _rows(work: Work, shard: str, with_vectors: bool) -> pa.Table:
    return work.rows("shared_embeddings", shard, [*_COLUMNS, *(["vector"] if with_vectors else [])])


def _aligner(work: Work) -> dict[str, Any]:
    fitted = work.prints.fitted("aligner")
    return {"aligner": fitted[1]["aligner"]} if fitted else {}


SIDES_INDEXED = Indexed(
    stage="gallery_index",
    source="shared_embeddings",
    key="sample",
    columns=_COLUMNS,
    rows=_rows,
    about=("path", "left", "right", "group", "split", "lon", "lat"),
    noun="sides",
    notes=_aligner,
)


def make_gallery_index(work: Work) -> Facts:
    """Index every shard's sides; the index before stays in place if the new one isn't good enough.

    Raises:
        IndexRejectedError: Recall below the catalog's `index.min_recall` at every setting.
    """
    return make_index(work, SIDES_INDEXED)
