"""An index brought up to date: what stays in its place, and what is told of it."""

import numpy as np
import pyarrow as pa

from lib.catalog import Archive
from lib.lake import Facts, Lake
from lib.ledger import LedgerItem
from lib.schemas import ITEMS
from lib.sections import EmbeddingConfig
from lib.stages.making import Work
from lib.stages.published_index import Indexed, make_index

ARCHIVE = Archive(
    name="talks", kind="video", root="/nowhere",
    embedding=EmbeddingConfig(backbone="random:vit_small_patch16_dinov3?seed=1"),
)  # fmt: skip


def make(lake: Lake, version: str, samples: dict[str, tuple[str, int]]) -> Facts:
    """Index clips, name -> what its picture hashes to and the axis of its vector, of a source's version."""
    lake.ledger.write_items("talks", [LedgerItem("a.mp4", "a", "s00000", 0, 1, 1, version, "")])
    work = Work(lake, ARCHIVE)
    row = {"item": "a", "path": "a.mp4", "content_hash": version, "bytes": 1, "verdict": "ok", "note": ""}
    rows = pa.Table.from_pylist([row | {"removed": False}], schema=ITEMS)
    for stage in ("items", "frames", "frame_embeddings", "clips"):
        place = work.place(stage, "s00000")
        with lake.writing(place, rows.schema, work.prints.of(stage, "s00000")) as writer:
            writer.write(rows)

    def told(work: Work, shard: str, with_vectors: bool) -> pa.Table:
        vectors = np.eye(8, dtype=np.float16)[[axis for _, axis in samples.values()]]
        return pa.table(
            {
                "clip": list(samples), "item": ["a"] * len(samples),
                "sample_hash": [each for each, _ in samples.values()],
                "vector": pa.FixedSizeListArray.from_arrays(vectors.ravel(), 8),
            }
        )  # fmt: skip

    columns = ("clip", "item", "sample_hash")
    indexed = Indexed("clip_index", "clips", "clip", columns, told, (), "clips")
    return make_index(work, indexed)


def test_a_row_whose_vector_stayed_stays_in_its_place_with_its_columns_as_they_are_now(tmp_path):
    lake = Lake(tmp_path)
    make(lake, "one", {"c0": ("h0", 0), "c1": ("h1", 1), "c2": ("h2", 2), "c3": ("h3", 3)})
    facts = make(lake, "two", {"c3": ("h3", 3), "c1": ("again", 1), "c0": ("h0", 0), "c2": ("other", 7)})
    assert (facts.made, facts.kept) == (1, 3)
    rows = lake.read(Work(lake, ARCHIVE).place("clip_index")).to_pylist()
    assert [(row["clip"], row["sample_hash"], row["is_gone"]) for row in rows] == [
        ("c0", "h0", False),
        ("c1", "again", False),
        ("c2", "h2", True),
        ("c3", "h3", False),
        ("c2", "other", False),
    ]
