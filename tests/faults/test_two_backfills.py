"""Two backfills of the same shards at once: each shard is made once between them."""

import json

import pytest
from place import Place, make_videos

SHARDS = 3
STAGES = ("items", "frames", "frame_embeddings")


@pytest.mark.slow
def test_two_backfills_of_the_same_shards_at_once_make_each_shard_once_between_them(tmp_path):
    whole = Place(tmp_path / "whole")
    make_videos(whole.videos, SHARDS, seconds=6)
    whole.add(shard_items=1)
    whole.run("clips")
    place = Place(tmp_path / "twice")
    place.folder.mkdir()
    whole.videos.rename(place.videos)
    place.add(shard_items=1)
    place.run("sources")

    both = [place.start("backfill", "talks", "--shards", f"s00000..s0000{last}", "--json") for last in (2, 2)]
    ended = [process.communicate(timeout=280) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    told = [json.loads(out) for out, _ in ended]
    for stage in STAGES:
        assert sum(one["stages"][stage]["made"] for one in told) == len(whole.rows(stage)), stage
        # Paths are of other folders; ids, hashes and vectors are not.
        assert place.rows(stage) == whole.rows(stage), stage
    assert place.run()["frame_embeddings"]["made"] == 0
