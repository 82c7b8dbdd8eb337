"""What Dagster is asked to make, evaluated as the daemon does it: just what the lake says follows."""

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test
from pairs import pair_archive, write_table, write_views
from scenes import make_line, scene_archive, write_scene
from stac_site import write_catalogue

from assets_defs.automation import automated, code_versions
from assets_defs.pairs import pair_line
from assets_defs.partitions import dynamic_keys, shards_of
from assets_defs.scenes import scene_line
from lib.catalog import Archive
from lib.compute import InlineCompute
from lib.lake import Lake
from lib.stages.arrivals import look, read_cursor, take
from lib.stages.making import Work
from lib.stages.pair_items import make_pair_items
from lib.stages.scene_items import make_scene_items
from lib.stages.side_embeddings import make_side_embeddings
from lib.stages.sources import register
from lib.stages.tiles import make_tiles
from orchestration.sensors import sensors_of


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def requested(archive, lake, line, instance, *, is_told=True) -> dict[str, set[str | None]]:
    """Stage -> the partitions that a tick requests, after the watching sensor added them."""
    if is_told:
        known = dynamic_keys(archive, lake.ledger.shards(archive.name))
        instance.add_dynamic_partitions(shards_of(archive.name).name or "", known)
    assets = [part for part in line(archive) if not isinstance(part, dg.AssetChecksDefinition)]
    defs = dg.Definitions(
        automated(archive, assets, lambda: lake, code_versions(archive)),
        resources={"lake": lake, "compute": InlineCompute()},
    )
    found = dg.evaluate_automation_conditions(defs=defs, instance=instance)
    keys = [key for part in assets for key in part.keys]
    return {key.path[-1]: set(told) for key in keys if (told := found.get_requested_partitions(key))}


def test_new_scenes_ask_for_their_cells_and_for_no_other_week(tmp_path, lake, instance):
    archive = scene_archive(tmp_path / "scenes")
    write_scene(tmp_path / "scenes", "20240105")
    write_scene(tmp_path / "scenes", "20240403")
    register(archive, lake)
    cells = {"farm|2024-01-01", "farm|2024-04-01"}
    told = {str(key): key for key in requested(archive, lake, scene_line, instance)["items"]}
    assert {tuple(sorted(key.split("|"))) for key in told} == {
        tuple(sorted(cell.split("|"))) for cell in cells
    }


def test_tiles_are_fitted_when_all_items_stand_and_windows_then_follow(tmp_path, lake, instance):
    archive = scene_archive(tmp_path / "scenes")
    write_scene(tmp_path / "scenes", "20240105")
    register(archive, lake)
    assert set(requested(archive, lake, scene_line, instance)) == {"items"}
    for shard in lake.ledger.shards("fields"):
        make_scene_items(Work(lake, archive), shard)
    assert set(requested(archive, lake, scene_line, instance)) == {"tiles"}
    make_tiles(Work(lake, archive))
    assert set(requested(archive, lake, scene_line, instance)) == {"windows", "window_embeddings"}


def test_cells_that_dagster_was_not_told_of_are_not_asked_for(tmp_path, lake, instance):
    archive = scene_archive(tmp_path / "scenes")
    write_scene(tmp_path / "scenes", "20240105")
    register(archive, lake)
    assert requested(archive, lake, scene_line, instance, is_told=False) == {}


def test_pairs_settle_as_a_whole_and_ask_for_both_sides_and_then_the_heads(tmp_path, lake, instance):
    folder = tmp_path / "towns"
    rows = [dict(zip(("left", "right"), write_views(folder, place), strict=True)) for place in range(4)]
    table = write_table(folder / "pairs.csv", rows[:3])
    archive = pair_archive(table)
    cursor = look(archive, lake, {}).as_cursor()
    write_table(table, rows)
    found = look(archive, lake, read_cursor(cursor))
    assert not found.is_any
    found = look(archive, lake, read_cursor(found.as_cursor()))
    assert take(archive, lake, found).new == 4
    assert not look(archive, lake, {}).as_cursor().strip("{}")
    both = {"items": {"s00000"}, "left_embeddings": {"s00000"}, "right_embeddings": {"s00000"}}
    assert requested(archive, lake, pair_line, instance) == both
    work = Work(lake, archive)
    make_pair_items(work, "s00000")
    for side in ("left", "right"):
        make_side_embeddings(work, "s00000", side, InlineCompute())
    assert requested(archive, lake, pair_line, instance) == {"aligner": {None}}


def test_what_parameters_or_a_backbone_make_stale_is_left_to_a_run_and_new_files_are_not(
    tmp_path, lake, instance
):
    archive = scene_archive(tmp_path / "scenes")
    write_scene(tmp_path / "scenes", "20240105")
    register(archive, lake)
    make_line(lake, archive)
    before = requested(archive, lake, scene_line, instance)
    assert not {"changes", "window_embeddings"} & set(before)
    other = archive.model_copy(update={"change": archive.change.model_copy(update={"min_area_m2": 5000.0})})
    assert Work(lake, other).current("changes", lake.ledger.shards("fields")[0]) is None
    # Of another branch, and not made yet.
    assert set(requested(other, lake, scene_line, instance)) == {"landcover_report"}
    assert code_versions(other)["changes"] != code_versions(archive)["changes"]
    assert code_versions(other)["windows"] == code_versions(archive)["windows"]
    write_scene(tmp_path / "scenes", "20240403")
    register(other, lake)
    assert set(requested(other, lake, scene_line, instance)) == {"items"}


def test_a_catalogue_is_fetched_when_it_says_something_else_and_again_when_that_failed(tmp_path, instance):
    href = write_catalogue(tmp_path / "catalogue")
    archive = Archive(
        name="north", kind="scene", stac={"href": str(href)},
        embedding={"backbone": "efficientnet_lite0", "size_px": 256},
    )  # fmt: skip
    watch = next(sensor for sensor in sensors_of(archive) if sensor.name == "north__watch")
    assert watch.minimum_interval_seconds == 3600

    def tick(cursor):
        return watch.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor))

    first = tick(None)
    assert len(first.run_requests) == 1 and watch.job_name == "north__run_sources"
    again = tick(first.cursor)
    assert not again.run_requests and "2 items, as before" in again.skip_message
    create_run_for_test(instance, job_name="north__run_sources", status=dg.DagsterRunStatus.FAILURE)
    assert tick(first.cursor).run_requests
    create_run_for_test(instance, job_name="north__run_sources", status=dg.DagsterRunStatus.SUCCESS)
    assert not tick(first.cursor).run_requests
    add = next((tmp_path / "catalogue" / "north").rglob("north_a.json"))
    add.write_text(
        add.read_text().replace('"properties": {', '"properties": {"updated": "2024-02-01T00:00:00Z",')
    )
    assert tick(first.cursor).run_requests


def test_a_folder_that_is_not_there_is_said_by_the_sensor_and_by_its_check(tmp_path, lake, instance):
    from assets_defs.freshness import questions_of

    archive = scene_archive(tmp_path / "scenes")
    write_scene(tmp_path / "scenes", "20240105")
    register(archive, lake)
    (tmp_path / "scenes").rename(tmp_path / "unmounted")
    watch = next(sensor for sensor in sensors_of(archive) if sensor.name == "fields__watch")
    context = dg.build_sensor_context(instance=instance, resources={"lake": lake})
    assert "isn't there. Mount it" in watch.evaluate_tick(context).skip_message
    (source, ask), (index, ask_index) = questions_of(archive)
    assert (source.name, index.name) == ("source_is_fresh", "index_is_fresh")
    found = ask(Work(lake, archive))
    assert not found.is_fresh and "isn't there" in found.told
    assert ask_index(Work(lake, archive)).is_fresh
    assert not lake.ledger.removed("fields")
