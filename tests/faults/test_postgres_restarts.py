"""Dagster's Postgres crashes or goes while a run needs it: nothing hangs, the lake comes out the same."""

import os
import shutil
from pathlib import Path

import pytest
from place import Place
from servers import Postgres, postgres
from test_kills import SHARDS, committed, fresh, same_rows, undisturbed, wait_for

__all__ = ["undisturbed"]  # a fixture, imported to be found here

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture
def server(tmp_path, monkeypatch) -> Postgres:
    """A Postgres whose address is where `deploy/dagster.yaml` looks for it."""
    with postgres() as started:
        monkeypatch.setenv("DINOLAKE_POSTGRES_URL", started.url)
        (tmp_path / "dagster").mkdir()
        shutil.copy(DEPLOY / "dagster.yaml", tmp_path / "dagster")
        yield started


def statuses(place: Place) -> list[str]:
    """What Dagster's history, read in a process of its own, says of every run."""
    import dagster as dg

    os.environ["DAGSTER_HOME"] = str(place.folder / "dagster")
    with dg.DagsterInstance.get() as instance:
        return [run.status.value for run in instance.get_runs()]


def test_what_the_deployed_configuration_stores_stands_in_postgres_after_a_crash_of_it(
    tmp_path, server, monkeypatch
):
    import dagster as dg

    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("talks_shards", ["0000"])
    server.restart()
    with dg.DagsterInstance.get() as instance:
        assert instance.get_dynamic_partitions("talks_shards") == ["0000"]
    kept = [file for file in (tmp_path / "dagster").rglob("*") if file.is_file()]
    assert not [file for file in kept if file.suffix == ".db"]
    assert not [file for file in kept if server.password.encode() in file.read_bytes()]


@pytest.mark.slow
def test_a_run_outlives_a_crash_of_postgres_after_every_shard(tmp_path, undisturbed, server):
    place = fresh(tmp_path, undisturbed)
    place.run("sources")
    run = place.start("run", "talks", "clips")
    for count in range(1, SHARDS):
        wait_for(lambda count=count: len(committed(place)) >= count, run)
        server.restart()
    _, told = run.communicate(timeout=200)
    assert run.returncode == 0, told
    assert same_rows(place, undisturbed)
    assert set(statuses(place)) == {"SUCCESS"}


@pytest.mark.slow
def test_a_run_without_its_postgres_ends_with_a_message_and_the_next_goes_on_from_there(
    tmp_path, undisturbed, server
):
    place = fresh(tmp_path, undisturbed)
    run = place.start("run", "talks", "clips")
    wait_for(lambda: committed(place), run)
    server.stop()
    _, told = run.communicate(timeout=200)
    assert run.returncode == 1 and "Traceback" not in told, told
    assert "Dagster's storage" in told and "Retrying" not in told, told
    before = committed(place)
    assert before and len(before) < SHARDS, "it ended too late to test anything"
    server.start()
    place.run("clips")
    assert {shard: committed(place)[shard] for shard in before} == before
    assert same_rows(place, undisturbed)
    assert "STARTED" not in statuses(place)
