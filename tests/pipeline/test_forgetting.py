"""An item that was forgotten is out of every answer at once, and out of every file of the lake after gc."""

import json
import shutil
import sqlite3

import pytest
from factories import make_video
from place import Place

pytestmark = pytest.mark.slow

SECRET = "qxsecret"
SHARDED = ("items", "frames", "frame_embeddings", "clips", "summaries")


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Place:
    """Two shards: three videos, one of them secret; and a secret file that is none, alone in its shard."""
    place = Place(tmp_path_factory.mktemp("ran"))
    place.videos.mkdir()
    for number, name in enumerate((f"a_{SECRET}", "b", "c")):
        make_video(place.videos / f"{name}.mp4", seconds=2.0, seed=number)
    (place.videos / f"d_{SECRET}_broken.mp4").write_text("no video at all")
    place.add(shard_items=3)
    place.run()
    return place


@pytest.fixture
def place(ran, tmp_path) -> Place:
    """A copy of it to forget in, with sources of its own."""
    shutil.copytree(ran.folder, tmp_path / "copy")
    copy = Place(tmp_path / "copy")
    copy.edit(str(ran.videos), str(copy.videos))
    return copy


def naming(place: Place, word: str = SECRET) -> list[str]:
    """Every file of the lake that has a word anywhere in its bytes, or in its name."""
    found = [path for path in place.lake.rglob("*") if path.is_file()]
    return sorted(
        str(path.relative_to(place.lake))
        for path in found
        if word.encode() in path.read_bytes() or word in path.name
    )


def others(place: Place, stage: str) -> list[dict]:
    return [row for row in place.rows(stage) if SECRET not in row["item"]]


def hits(place: Place, item: str) -> list[str]:
    return [hit["item"] for hit in place.json("search", "talks", "--item", item, "-k", "9")["hits"]]


def test_the_test_can_fail(ran):
    stages = {path.split("/")[1] for path in naming(ran) if path.startswith("talks/")}
    assert {*SHARDED, "clip_index", "search_report", "summary_report"} <= stages
    assert "ledger.sqlite" in " ".join(naming(ran))


def test_forgotten_items_are_out_of_search_at_once_and_out_of_every_file_after_gc(place):
    before = {stage: others(place, stage) for stage in SHARDED}
    assert f"a_{SECRET}" in hits(place, "b")

    done = place.call("forget", "talks", f"a_{SECRET}", f"d_{SECRET}_broken.mp4")
    assert done.returncode == 0, done.stderr
    assert set(hits(place, "b")) == {"c"}
    refused = place.call("search", "talks", "--item", f"a_{SECRET}")
    assert refused.returncode == 2 and "removed" in refused.stderr

    collected = place.json("gc", "talks")
    assert collected["purged"] == {"talks": 2}
    assert naming(place) == []
    assert {stage: place.rows(stage) for stage in SHARDED} == before
    assert set(hits(place, "b")) == {"c"}
    assert not list((place.lake / "talks").rglob("s00002.parquet"))

    # The files are still at their source: they stay out, under another name too.
    shutil.copy(place.videos / f"a_{SECRET}.mp4", place.videos / "e_renamed.mp4")
    stages = place.run()
    assert (stages["items"]["made"], stages["frames"]["made"]) == (0, 0)
    assert naming(place) == [] and naming(place, "e_renamed") == []


def test_an_item_deleted_at_its_source_is_out_of_every_file_once_the_delay_is_over(place):
    (place.videos / f"a_{SECRET}.mp4").unlink(), (place.videos / f"d_{SECRET}_broken.mp4").unlink()
    place.run()
    assert set(hits(place, "b")) == {"c"}
    assert place.json("gc", "talks")["purged"] == {}
    assert naming(place), "the delay isn't over"
    looked = place.json("gc", "talks", "--older-than", "0", "--dry-run")
    assert looked["purged"] == {"talks": 2} and naming(place)
    place.json("gc", "talks", "--older-than", "0")
    assert naming(place) == []
    assert set(hits(place, "b")) == {"c"}


def test_where_the_sources_are_not_there_the_items_are_struck_and_the_rest_still_answers(place):
    done = place.call("forget", "talks", f"a_{SECRET}", f"d_{SECRET}_broken")
    assert done.returncode == 0, done.stderr
    place.videos.rename(place.folder / "moved")
    collected = place.json("gc", "talks")
    assert "isn't there" in " ".join(collected["notes"])
    assert naming(place) == []
    assert set(hits(place, "b")) == {"c"}


def test_the_model_that_answers_beside_the_catalogs_is_cleaned_too(place):
    place.edit("size_px = 224", "size_px = 160")
    place.run()
    place.json("switch", "talks", "--back")
    place.call("forget", "talks", f"a_{SECRET}", f"d_{SECRET}_broken")
    place.json("gc", "talks")
    assert naming(place) == []
    assert set(hits(place, "b")) == {"c"}
    rows = place.json("switch", "talks")["contracts"]
    assert [row["fault"] for row in rows] == ["", ""]


def test_an_unknown_item_is_refused_with_those_near_it_and_nothing_is_forgotten(ran):
    done = ran.call("forget", "talks", "b", f"a_{SECRET}x")
    assert done.returncode == 2 and f"a_{SECRET}" in done.stderr
    with sqlite3.connect(ran.lake / "ledger.sqlite") as ledger:
        assert ledger.execute("SELECT count(*) FROM forgotten").fetchone() == (0,)
    assert json.loads(ran.call("search", "talks", "--item", "b", "--json").stdout)["hits"]
