"""What is forgotten, collected or switched on one machine is so in the store, and on every other machine."""

import shutil
from pathlib import Path

import pytest
from factories import make_video
from s3_place import S3Place
from servers import s3

pytestmark = pytest.mark.slow

SECRET = "qxsecret"


@pytest.fixture
def machines(tmp_path):
    """Two machines on one lake: the first ran three videos, one of them secret; the second has searched."""
    with s3() as store:
        first, second = (S3Place(tmp_path / name, store=store) for name in ("first", "second"))
        for machine in (first, second):
            machine.folder.mkdir()
            machine.give_keys("test")
        first.videos.mkdir()
        for number, name in enumerate((f"a_{SECRET}", "b", "c")):
            make_video(first.videos / f"{name}.mp4", seconds=2.0, seed=number)
        first.add(shard_items=2)
        first.run()
        shutil.copy(first.folder / "catalog.toml", second.folder)
        yield first, second


def naming(place: S3Place) -> list[str]:
    """Keys of every object of the bucket that has the secret anywhere in its bytes, or in its key."""
    client, found = place.store.client(), []
    for key in place.store.objects():
        data = client.get_object(Bucket="lake", Key=key)["Body"].read()
        if SECRET.encode() in data or SECRET in key:
            found.append(key)
    return found


def naming_here(place: S3Place) -> list[Path]:
    """The same of the files of a machine's copy."""
    files = [path for path in (place.folder / "dagster" / "lakes").rglob("*") if path.is_file()]
    assert files
    return [path for path in files if SECRET.encode() in path.read_bytes() or SECRET in path.name]


def hits(place: S3Place, item: str = "b") -> set[str]:
    return {hit["item"] for hit in place.json("search", "talks", "--item", item, "-k", "9")["hits"]}


def answering(place: S3Place) -> str:
    (one,) = [row for row in place.json("switch", "talks")["contracts"] if row["is_serving"]]
    return one["contract"]


def test_what_one_machine_forgets_is_out_of_the_store_and_of_what_others_have_and_answer(machines):
    first, second = machines
    assert hits(second) == {f"a_{SECRET}", "c"}
    stages = {key.split("/")[2] for key in naming(first)}
    assert {"items", "frames", "frame_embeddings", "clips", "clip_index", "search_report"} <= stages
    assert naming_here(second)

    done = first.call("forget", "talks", f"a_{SECRET}")
    assert done.returncode == 0, done.stderr
    assert hits(second) == {"c"}

    assert first.json("gc", "talks")["purged"] == {"talks": 1}
    assert naming(first) == []
    assert hits(second) == {"c"}
    assert naming_here(second) == [] and naming_here(first) == []
    # What was removed doesn't come back with the next command, of either machine, nor is anything due there.
    before = first.store.objects()
    (shutil.copytree(first.videos, second.videos), second.edit(str(first.videos), str(second.videos)))
    assert all(not counted["made"] for counted in second.run().values())
    assert naming(first) == [] and naming_here(second) == []
    assert {key for key in before if "report" not in key} == {
        key for key in first.store.objects() if "report" not in key
    }


def test_a_switch_is_seen_by_the_other_machine_and_a_collected_contract_comes_back_on_none(machines):
    first, second = machines
    old = answering(second)
    first.edit("size_px = 224", "size_px = 160")
    first.run()
    shutil.copy(first.folder / "catalog.toml", second.folder)
    new = answering(second)
    assert new != old
    first.json("switch", "talks", "--back")
    assert answering(second) == old and hits(second)
    second.json("switch", "talks", "--to", new)
    assert answering(first) == new

    assert [key for key in first.store.objects() if old in key]
    first.json("gc", "talks", "--older-than", "0")
    assert not [key for key in first.store.objects() if old in key]
    for machine in (second, first):
        assert answering(machine) == new and hits(machine)
        copies = machine.folder / "dagster" / "lakes"
        assert not [path for path in copies.glob("*/talks/**/*") if old in str(path)]
    assert not [key for key in first.store.objects() if old in key]


def test_an_archive_that_left_the_catalog_is_out_of_the_store_with_all_that_lay_beside_its_stages(machines):
    first, second = machines
    assert hits(second)
    # Another stays: an empty store is taken for a wrong address.
    (first.folder / "catalog.toml").unlink()
    first.call("add", "other", "video", str(first.videos), "--backbone", "efficientnet_lite0")
    first.store.client().put_object(Bucket="lake", Key="one/other/removed.json", Body=b"{}")
    first.json("gc", "--dropped-archives", "--older-than", "0")
    assert not [key for key in first.store.objects() if "/talks/" in key]
    assert second.call("search", "talks", "--item", "b").returncode == 1
    assert not list((second.folder / "dagster" / "lakes").glob("*/talks/**/*.parquet"))
    first.json("gc", "--older-than", "0")
    assert not [key for key in first.store.objects() if "/talks/" in key]
