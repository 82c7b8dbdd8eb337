"""Which acquisitions one is held against, and which cell a day falls in."""

import json
from datetime import date

import pytest
import rasterio
from scenes import scene_archive, write_scene

from lib.ledger import LedgerItem
from lib.media import scene_facts
from lib.stages.acquisitions import Acquisition, acquisitions_of, compared_with
from lib.stages.placing import ScenePlacer, period_start
from lib.stages.placing import _bounds as bounds_of
from lib.tasks.change_dates import open_dates
from lib.tasks.change_history import against_history, beyond_usual


def scene(day: str, *, tile="a", bounds=(14.0, 48.0, 15.0, 49.0), reason="") -> LedgerItem:
    facts = json.dumps({"acquired": f"{day}T10:00:00Z", "bounds": bounds})
    return LedgerItem(
        f"{tile}{day}.tif", f"{tile}{day}", f"{tile}__2024-01-01", 0, 1, 1, "hash", reason, facts=facts
    )


def compared(items, day, history):
    tile = acquisitions_of(items, "a")
    one = next(a for a in tile if a.item == f"a{day}")
    return [a.item for a in compared_with(one, tile, history=history)]


def test_the_one_before_is_the_latest_that_overlaps_and_could_be_read():
    items = [
        scene("2024-01-20"), scene("2024-01-01"), scene("2024-01-10", bounds=(20.0, 48.0, 21.0, 49.0)),
        scene("2024-01-12", reason="cut short"), scene("2024-01-15", tile="b"),
    ]  # fmt: skip
    assert compared(items, "2024-01-20", 6) == ["a2024-01-01"]
    assert compared(items, "2024-01-01", 6) == []


@pytest.mark.parametrize(("history", "expected"), [(6, 4), (2, 2), (0, 1)])
def test_from_four_earlier_dates_on_as_many_as_are_wanted_are_looked_back_on(history, expected):
    items = [scene(f"2024-01-{day:02d}") for day in (1, 2, 3, 4, 5)]
    assert len(compared(items, "2024-01-05", history)) == expected
    assert len(compared(items, "2024-01-04", history)) == 1


def test_scenes_on_both_sides_of_the_180th_meridian_may_overlap():
    west, east = (
        Acquisition("", "", "", "", bounds)
        for bounds in ((179.0, 0.0, -179.0, 1.0), (-179.5, 0.0, -178.0, 1.0))
    )
    assert west.overlaps(east)
    assert not west.overlaps(Acquisition("", "", "", "", (-179.5, 2.0, -178.0, 3.0)))


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([(179, 0, 180, 1), (-180, 0, -178, 1)], [179, 0, -178, 1]),
        ([(10, 0, 180, 1), (-180, 0, -170, 1)], [10, 0, -170, 1]),
        ([(-10, 0, 180, 1), (-180, 0, -20, 1)], [-10, 0, -20, 1]),
        ([(0, -5, 180, 1), (-180, 0, 0, 1)], [-180, -5, 180, 1]),
        ([(-180, -90, 180, -80)], [-180, -90, 180, -80]),
        ([(10, 0, 11, 1), (12, 0, 13, 1)], [10, 0, 13, 1]),
    ],
    ids=["across", "wide", "most of the earth", "all around", "pole", "not across"],
)
def test_bounds_go_the_way_around_that_the_footprint_goes(boxes, expected):
    import shapely

    shape = shapely.MultiPolygon([shapely.box(*box) for box in boxes])
    assert bounds_of(shapely.to_wkb(shape)) == expected


@pytest.mark.parametrize("error", [ValueError("no such square"), ZeroDivisionError(), RuntimeError("no way")])
def test_a_scene_whose_place_no_library_understands_is_a_row_and_stops_no_other(tmp_path, monkeypatch, error):
    write_scene(tmp_path, "20240105")
    write_scene(tmp_path, "20240112", tile="odd")
    whole = scene_facts.probe_scene

    def probe(path, **more):
        if path.name.startswith("odd"):
            raise error
        return whole(path, **more)

    monkeypatch.setattr(scene_facts, "probe_scene", probe)
    placer = ScenePlacer(scene_archive(tmp_path), tmp_path, [])
    names = ("farm_20240105.tif", "odd_20240112.tif")
    good, bad = placer.look(dict.fromkeys(names), names).values()
    assert good.reason == "" and good.shard == "farm__2024-01-01"
    assert bad.reason.startswith("its place can't be understood: ") and bad.shard.startswith("unplaced__")


def test_dates_of_one_extent_across_the_180th_meridian_are_compared(tmp_path):
    paths = [write_scene(tmp_path, day, crs="EPSG:32760", left=818_000, top=8_120_000)
             for day in ("20240105", "20240112")]  # fmt: skip
    with open_dates(*paths) as dates:
        assert dates.view(0, 0, 320, 320)[2].all()


@pytest.mark.parametrize("west", [0, -180])
def test_a_scene_of_the_whole_earth_is_placed(tmp_path, west):
    degrees = rasterio.Affine(360 / 320, 0, west, 0, -0.5, 80)
    write_scene(tmp_path, "20240105", crs="EPSG:4326", transform=degrees)
    placer = ScenePlacer(scene_archive(tmp_path, tile_grid="fixed:360"), tmp_path, [])
    (look,) = placer.look({"farm_20240105.tif": None}, []).values()
    assert look.reason == ""
    assert json.loads(look.facts)["bounds"][:3:2] == [-180, 180]


def test_a_week_begins_on_monday_also_across_new_year():
    assert period_start(date(2024, 1, 1), "week") == "2024-01-01"
    assert period_start(date(2023, 12, 31), "week") == "2023-12-25"
    assert period_start(date(2024, 2, 29), "month") == "2024-02-01"


def test_a_cell_is_as_far_as_its_nearest_earlier_date_less_what_is_usual_for_it():
    import numpy as np

    nan = np.nan
    # Two cells, three earlier dates: distances of now to them, and among them.
    now = np.array([[[0.9, 0.8]], [[0.2, 0.7]], [[nan, 0.9]]])
    past = np.full((3, 3, 1, 2), nan)
    for a, b, value in ((0, 1, (0.1, 0.5)), (0, 2, (nan, 0.6)), (1, 2, (nan, 0.7))):
        past[a, b, 0] = past[b, a, 0] = value
    nearest, usual = against_history(now, past)
    assert nearest.tolist() == [[0.2, 0.7]]
    # The second cell's dates are .5, .5 and .6 from their nearest: the median is .5.
    assert usual.tolist() == [[0.1, 0.5]]
    # The tile's own usual is .3: the second cell is .2 more restless than that.
    assert beyond_usual(nearest, usual) == pytest.approx(np.array([[0.2, 0.5]]))
