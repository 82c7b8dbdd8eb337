"""A lake on S3: what one machine commits another finds, and the copy that a machine works on may be lost."""

import json
import os
import shutil
import subprocess
import sys

import pyarrow as pa
import pytest
from place import make_videos
from s3_place import S3Place
from servers import s3

from lib import working_copy
from lib.errors import LakeError
from lib.lake import Lake, Place, write_whole
from lib.schemas import ITEMS

URL = "s3://lake/one"
SCHEMA = pa.schema([pa.field("item", pa.string(), nullable=False)])
PLACE = Place("talks", "clips", "s00000", "contract")


@pytest.fixture(scope="module")
def server():
    with s3() as started:
        yield started


@pytest.fixture
def store(server, monkeypatch):
    """An empty bucket, and the environment that leads to it."""
    for key in server.objects():
        server.client().delete_object(Bucket="lake", Key=key)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return server


@pytest.fixture
def machine(store, tmp_path, monkeypatch):
    """Opens the lake as a process of a machine of that name does, anew each time."""

    def opened(name: str) -> Lake:
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / name))
        monkeypatch.setattr(working_copy, "_opened", {})
        return Lake(URL)

    return opened


def commit(lake: Lake, items: list[str], mark: str = "mark", place: Place = PLACE) -> None:
    with lake.lock(place), lake.writing(place, SCHEMA, mark) as writer:
        writer.write({"item": items})


def about(store) -> dict[str, dict]:
    listed = store.client().list_objects_v2(Bucket="lake")
    return {each["Key"]: each for each in listed.get("Contents", [])}


def items_of(lake: Lake) -> list[str]:
    return lake.read(PLACE).column("item").to_pylist()


def test_what_one_machine_commits_another_reads_and_the_next_version_too(machine):
    first, second = machine("first"), machine("second")
    commit(first, ["a"])
    assert items_of(machine("second")) == ["a"] and machine("second").done(PLACE, "mark") is not None
    commit(machine("first"), ["b", "c"], "other")
    assert items_of(machine("second")) == ["b", "c"]
    assert machine("second").standing("talks", "clips", "contract")["s00000"][0] == "other"
    assert second.root != first.root


def test_an_index_is_in_the_store_before_the_file_that_points_to_it(machine, store):
    lake = machine("first")
    with lake.lock(PLACE):
        index = lake.path(PLACE).parent / "index-1" / "vectors.npy"
        index.parent.mkdir(parents=True)
        index.write_bytes(b"vectors")
        with lake.writing(PLACE, SCHEMA, "mark") as writer:
            writer.write({"item": ["a"]})
            assert not store.objects()
        at = {key.rpartition("/")[2]: told["LastModified"] for key, told in about(store).items()}
    assert set(at) == {"vectors.npy", "s00000.parquet"} and at["vectors.npy"] <= at["s00000.parquet"]


def test_what_is_removed_under_a_stages_lock_is_removed_for_all(machine, store):
    commit(machine("first"), ["a"])
    machine("second")
    lake = machine("first")
    with lake.lock(PLACE):
        lake.path(PLACE).unlink()
    assert not store.objects()
    # Not the last object: an empty store is taken for a wrong address.
    write_whole(lake.root / "talks" / "removed.json", "[]")
    assert not machine("second").path(PLACE).exists()


def test_a_store_that_is_empty_of_a_sudden_empties_no_machine(machine, store, tmp_path):
    commit(machine("first"), ["a"])
    for key in store.objects():
        store.client().delete_object(Bucket="lake", Key=key)
    with pytest.raises(LakeError, match="is empty, and 1 files were known"):
        machine("first")
    assert list((tmp_path / "first").rglob("s00000.parquet"))


def test_what_a_killed_process_left_is_in_the_store_after_the_next_begins(machine, store, tmp_path):
    report = Place("talks", "search_report")
    code = (
        "import os, signal; from lib.lake import Lake, Place\n"
        f"lake = Lake({URL!r})\n"
        "with lake.lock(Place('talks', 'search_report')):\n"
        "    folder = lake.folder('talks', 'search_report'); folder.mkdir(parents=True)\n"
        "    (folder / 'report.json').write_text('{}')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    home = {"DAGSTER_HOME": str(tmp_path / "first")}
    subprocess.run([sys.executable, "-c", code], env=os.environ | home, timeout=60)
    assert not store.objects()
    machine("first")
    assert list(store.objects()) == [f"one/{report.archive}/{report.stage}/report.json"]


def test_a_shard_damaged_on_this_machine_is_neither_served_nor_kept_in_the_store(machine, store):
    lake = machine("first")
    commit(lake, ["a" * 100])
    data = lake.path(PLACE).read_bytes()
    assert b"a" * 100 in data
    lake.path(PLACE).write_bytes(data.replace(b"a" * 100, b"a" * 99 + b"b"))
    with pytest.raises(LakeError, match="damaged"):
        lake.read(PLACE)
    assert not store.objects() and lake.done(PLACE, "mark") is None


def test_items_that_another_machine_registered_are_in_this_ones_ledger(machine):
    place = Place("talks", "items", "s00000")
    row = {"item": "v0", "path": "v0.mp4", "content_hash": "c0", "bytes": 7, "verdict": "ok"}
    row |= {"note": "", "removed": False}
    first = machine("first")
    assert machine("second").ledger.items("talks") == []
    with first.lock(place), first.writing(place, ITEMS, "mark") as writer:
        writer.write(pa.Table.from_pylist([row], schema=ITEMS))
    (found,) = machine("second").ledger.items("talks")
    assert (found.item, found.path, found.shard, found.content_hash) == ("v0", "v0.mp4", "s00000", "c0")


def test_a_lake_in_a_folder_loads_nothing_of_s3(tmp_path):
    code = (
        "import sys; from lib.lake import Lake, write_whole; from pathlib import Path\n"
        f"lake = Lake({str(tmp_path)!r}); write_whole(lake.root / 'talks' / 'a.json', '{{}}')\n"
        "print([name for name in ('s3fs', 'fsspec', 'botocore', 'lib.working_copy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done


@pytest.mark.slow
def test_the_video_line_runs_on_s3_and_a_second_machine_has_nothing_to_do(tmp_path, store):
    place = S3Place(tmp_path, store=store)
    place.give_keys("test")
    make_videos(place.videos, 3)
    place.add(shard_items=1)
    assert place.run()["clips"]["made"] == 6
    before = store.objects()
    assert {key.split("/")[2] for key in before} >= {"items", "clip_index", "search_report", "summary_report"}
    plan = place.json("plan", "talks")[0]["stages"]
    assert all(told["done"] and not told["stale"] + told["missing"] for told in plan.values())
    assert all(not counted["made"] for counted in place.run().values())
    shutil.rmtree(place.folder / "dagster")
    hits = place.json("search", "talks", "--video", str(place.videos / "v1.mp4"), "-k", "1")["hits"]
    assert hits[0]["item"] == "v1"
    assert all(not counted["made"] for counted in place.run().values())
    assert store.objects() == before, json.dumps(sorted(before))
