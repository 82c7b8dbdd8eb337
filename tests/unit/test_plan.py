"""What a plan says of the sources before anything is read."""

import pytest

from lib.catalog import Archive
from lib.errors import CatalogError
from lib.lake import Lake
from lib.plan import plan_archive
from lib.sections import EmbeddingConfig
from lib.stages.items import make_items
from lib.stages.making import Work
from lib.stages.sources import register


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
