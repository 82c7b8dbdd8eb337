"""Stored vectors are found by their names."""

import numpy as np
import pyarrow as pa
import pytest

from lib import schemas
from lib.catalog import Archive
from lib.columns import vectors_column
from lib.errors import UsageError
from lib.lake import Lake
from lib.ledger import LedgerItem
from lib.sections import EmbeddingConfig
from lib.stages.by_id import vectors_by_id, vectors_of_item
from lib.stages.making import Work

FRAMES = 30


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lake")
    embedding = EmbeddingConfig(backbone="efficientnet_lite0")
    work = Work(Lake(folder), Archive(name="a", kind="video", root=str(folder), embedding=embedding))
    shards = {"s00000": ["zebra", "ant"], "s00001": ["bee"]}
    items = [(name, shard) for shard, names in shards.items() for name in names]
    work.lake.ledger.write_items(
        "a",
        [
            LedgerItem(f"{name}.mp4", name, shard, at, 1, 1, name, "")
            for at, (name, shard) in enumerate(items)
        ],
    )
    for at, (shard, names) in enumerate(shards.items()):
        held = [(name, t) for name in names for t in range(FRAMES)]
        vectors = np.array([[at, ord(name[0]), t] for name, t in held], np.float16)
        rows = {
            "sample": [f"{name}#t={float(t)}" for name, t in held],
            "item": [name for name, _ in held],
            "t_s": [float(t) for _, t in held],
            "sample_hash": [f"{name}@{t}" for name, t in held],
            "cls": vectors_column(vectors),
            "patch_mean": vectors_column(vectors),
        }
        schema = schemas.frame_embeddings(3, 3)
        place = work.place("frame_embeddings", shard)
        with work.lake.writing(place, schema, "mark", row_group=20) as writer:
            writer.write(pa.table(rows, schema=schema))
    return work


def test_vectors_come_in_the_order_of_their_ids_from_any_shard(work):
    asked = ["bee#t=29.0", "zebra#t=0.0", "ant#t=21.0", "zebra#t=0.0"]
    found = vectors_by_id(work, asked)
    assert found.tolist() == [[1, ord("b"), 29], [0, ord("z"), 0], [0, ord("a"), 21], [0, ord("z"), 0]]


def test_an_items_vectors_are_all_of_its_own_in_time_order(work):
    samples, vectors = vectors_of_item(work, "ant")
    assert samples == [f"ant#t={float(t)}" for t in range(FRAMES)]
    assert vectors.tolist() == [[0, ord("a"), t] for t in range(FRAMES)]


@pytest.mark.parametrize("asked", ["wasp#t=0.0", "ant#t=0.5", "ant"])
def test_a_name_under_which_nothing_is_stored_is_refused(work, asked):
    with pytest.raises(UsageError, match=asked):
        vectors_by_id(work, [asked])
