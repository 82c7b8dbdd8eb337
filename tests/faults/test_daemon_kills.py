"""Daemon, code server and run killed for real while files come: the lake ends as an undisturbed one."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from place import Place, make_videos
from served import Served, by_sample, serving, watched_closely

STAGES = ("items", "frames", "frame_embeddings", "centring", "clips", "summaries")
FIRST, SECOND = (0, 1, 2), (3, 4, 5)
_RUNS = "{ runsOrError { ... on Runs { results { status tags { key value } } } } }"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Place:
    """Three videos, then three more, each batch run in peace."""
    folder = tmp_path_factory.mktemp("undisturbed")
    make_videos(folder / "stock", len(FIRST + SECOND), seconds=10)
    place = Place(folder)
    place.videos.mkdir()
    place.add(shard_items=2)
    for batch in (FIRST, SECOND):
        drop(place, folder, batch)
        place.run()
    return place


def drop(place: Place, folder, batch) -> None:
    for number in batch:
        shutil.copy(folder / "stock" / f"v{number}.mp4", place.videos)


def run_pid(served: Served) -> int | None:
    """The process of the run that embeds now."""
    for run in served.ask(_RUNS)["runsOrError"]["results"]:
        tags = {tag["key"]: tag["value"] for tag in run["tags"]}
        if run["status"] == "STARTED" and "dinolake/process" in tags:
            return int(tags["dinolake/process"].rpartition(":")[2])
    return None


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_daemons_code_servers_and_runs_leave_what_an_undisturbed_lake_holds(tmp_path, undisturbed):
    place = Place(tmp_path)
    place.videos.mkdir()
    watched_closely(place)
    with serving(place) as served:
        drop(place, undisturbed.folder, FIRST)
        # The run itself, in the middle of its work: Dagster tries it again.
        pid = served.wait(lambda: run_pid(served), every_s=0.5)
        os.kill(pid, signal.SIGKILL)
        # The server that holds the code: `dagster dev` alone would never miss it.
        time.sleep(5)
        served.kill("api", "grpc")
        served.wait(lambda: served.is_up_to_date(len(FIRST)))
        drop(place, undisturbed.folder, SECOND)
        served.wait(lambda: run_pid(served), every_s=0.5)
        served.kill("dagster._daemon")
        served.kill("code-server")
        served.wait(lambda: served.children("dagster._daemon") and served.children("code-server"))
        served.wait(lambda: served.is_up_to_date(len(FIRST + SECOND)))
        hits = place.json("search", "talks", "--item", "v5", "-k", "30")["hits"]
        assert {hit["item"] for hit in hits} >= {"v0", "v3"}
    assert {s: by_sample(place, s) for s in STAGES} == {s: by_sample(undisturbed, s) for s in STAGES}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_killed_ui_leaves_no_process_behind_and_the_next_one_goes_on(tmp_path, undisturbed):
    place = Place(tmp_path)
    place.videos.mkdir()
    watched_closely(place)
    drop(place, undisturbed.folder, FIRST)
    with serving(place) as served:
        served.wait(lambda: run_pid(served), every_s=0.5)
        services = [*served.children("dagster._daemon"), *served.children("code-server")]
        served.process.kill()
        served.process.wait()
        began = time.monotonic()
        while any(Path(f"/proc/{pid}").exists() for pid in services):
            assert time.monotonic() - began < 60
            time.sleep(0.5)
    with serving(place) as served:
        served.wait(lambda: served.is_up_to_date(len(FIRST)))
    made = {row["item"] for row in place.rows("frame_embeddings")}
    assert made == {f"v{number}" for number in FIRST}
