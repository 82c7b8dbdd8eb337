"""Which contract answers: the pointer, the switch, the way back, and what is refused."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lib.catalog import Archive
from lib.errors import LakeError, UsageError
from lib.lake import Lake
from lib.ledger import LedgerItem
from lib.sections import EmbeddingConfig, FramesConfig
from lib.serving import POINTER, note_of, publish, read_pointer, served
from lib.stages.making import Work
from lib.switching import listed, switch

ITEMS = ("a", "b", "c")


def archive(seed: int = 1, *, per_second: float = 1.0) -> Archive:
    return Archive(
        name="talks", kind="video", root="/nowhere", frames=FramesConfig(per_second=per_second),
        embedding=EmbeddingConfig(backbone=f"random:vit_small_patch16_dinov3?seed={seed}"),
    )  # fmt: skip


@pytest.fixture
def lake(tmp_path) -> Lake:
    made = Lake(tmp_path)
    made.ledger.write_items(
        "talks",
        [LedgerItem(f"{i}.mp4", i, "s00000", at, 1, 1, f"hash{i}", "") for at, i in enumerate(ITEMS)],
    )
    return made


def write_index(lake: Lake, entry: Archive, *, recall: float = 1.0) -> Work:
    """An index as the line makes it, of one made vector an item."""
    from lib.search.index import VectorIndex

    work = Work(lake, entry)
    vectors = np.eye(len(ITEMS), 8, dtype=np.float16)
    place = work.place("clip_index")
    folder = lake.path(place).parent
    folder.mkdir(parents=True)
    VectorIndex.build(vectors, contract=work.contracts.id).save(folder / "index-1")
    rows = pa.table({"item": list(ITEMS), "is_gone": [False] * len(ITEMS)})
    with lake.writing(place, rows.schema, work.prints.of("clip_index")) as writer:
        writer.write(rows)
        writer.facts.notes = {"index": "index-1", "recall": recall}
    return work


def test_without_a_pointer_what_the_catalog_asks_for_answers(lake):
    write_index(lake, archive(1))
    assert served(lake, archive(1)).contracts.id == Work(lake, archive(1)).contracts.id


def test_the_first_contract_answers_until_the_second_has_an_index_and_then_the_second_does(lake):
    first = write_index(lake, archive(1))
    assert publish(first)
    second = archive(2)
    assert not publish(Work(lake, second))
    assert served(lake, second).contracts.id == first.contracts.id
    assert served(lake, second).archive.embedding == archive(1).embedding
    assert publish(write_index(lake, second))
    assert served(lake, second).contracts.id == Work(lake, second).contracts.id != first.contracts.id


def test_an_index_that_finds_too_little_is_not_switched_to(lake):
    first = write_index(lake, archive(1))
    publish(first)
    assert not publish(write_index(lake, archive(2), recall=0.5))
    assert read_pointer(lake, "talks").now == first.contracts.id


def test_an_index_of_some_shards_only_is_not_switched_to(lake):
    first, second = write_index(lake, archive(1)), write_index(lake, archive(2))
    publish(first)
    lake.ledger.write_items("talks", [LedgerItem("d.mp4", "d", "s00001", 9, 1, 1, "hashd", "")])
    assert not publish(Work(lake, archive(2)))
    assert read_pointer(lake, "talks").now == first.contracts.id != second.contracts.id


def test_whoever_searches_is_told_when_another_contract_than_the_catalogs_answers(lake):
    publish(write_index(lake, archive(1)))
    note = note_of(archive(2), served(lake, archive(2)))
    assert Work(lake, archive(1)).contracts.id in note and Work(lake, archive(2)).contracts.id in note
    assert not note_of(archive(1), served(lake, archive(1)))


def test_queries_are_sampled_as_what_answers_was_not_as_the_catalog_says_since(lake):
    publish(write_index(lake, archive(1, per_second=1.0)))
    assert served(lake, archive(1, per_second=4.0)).archive.frames.per_second == 1.0


def test_the_way_back_is_one_step_and_no_later_run_undoes_it(lake):
    first, second = write_index(lake, archive(1)), write_index(lake, archive(2))
    publish(first), publish(second)
    before, now = switch(lake, archive(2), back=True)
    assert (before, now) == (second.contracts.id, first.contracts.id)
    assert not publish(second)
    assert read_pointer(lake, "talks").now == first.contracts.id


def test_a_contract_that_was_gone_back_from_is_published_again_once_the_catalog_has_asked_for_another(lake):
    first, second = write_index(lake, archive(1)), write_index(lake, archive(2))
    publish(first), publish(second)
    switch(lake, archive(2), back=True)
    publish(first)
    assert publish(second)
    assert read_pointer(lake, "talks").now == second.contracts.id


def test_a_switch_to_an_index_that_lost_a_byte_is_refused_and_what_answers_stays(lake):
    first, second = write_index(lake, archive(1)), write_index(lake, archive(2))
    publish(first), publish(second)
    path = lake.path(first.place("clip_index")).parent / "index-1" / "vectors.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(LakeError, match="damaged"):
        switch(lake, archive(2), back=True)
    assert read_pointer(lake, "talks").now == second.contracts.id


def test_a_switch_to_what_there_is_not_names_what_there_is(lake):
    first = write_index(lake, archive(1))
    publish(first)
    with pytest.raises(UsageError, match=first.contracts.id):
        switch(lake, archive(1), to="no-such-contract")
    with pytest.raises(UsageError, match="nothing answered"):
        switch(lake, archive(1), back=True)


def test_all_contracts_are_listed_with_what_is_wrong_with_each(lake):
    publish(write_index(lake, archive(1)))
    answers, asked = listed(lake, archive(2))
    assert (answers["is_serving"], answers["is_wanted"], answers["fault"]) == (True, False, "")
    assert (asked["is_serving"], asked["is_wanted"]) == (False, True)
    assert "no index" in asked["fault"]


def test_the_pointer_is_replaced_whole_never_written_over(lake):
    publish(write_index(lake, archive(1)))
    path = lake.root / "talks" / POINTER
    held = Path(path.parent / "held")
    os.link(path, held)
    told = held.read_bytes()
    publish(write_index(lake, archive(2)))
    assert held.read_bytes() == told != path.read_bytes()


def test_a_damaged_pointer_is_said_to_be_and_the_next_publication_mends_it(lake):
    first = write_index(lake, archive(1))
    publish(first)
    (lake.root / "talks" / POINTER).write_text('{"now": ')
    with pytest.raises(LakeError, match="dinolake run talks"):
        served(lake, archive(1))
    assert publish(first)
    assert served(lake, archive(1)).contracts.id == first.contracts.id
