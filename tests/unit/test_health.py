"""The health page: what it tells of each archive, what it keeps between makings, and what can't break it."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from factories import make_video

from lib.catalog import Archive, Catalog
from lib.health import _MOST_POINTS, make_health
from lib.lake import Lake
from lib.sections import EmbeddingConfig
from lib.stages.items import make_items
from lib.stages.making import Work
from lib.stages.sources import register

BEGAN = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def archive(tmp_path) -> Archive:
    """One good video and two files that are none, looked at by no run yet."""
    root = tmp_path / "videos"
    root.mkdir()
    make_video(root / "good.mp4", seconds=1)
    (root / "bad.mp4").write_bytes(b"no video")
    (root / "notes.txt").write_text("x")
    return Archive(
        name="talks", kind="video", root=str(root), embedding=EmbeddingConfig(backbone="efficientnet_lite0")
    )


def catalog(tmp_path, *archives) -> Catalog:
    return Catalog(tmp_path / "catalog.toml", {archive.name: archive for archive in archives})


def told(lake, name="talks"):
    document = json.loads((lake.root / "_health" / "health.json").read_text())
    return next(one for one in document["archives"] if one["archive"] == name)


def test_files_refused_and_due_shards_are_counted(lake, archive, tmp_path):
    register(archive, lake)
    make_items(Work(lake, archive), "s00000")
    path, summary = make_health(lake, catalog(tmp_path, archive), now=BEGAN)
    one = told(lake)
    assert (one["files"], one["rejected"], one["due"], one["is_whole"]) == (3, 2, 1, False)
    assert "items" not in one["due_stages"] and "frames" in one["due_stages"]
    assert summary["rejected_files"] == 2 and summary["due_shards"] == 1
    assert path.read_text().startswith("<!doctype html>") and "(66.7 %)" in path.read_text()


def test_a_quarantined_shard_stands_on_the_page_with_its_reason_as_text(lake, archive, tmp_path):
    register(archive, lake)
    work = Work(lake, archive)
    for _ in range(3):
        lake.ledger.note_failure(
            "talks", "frames", "", "s00000", fingerprint=work.prints.of("frames", "s00000"),
            reason="<script>alert(1)</script> \u202egpj.exe", counts=True, at=BEGAN.isoformat(),
        )  # fmt: skip
    path, summary = make_health(lake, catalog(tmp_path, archive), now=BEGAN)
    page = path.read_text()
    assert summary["quarantined_shards"] == 1 and summary["failed_shards"] == 0
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "<script" not in page and "\u202e" not in page
    assert "dinolake run talks --retry" in page


def test_one_archive_whose_backbone_is_gone_hides_none_of_the_others(lake, archive, tmp_path):
    register(archive, lake)
    gone = archive.model_copy(
        update={"name": "lost", "embedding": EmbeddingConfig(backbone="meta:/nowhere/dinov3.pth")}
    )
    make_health(lake, catalog(tmp_path, gone, archive), now=BEGAN)
    assert "/nowhere/dinov3.pth" in told(lake, "lost")["trouble"]
    assert told(lake)["trouble"] == "" and told(lake)["due"] == 1


def test_the_history_grows_with_each_change_and_keeps_the_ends_of_what_stayed_the_same(
    lake, archive, tmp_path
):
    register(archive, lake)
    make_items(Work(lake, archive), "s00000")
    for hour in range(5):
        make_health(lake, catalog(tmp_path, archive), now=BEGAN + timedelta(hours=hour))
    (tmp_path / "videos" / "more.txt").write_text("x")
    register(archive, lake)
    make_items(Work(lake, archive), "s00000")
    path, _ = make_health(lake, catalog(tmp_path, archive), now=BEGAN + timedelta(hours=5))
    points = [(point["at"][11:13], point["rejected"]) for point in told(lake)["history"]]
    assert points == [("12", 2), ("16", 2), ("17", 3)]
    assert "hours; 0 is this page" in path.read_text()


def test_a_history_of_years_stays_short_and_a_damaged_one_begins_anew(lake, archive, tmp_path):
    register(archive, lake)
    make_health(lake, catalog(tmp_path, archive), now=BEGAN)
    file = lake.root / "_health" / "health.json"
    document = json.loads(file.read_text())
    point = document["archives"][0]["history"][0]
    document["archives"][0]["history"] = [
        point | {"at": (BEGAN - timedelta(days=3000 - day)).isoformat(), "rejected": day % 7}
        for day in range(3000)
    ]
    file.write_text(json.dumps(document))
    make_health(lake, catalog(tmp_path, archive), now=BEGAN)
    history = told(lake)["history"]
    assert len(history) <= _MOST_POINTS and history[-1]["at"] == BEGAN.isoformat(timespec="seconds")
    assert [p["at"] for p in history] == sorted(p["at"] for p in history)
    file.write_text('{"archives": [{')
    make_health(lake, catalog(tmp_path, archive), now=BEGAN)
    assert len(told(lake)["history"]) == 1


def test_a_catalog_without_archives_has_a_page_that_says_what_to_do(lake, tmp_path):
    path, summary = make_health(lake, catalog(tmp_path), now=BEGAN)
    assert summary["archives"] == 0 and "dinolake add NAME KIND FOLDER" in path.read_text()
