"""A shard that a blocking check found at fault counts as not done, and no other does."""

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from scenes import make_line, renewed, scene_archive, write_scene

from assets_defs.checks import scene_checks
from lib.columns import vectors_column
from lib.lake import Lake
from lib.stages.making import Work


@pytest.fixture(scope="module")
def two_weeks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faulty")
    archive = scene_archive(folder / "scenes")
    for day in ("20240102", "20240109"):
        write_scene(folder / "scenes", day)
    lake = Lake(folder / "lake")
    make_line(lake, archive)
    return lake, archive


def spoil(work: Work, shard: str) -> None:
    """Vectors of no length, under the fingerprint of good ones."""
    place = work.place("window_embeddings", shard)
    rows, (mark, facts) = work.rows("window_embeddings", shard), work.lake.footer(place)
    at = rows.column_names.index("cls")
    zeros = vectors_column(np.zeros((rows.num_rows, work.contract.cls_dim)))
    spoiled = rows.set_column(at, rows.schema.field(at), pa.chunked_array([zeros]))
    with work.lake.writing(place, rows.schema.remove_metadata(), mark) as writer:
        writer.write(spoiled)
        writer.facts = facts


def test_a_failed_check_has_just_its_shard_made_again(two_weeks):
    lake, archive = two_weeks
    work = Work(lake, archive)
    spoil(work, "farm__2024-01-08")
    assert work.is_current("window_embeddings", "farm__2024-01-08")
    check = next(c for c in scene_checks(archive) if c.check_key.name == "one_vector_a_window")
    found = check(dg.build_asset_check_context(), lake)
    assert not found.passed
    assert (
        "farm__2024-01-08: cls has vectors" in found.description
        and "makes 1 of its shards again" in found.description
    )
    assert not work.is_current("window_embeddings", "farm__2024-01-08")
    assert work.is_current("window_embeddings", "farm__2024-01-01")
    again = make_line(lake, archive)
    assert renewed(again, "window_embeddings") == {"farm__2024-01-08"}
    assert check(dg.build_asset_check_context(), lake).passed


def test_an_index_at_fault_is_built_again(two_weeks, monkeypatch):
    lake, archive = two_weeks
    assert Work(lake, archive).is_current("scene_index")
    check = next(c for c in scene_checks(archive) if c.check_key.name == "index_is_whole")
    with monkeypatch.context() as patch:
        patch.setattr("lib.stages.verify.index_faults", lambda work, indexed: (["recall@10 is .2"], {}))
        assert not check(lake).passed
    assert not Work(lake, archive).is_current("scene_index")
    make_line(lake, archive)
    assert check(lake).passed
