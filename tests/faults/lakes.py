"""What tests of faults share: a lake run stage by stage with no network's cost, and its rows compared."""

from pathlib import Path

from lib.compute import InlineCompute
from lib.lake import Lake
from lib.stages.centring import make_centring
from lib.stages.clip_index import make_clip_index
from lib.stages.clips import make_clips
from lib.stages.frames import make_frames
from lib.stages.items import make_items
from lib.stages.making import Work
from lib.stages.sources import register

STAGES = ("items", "frames", "frame_embeddings", "clips")


def use_stand_in(monkeypatch) -> None:
    """A fixed map of mean colours for the network, as in the soak: same picture, same vectors."""
    # The bench isn't installed: it runs from the checkout.
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    from bench.soak_children import stand_in

    monkeypatch.setattr("lib.embedding.embed.Embedder", stand_in())


def make_videos_line(lake, archive) -> None:
    """The line from sources to index, stage by stage."""
    register(archive, lake)
    work = Work(lake, archive)
    for shard in work.prints.shards:
        make_items(work, shard)
        make_frames(work, shard, InlineCompute())
    make_centring(Work(lake, archive))
    work = Work(lake, archive)
    for shard in work.prints.shards:
        make_clips(work, shard)
    make_clip_index(Work(lake, archive))


def rows_of(lake, archive) -> dict[str, list[dict]]:
    """Stage -> all its rows, shard after shard, as the lake gives them to readers."""
    work = Work(lake, archive)
    return {
        stage: [row for shard in work.prints.shards for row in work.rows(stage, shard).to_pylist()]
        for stage in STAGES
    }


def undisturbed(folder, archive) -> dict[str, list[dict]]:
    """The rows of a lake of the same files in which nothing went wrong."""
    lake = Lake(folder)
    make_videos_line(lake, archive)
    return rows_of(lake, archive)
