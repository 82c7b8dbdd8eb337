"""Kills, for real: the same command again then leaves in the lake what an undisturbed run would have made."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from place import Place, make_videos

STAGES = ("items", "frames", "frame_embeddings", "centring", "clips")
SHARDS = 4


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Place:
    """Four shards of one video each, run in peace."""
    place = Place(tmp_path_factory.mktemp("undisturbed"))
    make_videos(place.videos, SHARDS, seconds=20)
    place.add(shard_items=1)
    place.run("clips")
    return place


def fresh(tmp_path, undisturbed) -> Place:
    place = Place(tmp_path)
    shutil.copytree(undisturbed.videos, place.videos)
    place.add(shard_items=1)
    return place


def committed(place) -> dict[str, int]:
    files = (place.lake / "talks" / "frame_embeddings").rglob("*.parquet")
    return {file.stem: file.stat().st_mtime_ns for file in files}


def wait_for(condition, process, limit_s=120.0):
    began = time.monotonic()
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - began < limit_s
        time.sleep(0.02)


def same_rows(one: Place, other: Place) -> bool:
    return all(one.rows(stage) == other.rows(stage) for stage in STAGES)


def test_a_run_killed_while_it_embeds_goes_on_from_the_shards_it_had_committed(tmp_path, undisturbed):
    place = fresh(tmp_path, undisturbed)
    run = place.start("run", "talks", "clips")
    wait_for(lambda: len(committed(place)) >= 1, run)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    before = committed(place)
    assert 1 <= len(before) < SHARDS, "the kill came too late to test anything"
    stages = place.run("clips")
    after = committed(place)
    assert {shard: after[shard] for shard in before} == before
    assert stages["frame_embeddings"]["kept"] == 20 * len(before)
    assert stages["frame_embeddings"]["made"] == 20 * (SHARDS - len(before))
    assert same_rows(place, undisturbed)
    assert not list((place.lake / "_tmp").iterdir())


def test_a_killed_run_is_marked_failed_in_dagsters_history_by_the_next(tmp_path, undisturbed, monkeypatch):
    import dagster as dg

    place = fresh(tmp_path, undisturbed)
    run = place.start("run", "talks", "frame_embeddings")
    wait_for(lambda: committed(place), run)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    place.run("sources")
    monkeypatch.setenv("DAGSTER_HOME", str(place.folder / "dagster"))
    with dg.DagsterInstance.get() as instance:
        statuses = [r.status for r in instance.get_runs()]
    assert dg.DagsterRunStatus.FAILURE in statuses and dg.DagsterRunStatus.STARTED not in statuses


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_run_killed_at_any_moment_is_gone_on_with_to_the_same_rows(tmp_path, undisturbed, seed):
    place, chance = fresh(tmp_path, undisturbed), random.Random(seed)
    for _ in range(3):
        run = place.start("run", "talks", "clips")
        try:
            run.communicate(timeout=chance.uniform(1.0, 25.0))
        except subprocess.TimeoutExpired:
            os.kill(run.pid, signal.SIGKILL)
            run.communicate()
    place.run("clips")
    assert same_rows(place, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [4, 5])
def test_a_ray_worker_killed_while_it_works_costs_no_row(tmp_path, undisturbed, monkeypatch, seed):
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    from bench.soak_children import descendants

    place, chance = fresh(tmp_path, undisturbed), random.Random(seed)
    run = place.start("run", "talks", "clips")
    # From the first commit on its worker is at work, and not only starting.
    wait_for(lambda: len(committed(place)) >= 1, run)
    time.sleep(chance.uniform(0.0, 0.3))
    workers = [pid for pid, told in descendants(run.pid).items() if told.startswith("ray::_Worker")]
    assert workers, "no worker was found to be killed"
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    told = run.communicate(timeout=280)
    assert run.returncode == 0, told
    assert same_rows(place, undisturbed)


def test_two_runs_of_one_archive_at_once_make_each_shard_once_between_them(tmp_path, undisturbed):
    place = fresh(tmp_path, undisturbed)
    runs = [place.start("run", "talks", "clips", "--json") for _ in range(2)]
    ended = [run.communicate(timeout=280) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], ended
    import json

    made = [json.loads(out)["stages"]["frame_embeddings"]["made"] for out, _ in ended]
    assert sum(made) == 20 * SHARDS
    assert same_rows(place, undisturbed)


def test_an_interrupted_run_ends_at_once_says_so_and_goes_on_later(tmp_path, undisturbed):
    place = fresh(tmp_path, undisturbed)
    run = place.start("run", "talks", "clips")
    wait_for(lambda: len(committed(place)) >= 1, run)
    os.kill(run.pid, signal.SIGINT)
    _, told = run.communicate(timeout=60)
    assert run.returncode == 130 and "interrupted" in told and "Traceback" not in told, told
    before = committed(place)
    assert len(before) < SHARDS, "the interruption came too late to test anything, or was not heeded"
    place.run("clips")
    assert {shard: committed(place)[shard] for shard in before} == before
    assert same_rows(place, undisturbed)
