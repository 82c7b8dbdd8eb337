"""Datasets in miniature, in their true layout, through the stages to their reports' figures."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.io
from factories import make_video

from lib.catalog import Archive
from lib.compute import InlineCompute
from lib.lake import Lake
from lib.search.query import WHERE_COLUMNS, Searcher
from lib.sections import ClipsConfig, EmbeddingConfig, FramesConfig
from lib.stages.centring import make_centring
from lib.stages.class_search import measure_class_search
from lib.stages.clip_index import CLIPS, make_clip_index
from lib.stages.clips import make_clips
from lib.stages.frames import make_frames
from lib.stages.items import make_items
from lib.stages.making import Work
from lib.stages.sources import register
from lib.stages.summaries import make_summaries
from lib.stages.summary_report import make_summary_report
from lib.stages.verify import index_faults


def run(tmp_path, dataset, root, **settings) -> Work:
    archive = Archive(
        name="mini", kind="video", root=str(root), dataset=dataset,
        embedding=EmbeddingConfig(backbone="efficientnet_lite0"), **settings,
    )  # fmt: skip
    lake = Lake(tmp_path / "lake")
    register(archive, lake)
    for shard in lake.ledger.shards("mini"):
        make_items(Work(lake, archive), shard)
        make_frames(Work(lake, archive), shard, InlineCompute())
    make_centring(Work(lake, archive))
    for shard in lake.ledger.shards("mini"):
        make_clips(Work(lake, archive), shard)
        make_summaries(Work(lake, archive), shard)
    make_clip_index(Work(lake, archive))
    return Work(lake, archive)


def test_ucf101_asks_with_its_test_side_and_answers_with_its_training_side(tmp_path):
    root = tmp_path / "ucf"
    lists = {"classInd.txt": "1 Archery\n2 Biking\n", "trainlist01.txt": "", "testlist01.txt": ""}
    for label, seed in (("Archery", 1), ("Biking", 2)):
        for group in range(3):
            name = f"{label}/v_{label}_g{group:02d}_c01.avi"
            path = root / "UCF-101" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            make_video(path, seconds=2, seed=seed)  # one picture a class: whoever finds anything finds it
            lists["testlist01.txt" if group == 0 else "trainlist01.txt"] += f"{name} {seed}\n"
    (root / "ucfTrainTestlist").mkdir()
    for name, text in lists.items():
        (root / "ucfTrainTestlist" / name).write_text(text)
    work = run(tmp_path, "ucf101", root)
    found = measure_class_search(work)
    assert (found.queries, found.gallery, found.classes, found.is_split) == (2, 4, 2, True)
    assert (found.ours.recall(1), found.naive.recall(1)) == (1.0, 1.0)
    assert found.ours.chance(1) == pytest.approx(0.5)  # 2 of 4 are right
    centring = pq.read_table(work.lake.path(work.place("centring"))).to_pylist()[0]
    assert (centring["frames"], centring["is_train_only"]) == (8, True)


def test_activitynet_hits_windows_that_overlap_a_segment_of_the_class(tmp_path):
    root = tmp_path / "anet"
    root.mkdir()
    database = {}
    for name, subset in (("aaaaaaaaaaa", "training"), ("bbbbbbbbbbb", "validation")):
        # Two scenes of 4 s, coloured by seed and number, so that they are alike in both videos.
        make_video(root / f"v_{name}.mp4", seconds=8, seed=5, scenes=2)
        segments = [{"segment": [0, 3.9], "label": "Skiing"}, {"segment": [4.1, 8], "label": "Rowing"}]
        database[name] = {
            "subset": subset, "duration": 8.0, "resolution": "160x120", "url": "", "annotations": segments,
        }  # fmt: skip
    whole = {"version": "VERSION 1.3", "taxonomy": [], "database": database}
    (root / "activity_net.v1-3.min.json").write_text(json.dumps(whole))
    clips = ClipsConfig(length_s=2.0, stride_s=2.0)
    found = measure_class_search(run(tmp_path, "activitynet", root, clips=clips))
    # Two segments ask; four windows of 2 s answer, two of each class.
    assert (found.queries, found.gallery, found.is_untrimmed) == (2, 4, True)
    assert found.ours.recall(1) == 1.0
    assert found.ours.chance(1) == pytest.approx(0.5)


def test_summe_reports_agreement_with_its_users(tmp_path):
    root = tmp_path / "summe"
    (root / "videos").mkdir(parents=True)
    (root / "GT").mkdir()
    make_video(root / "videos" / "Jumps.mp4", seconds=20, fps=10, scenes=4)
    users = np.zeros((200, 3))
    users[50:80] = 1
    truth = {"user_score": users, "nFrames": 200, "FPS": 10.0, "video_duration": 20.0}
    scipy.io.savemat(root / "GT" / "Jumps.mat", truth | {"gt_score": users.mean(axis=1)})
    work = run(tmp_path, "summe", root, frames=FramesConfig(per_second=2.0))
    report = make_summary_report(work)
    metrics = json.loads(report.path.with_name("report.json").read_text())["metrics"]
    rows = {row["metric"]: row for row in metrics if row["task"] == "video summary, users"}
    assert set(rows) == {"F", "Kendall tau-b", "Spearman rho"}
    assert all(rows["F"][column] is not None for column in ("chance", "naive", "ours"))


def test_an_added_video_adds_its_windows_to_the_index_and_leaves_the_others(tmp_path):
    root = tmp_path / "videos"
    root.mkdir()
    for number in range(6):
        make_video(root / f"v{number}.mp4", seconds=6, seed=number)
    rows = run(tmp_path, None, root).rows("clip_index").num_rows
    make_video(root / "v9.mp4", seconds=6, seed=9)
    (root / "v1.mp4").unlink()
    after = run(tmp_path, None, root)
    table = after.rows("clip_index")
    facts = after.lake.footer(after.place("clip_index"))[1]
    new = rows // 6
    assert (facts.made, facts.kept) == (new, 5 * new)
    # Nothing was rebuilt: the removed windows keep their row, marked.
    assert table.num_rows == rows + new
    assert {r["item"] for r in table.to_pylist() if r["is_gone"]} == {"v1"}
    assert index_faults(after, CLIPS)[0] == []


def test_another_split_of_a_dataset_is_seen_by_the_next_run_and_adds_no_window(tmp_path):
    root = tmp_path / "ucf"
    (root / "UCF-101" / "Biking").mkdir(parents=True)
    names = [f"Biking/v_Biking_g{group:02d}_c01.avi" for group in range(3)]
    for seed, name in enumerate(names):
        make_video(root / "UCF-101" / name, seconds=2, seed=seed)
    lists = root / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Biking\n")
    for train in (2, 1):
        (lists / "trainlist01.txt").write_text("".join(f"{name} 1\n" for name in names[:train]))
        (lists / "testlist01.txt").write_text("".join(f"{name} 1\n" for name in names[train:]))
        work = run(tmp_path, "ucf101", root)
    searcher = Searcher(work)
    held_back = searcher.allowed("split = 'test'", WHERE_COLUMNS, None)
    assert {Path(path).stem for path in searcher.rows.filter(held_back).column("path").to_pylist()} == {
        "v_Biking_g01_c01", "v_Biking_g02_c01",
    }  # fmt: skip
    assert work.lake.footer(work.place("clip_index"))[1].made == 0


def test_patch_grids_are_kept_beside_and_merged_like_the_other_vectors(tmp_path):
    root = tmp_path / "videos"
    root.mkdir()
    make_video(root / "v.mp4", seconds=2)
    embedding = EmbeddingConfig(backbone="efficientnet_lite0", grid=True)
    lake, grids = Lake(tmp_path / "lake"), {}
    for per_second in (1.0, 2.0):
        frames = FramesConfig(per_second=per_second)
        archive = Archive(name="mini", kind="video", root=str(root), embedding=embedding, frames=frames)
        register(archive, lake)
        work = Work(lake, archive)
        make_items(work, "s00000")
        facts = make_frames(work, "s00000", InlineCompute())["frame_embeddings"]
        assert (facts.made, facts.kept) == ((2, 0) if per_second == 1.0 else (2, 2))
        rows = work.rows("frame_embeddings", "s00000").to_pylist()
        grids[per_second] = {row["sample"]: np.frombuffer(row["patch_grid"], np.float16) for row in rows}
        for row in rows:
            mean = grids[per_second][row["sample"]].reshape(14 * 14, 112).astype(np.float32).mean(axis=0)
            assert np.allclose(mean, row["patch_mean"], atol=0.02)
    assert all(np.array_equal(grids[2.0][sample], grid) for sample, grid in grids[1.0].items())
