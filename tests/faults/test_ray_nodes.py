"""Ray nodes: two give what one gives, and one that is killed costs time and nothing else."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from place import Place, make_videos
from servers import ray_cluster
from test_kills import committed, same_rows, wait_for

from lib.compute import RayCompute

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Place:
    """Six videos in three shards, run on the one node that every run starts for itself."""
    place = Place(tmp_path_factory.mktemp("alone"))
    make_videos(place.videos, 6, seconds=20)
    place.add(shard_items=2)
    place.run("clips")
    return place


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes with room for a worker each."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    # Workers import what they are sent by its module's name.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    with ray_cluster(1, 1) as started:
        monkeypatch.setenv("RAY_ADDRESS", started.address)
        yield started


def fresh(tmp_path, alone) -> Place:
    place = Place(tmp_path)
    shutil.copytree(alone.videos, place.videos)
    place.add(shard_items=2)
    return place


@dataclass(frozen=True)
class TellNode:
    """Makes a worker that says which node's it is: a raylet is its workers' parent."""

    def __call__(self):
        return self.work

    def work(self, number: int) -> Iterator[int]:
        time.sleep(0.2)
        yield os.getppid()


@pytest.mark.filterwarnings("ignore")
def test_two_nodes_work_side_by_side_and_their_vectors_are_one_nodes_byte_for_byte(tmp_path, alone, cluster):
    with RayCompute(cluster.address) as compute:
        nodes = [node for _, node in compute.map(TellNode(), range(4), limit_s=60)]
    assert nodes[0] != nodes[1] and nodes == nodes[:2] * 2
    place = fresh(tmp_path, alone)
    place.run("clips")
    assert same_rows(place, alone)
    assert vectors(place) == vectors(alone)


def test_a_run_whose_second_node_is_killed_ends_well_on_the_first(tmp_path, alone, cluster):
    place = fresh(tmp_path, alone)
    run = place.start("run", "talks", "clips", "--json")
    wait_for(lambda: committed(place), run)
    assert len(committed(place)) < 3, "the kill came too late to test anything"
    cluster.nodes[1].kill()
    out, told = run.communicate(timeout=250)
    assert run.returncode == 0 and out.startswith("{"), (out, told)
    assert same_rows(place, alone)


def test_a_run_whose_cluster_is_gone_ends_with_status_1_and_the_next_goes_on_alone(
    tmp_path, alone, cluster, monkeypatch
):
    place = fresh(tmp_path, alone)
    run = place.start("run", "talks", "clips")
    wait_for(lambda: committed(place), run)
    for node in cluster.nodes:
        node.kill()
    run.communicate(timeout=250)
    before = committed(place)
    assert run.returncode == 1 and len(before) < 3
    monkeypatch.delenv("RAY_ADDRESS")
    place.run("clips")
    assert {shard: committed(place)[shard] for shard in before} == before
    assert same_rows(place, alone)


def vectors(place: Place) -> list[bytes]:
    """Every vector as it is stored, shard after shard."""
    import pyarrow.parquet as pq

    files = sorted((place.lake / "talks" / "frame_embeddings").rglob("*.parquet"))
    columns = [pq.read_table(file, columns=["cls"]).column("cls") for file in files]
    return [chunk.flatten().to_numpy().tobytes() for column in columns for chunk in column.chunks]
