"""The video line as a user runs it. In this order: each test changes one thing, and looks at what is made."""

import json
import os
import shutil

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from factories import make_video

from lib.catalog import read_catalog
from lib.errors import QueryError
from lib.lake import Lake
from lib.search.query import Searcher
from lib.stages.making import Work

FRAMES = 4 * 3  # four videos of 3 s, one frame a second


def counts(stages):
    return {name: (s["made"], s["kept"], s["rejected"]) for name, s in stages.items()}


def test_a_first_run_makes_every_stage_and_counts_the_refused_file(first_run):
    assert counts(first_run)["items"] == (4, 0, 1)
    assert counts(first_run)["frames"] == counts(first_run)["frame_embeddings"] == (FRAMES, 0, 0)
    assert list(first_run) == [
        "items", "frames", "frame_embeddings", "centring", "clips", "summaries", "clip_index",
        "search_report", "summary_report",
    ]  # fmt: skip


def test_a_second_run_makes_nothing(place, first_run):
    assert {name: made for name, (made, _, _) in counts(place.run()).items() if made} == {}


def test_the_refused_file_is_a_row_with_its_reason(place, first_run):
    verdicts = {row["path"]: row["verdict"] for row in place.rows("items")}
    assert verdicts.pop("text.mp4").startswith("not a video")
    assert set(verdicts.values()) == {"ok"}


def test_each_stored_frame_finds_the_window_that_holds_it(place, first_run):
    hits = place.json("search", "talks", "--image", str(picture_of(place, "v2", 2.0)), "-k", "3")
    assert set(hits) == {"archive", "contract", "hits"}
    best = hits["hits"][0]
    assert best["item"] == "v2" and best["rank"] == 1 and best["score"] > 0.9
    assert best["start_s"] <= 2.0 <= best["end_s"]
    assert best["path"] == str(place.videos / "v2.mp4")


def picture_of(place, item, second):
    from lib.media.image import png_bytes
    from lib.media.sampling import Sampling
    from lib.media.video import sample_video

    frame = min(sample_video(place.videos / f"{item}.mp4", Sampling()), key=lambda f: abs(f.t_s - second))
    path = place.folder / f"{item}_{second}.png"
    path.write_bytes(png_bytes(frame.rgb))
    return path


def test_a_clip_finds_its_video_and_an_item_finds_others_but_not_itself(place, first_run):
    clip = place.json("search", "talks", "--video", str(place.videos / "v1.mp4"), "-k", "1")
    assert clip["hits"][0]["item"] == "v1"
    others = place.json("search", "talks", "--item", "v1", "-k", "9")
    assert "v1" not in {hit["item"] for hit in others["hits"]} and others["hits"]


@pytest.mark.parametrize("moment", ["nan", "-5", "1e9", "", "4.1"])
def test_a_moment_that_isnt_in_the_item_is_refused(place, first_run, moment):
    work = Work(Lake(place.lake), read_catalog(place.folder / "catalog.toml").archive("talks"))
    searcher = Searcher(work)
    assert searcher.of_item("v1#t=3.9").features.shape[0] == 1  # 3 s long, a frame each second
    with pytest.raises(QueryError, match=r"a time in seconds|is 3\.0 s long"):
        searcher.of_item(f"v1#t={moment}")


def test_a_filter_leaves_only_what_it_allows(place, first_run):
    hits = place.json("search", "talks", "--item", "v1", "-k", "9", "--where", "item in ('v1', 'v3')")
    assert {hit["item"] for hit in hits["hits"]} == {"v3"}
    assert place.json("search", "talks", "--item", "v1", "--where", "duration_s > 60")["hits"] == []


def test_hits_are_cut_as_films_that_play_and_laid_out_on_a_page(place, first_run, tmp_path):
    sheet, clips = tmp_path / "hits.html", tmp_path / "clips"
    done = place.call(
        "search", "talks", "--item", "v0", "-k", "2", "--sheet", str(sheet), "--clips", str(clips)
    )
    assert done.returncode == 0, done.stderr
    assert sheet.read_text().count("<img") >= 2
    films = sorted(clips.glob("*.mp4"))
    assert len(films) == 2
    with av.open(str(films[0])) as film:
        assert sum(1 for _ in film.decode(video=0)) > 20


def test_the_reports_have_the_columns_that_scripts_read(place, first_run):
    for stage in ("search_report", "summary_report"):
        report = json.loads((place.lake / "talks" / stage / "report.json").read_text())
        assert report["contract"].startswith("efficientnet_lite0-224-")
        assert report["metrics"]
        assert all(
            {"task", "metric", "chance", "naive", "ours", "n"} <= set(row) for row in report["metrics"]
        )
        assert "text.mp4" in (place.lake / "talks" / stage / "report.html").read_text()


def test_the_runs_and_their_partitions_stand_in_dagsters_history(place, first_run, monkeypatch):
    import dagster as dg

    monkeypatch.setenv("DAGSTER_HOME", str(place.folder / "dagster"))
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs()
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
        key = dg.AssetKey(["talks", "frame_embeddings"])
        assert instance.get_materialized_partitions(key) == {"s00000"}


def test_archives_says_what_there_is(place, first_run):
    (row,) = place.json("archives")
    assert {n: row[n] for n in ("archive", "kind", "items", "rejected", "stale_shards")} == {
        "archive": "talks", "kind": "video", "items": 4, "rejected": 1, "stale_shards": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["search", "talk", "--item", "v1"], 2, "talks"),
        (["search", "talks", "--item", "v1", "-k", "0"], 2, "1 or more"),
        (["search", "talks", "--item", "nosuch"], 2, "no item"),
        (["search", "talks"], 2, "give one of"),
        (["search", "talks", "--image", "CATALOG"], 2, "can't be read as a picture"),
        (["search", "talks", "--video", "CATALOG"], 2, "can't be read as a video"),
        (["search", "talks", "--item", "v1", "--where", "nonsense ("], 2, "--where"),
        (["run", "talks", "nostage"], 2, "its stages"),
        (["add", "my-talks", "video", "/"], 2, "my_talks"),
        (["add", "more", "video", "/no/such/folder"], 2, "no folder"),
        (["summarize", "CATALOG", "-o", "x.mp4"], 2, "can't be summed up"),
        (["embed", "/no/such.jpg", "-o", "x.parquet"], 2, "isn't there"),
    ],
)
def test_a_request_that_cant_be_met_is_one_sentence_and_a_status(place, first_run, arguments, status, said):
    done = place.call(*[a.replace("CATALOG", str(place.folder / "catalog.toml")) for a in arguments])
    assert done.returncode == status
    assert said in done.stderr and "Traceback" not in done.stderr and "bug in Dinolake" not in done.stderr
    assert not done.stdout


# From here on, the archive is changed.


def test_touching_a_video_makes_nothing(place, first_run):
    os.utime(place.videos / "v1.mp4")
    assert counts(place.run("frame_embeddings")) == {
        "items": (0, 4, 1), "frames": (0, FRAMES, 0), "frame_embeddings": (0, FRAMES, 0),
    }  # fmt: skip


def test_changing_one_video_embeds_its_frames_again_and_no_others(place, first_run):
    before = {row["sample"]: row["cls"] for row in place.rows("frame_embeddings")}
    make_video(place.videos / "v1.mp4", seconds=5.0, seed=77)
    assert counts(place.run("frame_embeddings")) == {
        "items": (1, 3, 1), "frames": (5, FRAMES - 3, 0), "frame_embeddings": (5, FRAMES - 3, 0),
    }  # fmt: skip
    after = {row["sample"]: row["cls"] for row in place.rows("frame_embeddings")}
    assert {name for name in before if before[name] == after[name]} == {
        n for n in before if not n.startswith("v1#")
    }


def test_more_refusals_than_the_catalog_allows_end_the_run_with_status_1(place, first_run):
    place.edit("shard_items = 64", "shard_items = 64\nmax_rejected_pct = 10.0")
    done = place.call("run", "talks", "items")
    assert done.returncode == 1 and "1 of 5 files" in done.stderr
    place.edit("max_rejected_pct = 10.0", "max_rejected_pct = 50.0")
    assert place.call("run", "talks", "items").returncode == 0


def test_another_clip_length_embeds_nothing(place, first_run):
    place.edit("length_s = 4.0", "length_s = 2.0")
    stages = counts(place.run("clips"))
    assert stages["frame_embeddings"][0] == 0 and stages["clips"][0] > 0


def test_a_removed_video_is_out_of_the_answers_before_the_index_is_made_again(place, first_run):
    place.run()
    (place.videos / "v3.mp4").unlink()
    place.run("sources")
    assert "v3" not in {
        hit["item"] for hit in place.json("search", "talks", "--item", "v1", "-k", "9")["hits"]
    }
    assert counts(place.run("frame_embeddings"))["frame_embeddings"][0] == 0
    assert {row["item"]: row["removed"] for row in place.rows("items")}["v3"] is True


def test_another_sampling_keeps_the_vectors_of_the_frames_that_stay(place, first_run):
    before = {row["sample"] for row in place.rows("frame_embeddings")}
    place.edit("per_second = 1.0", "per_second = 2.0")
    made, kept, _ = counts(place.run("frame_embeddings"))["frame_embeddings"]
    after = {row["sample"] for row in place.rows("frame_embeddings")}
    assert (made, kept) == (len(after - before), len(before)) and before < after


def test_another_backbone_is_a_second_contract_and_is_never_compared_with_the_first(place, first_run):
    place.run()
    place.edit('backbone = "efficientnet_lite0"', 'backbone = "random:vit_small_patch16_dinov3"')
    place.edit("size_px = 224", "size_px = 64")
    done = place.call("search", "talks", "--item", "v1", "--json")
    # What was indexed answers until the new one is there, asked in its own contract's vectors.
    assert json.loads(done.stdout)["contract"].startswith("efficientnet_lite0-224-")
    assert "switches to it once it has passed its checks" in done.stderr
    stages = counts(place.run("frame_embeddings"))
    assert (
        stages["frames"][0] == 0 and stages["frame_embeddings"][1] == 0 and stages["frame_embeddings"][0] > 0
    )
    contracts = sorted(p.name.split("-")[0] for p in (place.lake / "talks" / "frame_embeddings").iterdir())
    assert contracts == ["efficientnet_lite0", "random_vit_small_patch16_dinov3"]


def test_an_archive_without_an_index_says_what_to_do(place, first_run):
    empty = place.folder / "empty"
    empty.mkdir(exist_ok=True)
    assert place.call("add", "empty", "video", str(empty), "--backbone", "efficientnet_lite0").returncode == 0
    done = place.call("search", "empty", "--item", "x")
    assert done.returncode == 1 and "dinolake run empty" in done.stderr
    ran = place.call("run", "empty")
    assert ran.returncode == 0, ran.stderr
    done = place.call("search", "empty", "--item", "x")
    assert done.returncode == 1 and "no index" in done.stderr


def test_embed_writes_unit_vectors_by_path_and_time(place, first_run, tmp_path):
    picture, out = picture_of(place, "v2", 1.0), tmp_path / "vectors.parquet"
    done = place.call("embed", str(picture), str(place.videos / "v2.mp4"), str(place.videos / "text.mp4"),
                      "--backbone", "efficientnet_lite0", "-o", str(out))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "text.mp4" in done.stderr
    rows = pq.read_table(out).to_pylist()
    assert [(row["path"], row["t_s"]) for row in rows] == [
        (str(picture), None),
        *((str(place.videos / "v2.mp4"), float(t)) for t in range(3)),
    ]
    vectors = np.array([row["vector"] for row in rows])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert vectors[0] @ vectors[2] > 0.999


def test_a_summary_keeps_its_sound_and_its_budget(place, first_run, tmp_path):
    film = tmp_path / "film.mp4"
    make_video(film, seconds=20, scenes=4, audio=True)
    out = tmp_path / "short.mp4"
    document = place.json(
        "summarize", str(film), "-o", str(out), "--budget", "0.25", "--backbone", "efficientnet_lite0"
    )
    assert document["summary_s"] <= 5.0 + 1e-6
    with av.open(str(out)) as short:
        assert {stream.type for stream in short.streams} == {"video", "audio"}
        assert abs(short.duration / 1e6 - document["summary_s"]) < 0.2
    assert json.loads(out.with_suffix(".json").read_text()) == document
    assert out.with_name("short_storyboard.jpg").stat().st_size > 1000
    shutil.rmtree(tmp_path)
