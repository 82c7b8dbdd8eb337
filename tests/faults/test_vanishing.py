"""Sources that change under a run: the file is a row with its reason, the others are made."""

from factories import make_video

from lib.catalog import Archive
from lib.compute import InlineCompute
from lib.lake import Lake
from lib.sections import EmbeddingConfig
from lib.stages.frames import make_frames
from lib.stages.items import make_items
from lib.stages.making import Work
from lib.stages.sources import register


def setup(tmp_path) -> tuple[Lake, Archive]:
    root = tmp_path / "videos"
    root.mkdir()
    for number in range(3):
        make_video(root / f"v{number}.mp4", seconds=2, seed=number)
    embedding = EmbeddingConfig(backbone="efficientnet_lite0")
    return Lake(tmp_path / "lake"), Archive(name="talks", kind="video", root=str(root), embedding=embedding)


def made(lake, archive):
    register(archive, lake)
    work = Work(lake, archive)
    make_items(work, "s00000")
    return make_frames(work, "s00000", InlineCompute())


def test_a_file_that_vanishes_between_registering_and_decoding_stops_no_other(tmp_path):
    lake, archive = setup(tmp_path)
    register(archive, lake)
    make_items(Work(lake, archive), "s00000")
    (tmp_path / "videos" / "v1.mp4").unlink()
    facts = make_frames(Work(lake, archive), "s00000", InlineCompute())
    for stage in ("frames", "frame_embeddings"):
        assert (facts[stage].made, facts[stage].rejected) == (4, 1)
        assert list(facts[stage].reasons) == ["v1.mp4"]
    assert (
        "v1.mp4" not in made(lake, archive)["frames"].reasons
    )  # registered as removed now, and no longer missed


def test_a_file_that_comes_back_with_other_bytes_is_made_anew(tmp_path):
    lake, archive = setup(tmp_path)
    made(lake, archive)
    (tmp_path / "videos" / "v1.mp4").unlink()
    assert made(lake, archive)["frames"].kept == 4
    make_video(tmp_path / "videos" / "v1.mp4", seconds=3, seed=42)
    facts = made(lake, archive)
    assert (facts["frames"].made, facts["frames"].kept) == (3, 4)


def test_a_stage_killed_between_its_two_files_is_finished_without_embedding_again(tmp_path):
    lake, archive = setup(tmp_path)
    made(lake, archive)
    work = Work(lake, archive)
    # As after a kill between the two moves: vectors in place, frames not yet.
    lake.path(work.place("frames", "s00000")).unlink()
    facts = made(lake, archive)
    assert (facts["frames"].made, facts["frame_embeddings"].kept) == (6, 6)
