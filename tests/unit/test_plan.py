"""What a plan says of the sources before anything is read."""

from dataclasses import replace

import pytest

from lib.catalog import Archive
from lib.compute import InlineCompute
from lib.errors import CatalogError, StoreError
from lib.lake import Facts, Lake
from lib.plan import StagePlan, _estimate, is_source_due, plan_archive
from lib.sections import EmbeddingConfig
from lib.stages import line, sources
from lib.stages.failing import note_failure
from lib.stages.frames import make_frames
from lib.stages.items import make_items
from lib.stages.making import Work
from lib.stages.sources import register
from lib.stages.video_line import VIDEO_LINE


@pytest.fixture
def work(tmp_path) -> Work:
    """Three files that are no videos, in shards of two."""
    root = tmp_path / "videos"
    root.mkdir()
    for name in "abc":
        (root / f"{name}.mp4").write_text(name)
    embedding = EmbeddingConfig(backbone="efficientnet_lite0")
    archive = Archive(name="talks", kind="video", root=str(root), shard_items=2, embedding=embedding)
    return Work(Lake(tmp_path / "lake"), archive)


def items_planned(work):
    plan = plan_archive(Work(work.lake, work.archive))["items"]
    return (plan.done, plan.stale, plan.missing), plan.why


def made(work):
    for shard in register(work.archive, work.lake).shards:
        make_items(Work(work.lake, work.archive), shard)


def test_before_a_first_run_the_shards_that_it_would_make_are_missing(work):
    plans = plan_archive(work)
    assert {name: plan.missing for name, plan in plans.items() if plan.missing == 2} == dict.fromkeys(
        ("items", "frames", "frame_embeddings", "clips", "summaries"), 2
    )
    assert plans["clip_index"].missing == plans["search_report"].missing == 1
    assert plans["items"].why == {"new files": 2}
    assert not work.lake.ledger.items("talks")


def test_new_changed_and_removed_files_show_before_they_are_registered(work):
    made(work)
    assert items_planned(work) == ((2, 0, 0), {})
    (work.root / "a.mp4").write_text("another text")
    (work.root / "d.mp4").touch()
    (work.root / "e.mp4").write_text("e")
    assert items_planned(work) == ((0, 2, 1), {"source changed": 1, "new files": 2})
    made(work)
    (work.root / "b.mp4").unlink()
    assert items_planned(work) == ((2, 1, 0), {"files removed": 1})


def test_a_folder_that_cant_be_looked_at_is_planned_as_it_was_and_said(work, caplog):
    made(work)
    work.root.rename(work.root.with_name("elsewhere"))
    assert items_planned(work) == ((2, 0, 0), {})
    assert "isn't there" in caplog.text


def test_an_entry_without_a_folder_is_told_that_it_has_none(work):
    with pytest.raises(CatalogError, match="no `root`"):
        register(work.archive.model_copy(update={"root": None}), work.lake)


def due_of(work, stage):
    plan = plan_archive(Work(work.lake, work.archive))[stage]
    return plan.stale, plan.missing, plan.why


def framed(work):
    """Items and frames made; files that are no videos have none, so no worker is started."""
    made(work)
    for shard in work.lake.ledger.shards("talks"):
        make_frames(Work(work.lake, work.archive), shard, InlineCompute(), embeddings=False)
    return work


def changed(work, **sections):
    return Work(work.lake, work.archive.model_copy(update=sections))


def test_a_plan_says_what_has_changed(work, monkeypatch):
    framed(work)
    assert due_of(work, "frames") == (0, 0, {})
    slower = changed(work, frames=work.archive.frames.model_copy(update={"per_second": 2.0}))
    assert due_of(slower, "frames") == (2, 0, {"parameters changed": 2})
    assert due_of(slower, "frame_embeddings") == (0, 2, {"never made": 2})
    (work.root / "a.mp4").write_text("another text")
    assert due_of(work, "frames") == (1, 0, {"upstream changed: items": 1})
    frames = next(stage for stage in VIDEO_LINE.stages if stage.name == "frames")
    newer = tuple(replace(s, version=s.version + 1) if s is frames else s for s in VIDEO_LINE.stages)
    monkeypatch.setitem(line.LINES, "video", replace(VIDEO_LINE, stages=newer))
    assert due_of(work, "frames") == (2, 0, {"code version changed": 2})


def test_vectors_of_another_backbone_are_stale_and_said_to_be(work):
    framed(work)
    for shard in work.lake.ledger.shards("talks"):
        make_frames(Work(work.lake, work.archive), shard, InlineCompute())
    embedding = EmbeddingConfig(backbone="efficientnet_lite0", size_px=256)
    assert due_of(changed(work, embedding=embedding), "frame_embeddings") == (2, 0, {"backbone changed": 2})


def test_a_shard_that_failed_three_times_with_one_input_is_left_alone_until_that_changes(work):
    made(work)
    for count in (1, 2, 3):
        assert items_due_of_frames(work) == ({"s00000", "s00001"}, 0), count
        note_failure(Work(work.lake, work.archive), ["frames"], "s00001", ValueError("no luck"))
    assert items_due_of_frames(work) == ({"s00000"}, 1)
    (work.root / "c.mp4").write_text("another text")
    made(work)
    assert items_due_of_frames(work) == ({"s00000", "s00001"}, 0)


@pytest.mark.parametrize("error", [OSError(28, "No space left"), StoreError("the lake's store is gone")])
def test_a_full_disk_or_a_store_that_is_gone_puts_no_shard_into_quarantine(work, error):
    made(work)
    for _ in range(5):
        note_failure(Work(work.lake, work.archive), ["frames"], "s00001", error)
    assert items_due_of_frames(work) == ({"s00000", "s00001"}, 0)
    assert str(error.args[-1]) in work.lake.ledger.failures("talks")[0].reason


def items_due_of_frames(work):
    plan = plan_archive(Work(work.lake, work.archive))["frames"]
    return plan.due, plan.quarantined


def test_a_stage_over_all_shards_goes_on_without_one_that_failed_and_waits_for_one_that_is_behind(work):
    framed(work)
    note_failure(Work(work.lake, work.archive), ["frame_embeddings"], "s00001", ValueError("no luck"))
    now = Work(work.lake, work.archive)
    assert now.behind("centring") == {"s00000"} and now.shards("centring") == []
    make_frames(Work(work.lake, work.archive), "s00000", InlineCompute())
    now = Work(work.lake, work.archive)
    assert now.behind("centring") == set() and now.shards("centring") == ["s00000"]


def test_time_and_bytes_are_told_from_what_was_made():
    known = {"s00000": Facts(made=10, seconds=5.0, bytes=1000)}
    lost = {"s00002": Facts(made=10, seconds=5.0, bytes=1000)}
    plan = StagePlan(due={"s00001", "s00002"})
    _estimate(plan, known, lost, {"s00000": 2, "s00001": 4, "s00002": 2})
    assert (plan.samples_due, plan.seconds, plan.bytes) == (30, 15.0, 3000)


def test_a_lost_file_is_said_to_be_gone_and_what_comes_out_the_same_stays(work):
    framed(work)
    (work.lake.root / "talks" / "items" / "s00001.parquet").unlink()
    assert due_of(work, "items") == (0, 1, {"file gone": 1})
    assert due_of(work, "frames") == (0, 0, {})


def test_a_file_that_couldnt_be_read_keeps_its_reason_until_it_can(work, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(sources, "content_hash", refused)
        made(work)
        made(work)
        assert {item.reason for item in work.lake.ledger.items("talks")} == {
            "can't be read: Permission denied"
        }
    assert items_planned(work) == ((2, 0, 0), {}), "a plan reads nothing, so it can't know better"
    assert is_source_due(work.archive, work.lake), "but a run tries"
    made(work)
    assert all(item.content_hash and not item.reason for item in work.lake.ledger.items("talks"))
