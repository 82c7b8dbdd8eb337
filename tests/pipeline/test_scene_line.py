"""The scene line on made scenes: what each new, late or changed scene makes again, and what comes out."""

import json

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
from scenes import contents, make_line, renewed, scene_archive, write_scene

from lib import shard_files
from lib.lake import Lake
from lib.plan import plan_archive
from lib.search.places import PlaceSearcher
from lib.stages.acquisitions import acquisitions_of
from lib.stages.making import Work
from lib.stages.stored_cells import stored_pixel_gate
from lib.stages.verify import window_faults
from lib.tasks.change import perturbed
from lib.tasks.change_dates import open_dates
from lib.tasks.pixel_difference import gate_of_noise, noise_of

DAYS = ("20240102", "20240109", "20240116", "20240123", "20240130", "20240206")


def cell(day):
    return {
        "20240102": "farm__2024-01-01", "20240109": "farm__2024-01-08", "20240116": "farm__2024-01-15",
        "20240123": "farm__2024-01-22", "20240130": "farm__2024-01-29", "20240206": "farm__2024-02-05",
    }[day]  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Three weeks of a farm; two blocks are built in the third."""
    folder = tmp_path_factory.mktemp("built")
    archive = scene_archive(folder / "scenes")
    for day, count in zip(DAYS[:3], (0, 0, 2), strict=True):
        write_scene(folder / "scenes", day, built=count)
    lake = Lake(folder / "lake")
    return lake, archive, make_line(lake, archive)


def test_what_is_built_is_found_in_its_week_with_its_area_and_in_no_other(built):
    lake, archive, _ = built
    frame = geopandas.read_parquet(lake.path(Work(lake, archive).place("changes", cell("20240116"))))
    assert len(frame) == 2
    # 64 x 64 px of 10 m.
    assert frame["area_m2"].to_numpy() == pytest.approx([409_600] * 2, rel=0.2)
    assert set(frame["before_item"]) == {"farm_20240109"}
    assert not [row for row in contents(lake, archive, "changes") if row["item"] != "farm_20240116"]
    # Where they were put: 50 and 170 px from the left, 60 from the top.
    metres = frame.to_crs("EPSG:32633").bounds
    assert sorted(metres["minx"]) == pytest.approx([500_500, 501_700], abs=40)
    assert metres["maxy"].to_numpy() == pytest.approx([5_399_400] * 2, abs=40)


def test_the_gate_of_pixels_that_windows_store_is_the_whole_scenes(built):
    lake, archive, _ = built
    work = Work(lake, archive)
    stored = stored_pixel_gate(work, acquisitions_of(work.prints.items(), "farm")[0])
    path = work.root / "farm_20240102.tif"
    with open_dates(path, path) as dates:
        before, _, valid = dates.view(0, 0, *dates.shape)
    whole = gate_of_noise(noise_of(before, perturbed(before), valid))
    assert stored == pytest.approx(whole, rel=0.05)


def test_a_second_run_makes_nothing(built):
    lake, archive, _ = built
    again = make_line(lake, archive)
    assert not {stage for stage in again if renewed(again, stage)}
    plans = plan_archive(Work(lake, archive))
    assert not {name for name, plan in plans.items() if plan.due and not name.endswith("_report")}


def test_a_place_finds_its_like_and_not_itself(built):
    lake, archive, _ = built
    searcher = PlaceSearcher(Work(lake, archive))
    row = searcher.rows.slice(0, 1).to_pylist()[0]
    query = searcher.at(row["lon"], row["lat"])
    hits = searcher.search(query, k=2)
    assert len({(hit.lon, hit.lat) for hit in hits}) == len(hits) == 2
    assert (round(row["lon"], 6), round(row["lat"], 6)) not in {(hit.lon, hit.lat) for hit in hits}
    late = searcher.search(query, k=2, where="acquired > '2024-01-12'")
    assert {hit.acquired for hit in late} == {"2024-01-16"}


def test_a_late_scene_makes_its_cell_and_the_next_change_and_ends_as_in_order(tmp_path):
    archive = scene_archive(tmp_path / "scenes")
    for day, count in (("20240102", 0), ("20240116", 1), ("20240123", 1)):
        write_scene(tmp_path / "scenes", day, built=count)
    lake = Lake(tmp_path / "lake")
    make_line(lake, archive)
    write_scene(tmp_path / "scenes", "20240109", built=0)
    late = make_line(lake, archive)
    assert renewed(late, "windows") == renewed(late, "window_embeddings") == {cell("20240109")}
    assert renewed(late, "changes") == {cell("20240109"), cell("20240116")}
    in_order = Lake(tmp_path / "in_order")
    make_line(in_order, archive)
    for stage in ("windows", "changes"):
        assert contents(lake, archive, stage) == contents(in_order, archive, stage)


@pytest.mark.slow
def test_with_history_a_late_scene_renews_as_many_changes_as_look_back_on_it(tmp_path):
    archive = scene_archive(tmp_path / "scenes", history=4)
    for day in (*DAYS[:1], *DAYS[2:]):
        write_scene(tmp_path / "scenes", day)
    lake = Lake(tmp_path / "lake")
    make_line(lake, archive)
    write_scene(tmp_path / "scenes", DAYS[1])
    late = make_line(lake, archive)
    # The next one had it before; the last two get a fourth earlier date, or another fourth.
    assert renewed(late, "changes") == {cell(DAYS[1]), cell(DAYS[2]), cell(DAYS[4]), cell(DAYS[5])}


@pytest.mark.slow
def test_what_comes_and_goes_every_week_is_no_change_to_its_history(tmp_path):
    archive = scene_archive(tmp_path / "scenes")
    # Fields that are bare every other week; then something is built.
    for number, day in enumerate(DAYS):
        write_scene(tmp_path / "scenes", day, built=2 if number == 5 else 0, seed=number % 2)
    lake = Lake(tmp_path / "lake")
    make_line(lake, archive)
    found = dict.fromkeys(DAYS, 0.0)
    for row in contents(lake, archive, "changes"):
        found[row["item"].removeprefix("farm_")] += row["area_m2"]
    assert found["20240109"] > 0  # one date tells nothing of what is usual
    assert found["20240130"] == 0
    assert found["20240206"] == pytest.approx(2 * 409_600, rel=0.3)


def test_a_scene_with_another_date_in_its_name_moves_to_the_cell_of_that(tmp_path):
    archive = scene_archive(tmp_path / "scenes")
    path = write_scene(tmp_path / "scenes", "20240102")
    lake = Lake(tmp_path / "lake")
    make_line(lake, archive)
    path.rename(path.with_name("farm_20240116.tif"))
    made = make_line(lake, archive)
    assert renewed(made, "windows") == {cell("20240116")}
    assert {row["item"] for row in contents(lake, archive, "windows")} == {"farm_20240116"}


def test_ground_without_data_on_a_date_is_neither_changed_nor_unchanged(tmp_path):
    archive = scene_archive(tmp_path / "scenes")
    write_scene(tmp_path / "scenes", "20240102", nodata=0)
    path = write_scene(tmp_path / "scenes", "20240109", built=1, nodata=0)
    import rasterio

    with rasterio.open(path, "r+") as file:
        pixels = file.read()
        pixels[:, :, 200:] = 0
        file.write(pixels)
    lake = Lake(tmp_path / "lake")
    made = make_line(lake, archive)
    scene = made["changes"][cell("20240109")].notes["scenes"][0]
    assert scene["unjudged_m2"] == pytest.approx(120 * 320 * 100, rel=0.01)
    assert scene["judged_m2"] == pytest.approx(200 * 320 * 100, rel=0.01)
    rows = contents(lake, archive, "changes")
    assert [row["area_m2"] for row in rows] == pytest.approx([409_600], rel=0.2)
    assert np.all([row["lon"] < 15.03 for row in rows])


def test_a_renamed_scene_and_a_copy_keep_their_vectors_under_their_own_names(tmp_path):
    archive = scene_archive(tmp_path / "scenes")
    write_scene(tmp_path / "scenes", "20240102")
    path = write_scene(tmp_path / "scenes", "20240109")
    lake = Lake(tmp_path / "lake")
    make_line(lake, archive)
    path.rename(path.with_name("farm_2024-01-09_final.tif"))
    copy = tmp_path / "scenes" / "copies" / "farm_20240102.tif"
    copy.parent.mkdir()
    copy.write_bytes((tmp_path / "scenes" / "farm_20240102.tif").read_bytes())
    made = make_line(lake, archive)
    assert not renewed(made, "window_embeddings")
    for stage in ("windows", "window_embeddings"):
        names = {row["item"] for row in contents(lake, archive, stage)}
        assert names == {"farm_20240102", "copies/farm_20240102", "farm_2024-01-09_final"}
    assert not window_faults(Work(lake, archive))
    scene = made["changes"][cell("20240109")].notes["scenes"][0]
    assert scene["judged_m2"] == pytest.approx(320 * 320 * 100, rel=0.01)


def test_cloud_cover_told_later_is_seen_by_the_next_run_and_embeds_nothing(tmp_path):
    archive = scene_archive(tmp_path / "scenes")
    for day in DAYS[:2]:
        write_scene(tmp_path / "scenes", day)
    lake = Lake(tmp_path / "lake")
    make_line(lake, archive)
    item = {"type": "Feature", "stac_version": "1.0.0", "properties": {"eo:cloud_cover": 80.0}}
    (tmp_path / "scenes" / f"farm_{DAYS[1]}.json").write_text(json.dumps(item))
    again = make_line(lake, archive)
    assert not {stage for stage in again if renewed(again, stage)}
    searcher = PlaceSearcher(Work(lake, archive))
    query = searcher.of_sample(searcher.rows.column("sample")[0].as_py())
    hits = searcher.search(query, k=2, where="cloud_cover > 50")
    assert {hit.item for hit in hits} == {f"farm_{DAYS[1]}"}


def test_files_of_one_moment_are_not_held_against_each_other(tmp_path):
    archive = scene_archive(tmp_path / "scenes", pattern="farm_%Y%m%d*")
    path = write_scene(tmp_path / "scenes", "20240102")
    path.rename(path.with_name("farm_20240102_B02.tif"))
    path = write_scene(tmp_path / "scenes", "20240102", built=2)
    path.rename(path.with_name("farm_20240102_B04.tif"))
    lake = Lake(tmp_path / "lake")
    made = make_line(lake, archive)
    assert all(not renewed(made, stage) for stage in ("changes",))
    assert not contents(lake, archive, "changes")


def test_a_lost_ledger_remembers_which_scenes_were_refused(tmp_path):
    archive = scene_archive(tmp_path / "scenes")
    write_scene(tmp_path / "scenes", "20240102")
    (tmp_path / "scenes" / "text_20240109.tif").write_text("no raster")
    lake = Lake(tmp_path / "lake")
    make_line(lake, archive)
    for file in (tmp_path / "lake").glob("ledger.sqlite*"):
        file.unlink()
    again = Lake(tmp_path / "lake")
    plans = plan_archive(Work(again, archive))
    assert not {name for name, plan in plans.items() if plan.due and not name.endswith("_report")}
    assert {item.path: bool(item.reason) for item in again.ledger.items("fields")} == {
        "farm_20240102.tif": False, "text_20240109.tif": True,
    }  # fmt: skip


def test_vectors_of_a_lake_from_before_a_column_was_kept_are_made_again(tmp_path):
    archive = scene_archive(tmp_path / "scenes")
    write_scene(tmp_path / "scenes", "20240102")
    lake = Lake(tmp_path / "lake")
    make_line(lake, archive)
    path = lake.path(Work(lake, archive).place("window_embeddings", cell("20240102")))
    told = pq.read_metadata(path).metadata | {shard_files._FINGERPRINT: b"older"}
    del told[b"ARROW:schema"]
    pq.write_table(pq.read_table(path).drop_columns("pixel_noise").replace_schema_metadata(told), path)
    made = make_line(lake, archive)
    assert renewed(made, "window_embeddings") == {cell("20240102")}
    assert any(row["pixel_noise"] for row in contents(lake, archive, "window_embeddings"))
