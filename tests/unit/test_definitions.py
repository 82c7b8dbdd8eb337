"""The code location: light to load, valid as a whole, and readable by someone who never saw it."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from orchestration.definitions import defs

PROJECT = Path(__file__).parents[2]
HEAVY = {"torch", "torchvision", "timm", "openvino", "ray", "faiss", "rasterio", "geopandas", "sklearn", "av"}


@pytest.fixture
def definitions(tmp_path, monkeypatch):
    monkeypatch.setenv("DINOLAKE_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("DINOLAKE_CATALOG", str(PROJECT / "data" / "catalog.toml"))
    return defs()


def test_loading_the_definitions_imports_none_of_the_heavy_libraries():
    code = (
        "import sys; from orchestration.definitions import defs; assert defs().assets\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert shown.stdout.strip() == "[]", shown.stderr


def test_the_definitions_are_valid_as_a_whole(definitions):
    definitions.get_repository_def().validate_loadable()


def test_every_asset_of_a_line_says_what_it_is_and_of_what_kind(definitions):
    graph = definitions.resolve_asset_graph()
    keys = [key for key in graph.get_all_asset_keys() if key.path[0] == "demo"]
    assert len(keys) == 10
    for key in keys:
        node = graph.get(key)
        assert node.description, key
        assert node.kinds, key
        assert node.group_name == "demo"


def test_a_line_reads_from_sources_to_reports(definitions):
    graph = definitions.resolve_asset_graph()
    keys = [key for key in graph.get_all_asset_keys() if key.path[0] == "demo"]
    parents = {key.path[-1]: {p.path[-1] for p in graph.get(key).parent_keys} for key in keys}
    assert parents == {
        "sources": set(), "items": {"sources"}, "frames": {"items"}, "frame_embeddings": {"frames"},
        "centring": {"frame_embeddings"}, "clips": {"frame_embeddings", "centring"},
        "summaries": {"frame_embeddings"}, "clip_index": {"clips", "items"},
        "search_report": {"clip_index", "clips", "items"}, "summary_report": {"summaries", "items"},
    }  # fmt: skip


def test_what_stands_above_a_stage_is_the_same_in_dagster_and_in_its_fingerprint(definitions):
    from lib.stages.video_line import VIDEO_LINE

    graph = definitions.resolve_asset_graph()
    for stage in VIDEO_LINE.stages:
        above = {key.path[-1] for key in graph.get(dg.AssetKey(["demo", stage.name])).parent_keys}
        assert above - {"sources"} == set(stage.upstream), stage.name


def test_dg_check_defs_passes(tmp_path):
    program = Path(sys.executable).with_name("dg")
    done = subprocess.run([program, "check", "defs"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
