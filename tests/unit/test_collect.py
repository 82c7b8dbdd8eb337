"""What gc takes and what it leaves: contracts, superseded folders, files of dropped shards, leftovers."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lib.catalog import Archive
from lib.collect import DAY_S, find_litter, remove
from lib.lake import Lake
from lib.ledger import LedgerItem
from lib.sections import EmbeddingConfig
from lib.serving import publish, read_pointer, served
from lib.stages.making import Work

WEEK_S = 7 * DAY_S
ITEMS = ("a", "b", "c")


def archive(seed: int = 1, name: str = "talks") -> Archive:
    backbone = f"random:vit_small_patch16_dinov3?seed={seed}"
    return Archive(name=name, kind="video", root="/nowhere", embedding=EmbeddingConfig(backbone=backbone))


@pytest.fixture
def lake(tmp_path) -> Lake:
    made = Lake(tmp_path)
    made.ledger.write_items(
        "talks",
        [LedgerItem(f"{i}.mp4", i, "s00000", at, 1, 1, f"hash{i}", "") for at, i in enumerate(ITEMS)],
    )
    return made


def write_index(lake: Lake, entry: Archive, folder: str = "index-1") -> Work:
    """An index as the line makes it, and embeddings of one shard under its contract."""
    from lib.search.index import VectorIndex

    work = Work(lake, entry)
    place = work.place("clip_index")
    lake.path(place).parent.mkdir(parents=True, exist_ok=True)
    index = VectorIndex.build(np.eye(3, 8, dtype=np.float16), contract=work.contracts.id)
    index.save(lake.path(place).parent / folder)
    rows = pa.table({"item": list(ITEMS), "is_gone": [False] * 3})
    with lake.writing(place, rows.schema, work.prints.of("clip_index")) as writer:
        writer.write(rows)
        writer.facts.notes = {"index": folder, "recall": 1.0}
    write_shard(work, "frame_embeddings")
    return work


def write_shard(work: Work, stage: str, shard: str = "s00000") -> Path:
    place = work.place(stage, shard)
    rows = pa.table({"item": list(ITEMS)})
    with work.lake.writing(place, rows.schema, work.prints.of("items", "s00000")) as writer:
        writer.write(rows)
    return work.lake.path(place)


def age(root: Path, days: float) -> None:
    """As if all of it had been written that long ago."""
    then = time.time() - days * DAY_S
    for path in [root, *root.rglob("*")]:
        os.utime(path, (then, then))


def litter(lake: Lake, entry: Archive, *, older_than_s: float = WEEK_S) -> dict[str, str]:
    found = find_litter(lake, {entry.name: entry}, [entry.name], older_than_s=older_than_s)
    return {str(one.path.relative_to(lake.root)): one.why for one in found.litter}


def collect(lake: Lake, entry: Archive, *, older_than_s: float = 0.0) -> set[str]:
    found = find_litter(lake, {entry.name: entry}, [entry.name], older_than_s=older_than_s)
    remove(lake, found.litter)
    return {str(one.path.relative_to(lake.root)) for one in found.litter}


def test_a_lake_in_use_has_no_litter_whatever_the_delay(lake):
    publish(write_index(lake, archive()))
    write_shard(Work(lake, archive()), "items")
    age(lake.root, 100)
    assert collect(lake, archive()) <= {f"_locks/{p.name}" for p in (lake.root / "_locks").iterdir()}
    assert served(lake, archive()).rows("clip_index").num_rows == 3


def test_what_answers_stays_while_the_catalog_asks_for_what_is_not_made_yet(lake):
    first = write_index(lake, archive(1))
    publish(first)
    age(lake.root, 100)
    collect(lake, archive(2))
    assert served(lake, archive(2)).contracts.id == first.contracts.id
    assert lake.path(first.place("frame_embeddings", "s00000")).is_file()


def test_the_contract_before_stays_for_the_delay_and_then_goes_with_all_its_stages(lake):
    first, second = write_index(lake, archive(1)), write_index(lake, archive(2))
    publish(first), publish(second)
    age(lake.root, 100)
    assert not [path for path in litter(lake, archive(2)) if first.contracts.id in path]
    gone = collect(lake, archive(2))
    old = first.contracts.id
    assert {f"talks/clip_index/{old}", f"talks/frame_embeddings/{old}"} <= gone
    assert not list(lake.root.glob(f"talks/*/{old}"))
    pointer = read_pointer(lake, "talks")
    assert (pointer.now, pointer.before, pointer.of(old)) == (second.contracts.id, "", None)
    assert not lake.ledger.stage("talks", "clip_index", old)


def test_a_contract_written_to_a_moment_ago_is_left_alone(lake):
    stray = write_index(lake, archive(3))
    publish(write_index(lake, archive(1)))
    assert not litter(lake, archive(1))
    age(lake.root, 8)
    assert f"talks/clip_index/{stray.contracts.id}" in litter(lake, archive(1))


def test_an_index_superseded_within_the_delay_stays_for_whoever_holds_it(lake):
    work = write_index(lake, archive(), "index-1")
    age(lake.root, 100)
    write_index(lake, archive(), "index-2")
    folder = f"talks/clip_index/{work.contracts.id}"
    assert f"{folder}/index-1" not in litter(lake, archive())
    age(lake.root, 8)
    assert f"{folder}/index-1" in litter(lake, archive())
    collect(lake, archive(), older_than_s=WEEK_S)
    assert [path.name for path in (lake.root / folder).glob("index-*")] == ["index-2"]


def test_files_of_a_shard_without_items_go_and_those_of_others_stay(lake):
    work = Work(lake, archive())
    kept, orphan = write_shard(work, "items"), write_shard(work, "items", "s00009")
    age(lake.root, 8)
    collect(lake, archive(), older_than_s=WEEK_S)
    assert kept.is_file() and not orphan.exists()


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(lake):
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    )
    folder = lake.root / "_tmp"
    folder.mkdir()
    left = folder / f"{socket.gethostname()}-{dead.stdout.strip()}-1.parquet"
    ours = folder / f"{socket.gethostname()}-{os.getpid()}-1.parquet"
    left.write_bytes(b"x"), ours.write_bytes(b"x")
    assert collect(lake, archive()) >= {f"_tmp/{left.name}"}
    assert ours.is_file() and not left.exists()


def test_a_lock_that_is_held_is_left_alone(lake):
    work = Work(lake, archive())
    with lake.lock(work.place("frames", "s00009")):
        collect(lake, archive())
        assert (lake.root / "_locks" / "talks.frames.s00009.lock").exists()
    collect(lake, archive())
    assert not (lake.root / "_locks" / "talks.frames.s00009.lock").exists()


def test_an_archive_that_left_the_catalog_goes_only_when_that_is_asked_for(lake):
    write_shard(Work(lake, archive()), "items")
    found = find_litter(lake, {}, [], older_than_s=0.0)
    assert (lake.root / "talks").is_dir() and not found.litter and "talks" in found.notes[0]
    remove(lake, find_litter(lake, {}, [], older_than_s=0.0, dropped_archives=True).litter)
    assert not (lake.root / "talks").exists()
    assert not lake.ledger.items("talks")


def test_looking_touches_nothing(lake):
    publish(write_index(lake, archive(1)))
    write_shard(Work(lake, archive()), "items", "s00009")
    age(lake.root, 100)
    before = {path: path.stat().st_mtime_ns for path in lake.root.rglob("*") if "ledger" not in path.name}
    assert litter(lake, archive(2))
    after = {path: path.stat().st_mtime_ns for path in lake.root.rglob("*") if "ledger" not in path.name}
    assert after == before
