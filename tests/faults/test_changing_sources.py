"""Source files that change while they are read: no vector is kept under the hash of other contents."""

import os
import shutil

import pytest
from factories import make_video
from lakes import use_stand_in
from pairs import pair_archive, write_table, write_views
from scenes import scene_archive, write_scene

from lib.catalog import Archive
from lib.compute import InlineCompute
from lib.errors import CatalogError, StageFailedError, UnreadableMediaError
from lib.lake import Lake
from lib.media.sampling import Sampling
from lib.plan import plan_archive
from lib.sections import EmbeddingConfig
from lib.stages.changing import CHANGED, Expected
from lib.stages.frame_worker import FrameTask, FrameWorker
from lib.stages.frames import make_frames
from lib.stages.items import make_items
from lib.stages.making import Work
from lib.stages.pair_items import make_pair_items
from lib.stages.scan import content_hash
from lib.stages.scene_items import make_scene_items
from lib.stages.side_embeddings import make_side_embeddings
from lib.stages.sources import register
from lib.stages.tiles import make_tiles
from lib.stages.window_embeddings import make_window_embeddings
from lib.stages.windows import make_windows

SHARD = "s00000"
EMBEDDING = EmbeddingConfig(backbone="efficientnet_lite0", size_px=64)


@pytest.fixture
def pool(tmp_path):
    """Three videos of different contents, not in the archive's folder."""
    folder = tmp_path / "pool"
    folder.mkdir()
    for number in range(3):
        make_video(folder / f"{number}.mp4", seconds=1, size=(64, 48), fps=8, seed=number)
    return folder


@pytest.fixture
def archive(tmp_path, pool, monkeypatch):
    use_stand_in(monkeypatch)
    root = tmp_path / "videos"
    root.mkdir()
    for number in range(2):
        shutil.copy(pool / f"{number}.mp4", root / f"v{number}.mp4")
    return Archive(name="talks", kind="video", root=str(root), embedding=EMBEDDING)


def looked_into(lake, archive):
    register(archive, lake)
    make_items(Work(lake, archive), SHARD)


def embedded(lake, archive):
    return make_frames(Work(lake, archive), SHARD, InlineCompute())


def vectors(lake, archive):
    """Item -> its rows, without the ids."""
    found = {}
    for row in Work(lake, archive).rows("frame_embeddings", SHARD).to_pylist():
        found.setdefault(row["item"], []).append((row["t_s"], row["sample_hash"], row["cls"]))
    return found


def undisturbed(tmp_path, archive):
    lake = Lake(tmp_path / "undisturbed")
    looked_into(lake, archive)
    embedded(lake, archive)
    return vectors(lake, archive)


def test_a_file_changed_before_it_is_decoded_is_a_row_with_its_reason_and_the_next_run_takes_it(
    tmp_path, archive, pool
):
    lake = Lake(tmp_path / "lake")
    looked_into(lake, archive)
    shutil.copy(pool / "2.mp4", tmp_path / "videos" / "v1.mp4")
    facts = embedded(lake, archive)
    assert facts["frame_embeddings"].reasons == {"v1.mp4": CHANGED}
    assert list(vectors(lake, archive)) == ["v0"]
    verdicts = {r["item"]: r["verdict"] for r in Work(lake, archive).rows("items", SHARD).to_pylist()}
    assert verdicts == {"v0": "ok", "v1": CHANGED}
    assert plan_archive(Work(lake, archive))["frame_embeddings"].due == {SHARD}
    looked_into(lake, archive)
    facts = embedded(lake, archive)
    assert not facts["frame_embeddings"].reasons
    assert vectors(lake, archive) == undisturbed(tmp_path, archive)


def test_a_file_that_gets_its_old_contents_back_is_made_all_the_same(tmp_path, archive, pool):
    lake = Lake(tmp_path / "lake")
    looked_into(lake, archive)
    shutil.copy(pool / "2.mp4", tmp_path / "videos" / "v1.mp4")
    embedded(lake, archive)
    shutil.copy(pool / "1.mp4", tmp_path / "videos" / "v1.mp4")
    looked_into(lake, archive)
    embedded(lake, archive)
    assert vectors(lake, archive) == undisturbed(tmp_path, archive)


def test_what_items_says_of_a_file_is_never_of_other_contents_than_its_hash(tmp_path, archive, pool):
    lake = Lake(tmp_path / "lake")
    register(archive, lake)
    make_video(tmp_path / "videos" / "v1.mp4", seconds=3, size=(64, 48), fps=8, seed=9)
    assert make_items(Work(lake, archive), SHARD).reasons == {"v1.mp4": CHANGED}
    shutil.copy(pool / "1.mp4", tmp_path / "videos" / "v1.mp4")
    looked_into(lake, archive)
    durations = {r["item"]: r["duration_s"] for r in Work(lake, archive).rows("items", SHARD).to_pylist()}
    assert durations == {"v0": 1.0, "v1": 1.0}


def test_a_file_of_another_date_and_the_same_contents_is_no_change(tmp_path, archive):
    lake = Lake(tmp_path / "lake")
    looked_into(lake, archive)
    os.utime(tmp_path / "videos" / "v1.mp4")
    assert not embedded(lake, archive)["frame_embeddings"].reasons


def test_a_file_written_to_while_it_is_decoded_gives_no_frame_more(tmp_path):
    path = tmp_path / "long.mp4"
    make_video(path, seconds=24, fps=25, size=(64, 48))
    facts = path.stat()
    task = FrameTask(
        str(path), 60.0, sampling=Sampling(per_second=25.0),
        expected=Expected(content_hash(path), facts.st_size, facts.st_mtime_ns),
    )  # fmt: skip
    chunks = FrameWorker(None)(task)
    assert len(next(chunks).pts) == 256
    # One byte in its place, and the date set back: neither size nor date tell.
    with path.open("r+b") as file:
        file.seek(facts.st_size // 2)
        file.write(b"\0")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    with pytest.raises(UnreadableMediaError, match=CHANGED):
        list(chunks)


def test_sources_unmounted_in_the_middle_fail_the_shard_and_nothing_is_taken_for_changed(tmp_path, archive):
    lake = Lake(tmp_path / "lake")
    looked_into(lake, archive)
    embedded(lake, archive)
    before, items = vectors(lake, archive), lake.ledger.items("talks")
    other = archive.model_copy(update={"frames": archive.frames.model_copy(update={"per_second": 4.0})})
    (tmp_path / "videos").rename(tmp_path / "elsewhere")
    (tmp_path / "videos").mkdir()
    with pytest.raises(CatalogError, match="Mount it"):
        embedded(lake, other)
    assert (vectors(lake, archive), lake.ledger.items("talks")) == (before, items)


def test_items_registered_anew_while_frames_are_due_are_never_mixed_with_the_old_state(
    tmp_path, archive, pool
):
    lake = Lake(tmp_path / "lake")
    looked_into(lake, archive)
    work = Work(lake, archive)
    assert work.prints.of("frames", SHARD)  # as a run has it that began before
    shutil.copy(pool / "2.mp4", tmp_path / "videos" / "v1.mp4")
    register(archive, lake)  # another run's
    make_frames(work, SHARD, InlineCompute())
    assert vectors(lake, archive) == undisturbed(tmp_path, archive)
    assert Work(lake, archive).is_current("frame_embeddings", SHARD)


def test_a_scene_changed_before_it_is_embedded_fails_its_cell_once(tmp_path):
    archive, lake = scene_archive(tmp_path / "scenes"), Lake(tmp_path / "lake")
    write_scene(tmp_path / "scenes", "20240102")

    def made():
        register(archive, lake)
        (cell,) = Work(lake, archive).prints.shards
        make_scene_items(Work(lake, archive), cell)
        make_tiles(Work(lake, archive))
        make_windows(Work(lake, archive), cell)
        return cell

    cell = made()
    work = Work(lake, archive)
    write_scene(tmp_path / "scenes", "20240102", built=2)
    with pytest.raises(StageFailedError, match=CHANGED):
        make_window_embeddings(work, cell, InlineCompute())
    made()
    facts = make_window_embeddings(Work(lake, archive), cell, InlineCompute())
    assert facts.made and not facts.reasons


def test_a_pairs_picture_changed_before_it_is_embedded_fails_its_shard_once(tmp_path):
    rows = [dict(zip(("left", "right"), write_views(tmp_path, place), strict=True)) for place in range(2)]
    archive = pair_archive(write_table(tmp_path / "pairs.csv", rows, ("left", "right")))
    lake = Lake(tmp_path / "lake")

    def looked():
        register(archive, lake)
        make_pair_items(Work(lake, archive), SHARD)

    looked()
    shutil.copy(tmp_path / rows[1]["right"], tmp_path / rows[0]["left"])
    with pytest.raises(StageFailedError, match=CHANGED):
        make_side_embeddings(Work(lake, archive), SHARD, "left", InlineCompute())
    write_views(tmp_path, 0)
    looked()
    facts = make_side_embeddings(Work(lake, archive), SHARD, "left", InlineCompute())
    assert (facts.made, facts.reasons) == (2, {})
