"""Scenes by the command line: refused files have a row, places and land cover come out as files that open."""

import json

import geopandas
import pytest
import rasterio
from place import Place
from scenes import write_scene


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    """Three weeks of a farm, and three files that are none; run once."""
    place = Place(tmp_path_factory.mktemp("farm"))
    root = place.folder / "scenes"
    root.mkdir()
    for day, built in (("20240102", 0), ("20240109", 0), ("20240116", 2)):
        write_scene(root, day, built=built)
    write_scene(root, "20240116", tile="undated").rename(root / "undated.tif")
    (root / "text.tif").write_text("no raster at all")
    whole = write_scene(root, "20240123").read_bytes()
    (root / "farm_20240123.tif").write_bytes(whole[: len(whole) // 2])
    done = place.call("add", "farm", "scene", str(root), "--backbone", "efficientnet_lite0")
    assert done.returncode == 0, done.stderr
    return place, place.json("run", "farm")


def test_every_file_is_made_or_refused_with_its_reason_and_the_run_ends_well(farm):
    place, told = farm
    items = told["stages"]["items"]
    assert (items["made"], items["kept"], items["rejected"]) == (3, 0, 3)
    import pyarrow.parquet as pq

    rows = [
        row
        for file in (place.lake / "farm" / "items").glob("*.parquet")
        for row in pq.read_table(file).to_pylist()
    ]
    reasons = {row["path"]: row["verdict"] for row in rows if row["verdict"] != "ok"}
    assert "pattern" in reasons["undated.tif"]
    assert "no GeoTIFF" in reasons["text.tif"]
    assert "cut short" in reasons["farm_20240123.tif"]
    assert told["stages"]["changes"]["made"] == 2


def test_a_second_run_says_that_there_is_nothing_to_do(farm):
    place, _ = farm
    again = place.json("run", "farm")["stages"]
    assert not {name: counted for name, counted in again.items() if counted["made"]}
    plan = place.json("plan", "farm")[0]["stages"]
    assert not {name for name, counted in plan.items() if counted["stale"] or counted["missing"]}


def test_places_have_coordinates_and_a_map(farm):
    place, _ = farm
    geo = place.folder / "hits.geojson"
    at = f"{15.0 + 0.01},{48.7417 - 0.005}"
    told = place.json("search", "farm", "--at", at, "-k", "2", "--geo", str(geo))
    assert [hit["rank"] for hit in told["hits"]] == [1, 2]
    assert all(15.0 < hit["lon"] < 15.05 and 48.6 < hit["lat"] < 48.8 for hit in told["hits"])
    frame = geopandas.read_file(geo)
    assert list(frame["rank"]) == [1, 2]
    assert frame.geometry.is_valid.all()


def test_a_place_that_no_window_holds_is_one_sentence(farm):
    place, _ = farm
    done = place.call("search", "farm", "--at", "0,0")
    assert done.returncode == 2
    assert "The nearest that it has is 15.0" in done.stderr
    done = place.call("search", "farm", "--video", str(place.folder / "catalog.toml"))
    assert done.returncode == 2
    assert "--at" in done.stderr


def test_land_cover_is_a_map_with_names_and_an_accuracy_in_blocks(farm):
    place, _ = farm
    # The two blocks that were built, and ground beside them, in metres of the scenes' own CRS.
    boxes = [("built", 500, 600), ("built", 1700, 600), ("bare", 500, 2000), ("bare", 1700, 2000)]
    outlines = [
        {
            "type": "Feature",
            "properties": {"class": name},
            "geometry": {
                "type": "Polygon",
                "coordinates": [_lonlat(left, top, 640)],
            },
        }
        for name, left, top in boxes
    ]
    labels = place.folder / "labels.geojson"
    labels.write_text(json.dumps({"type": "FeatureCollection", "features": outlines}))
    out = place.folder / "cover.tif"
    told = place.json("land-cover", "farm", "--labels", str(labels), "-o", str(out))
    assert told["classes"] == ["bare", "built"]
    assert told["accuracy"]["random"]["ours"] > 0.9
    # All four lie within the width of one window: there is no block of ground to hold out.
    assert told["accuracy"]["spatial"]["ours"] is None
    assert "nothing could be held out" in told["accuracy"]["spatial"]["note"]
    # 320 x 320 px of 10 m, less the outermost cells of 16 px, whose surroundings aren't known: 18 x 18 cells.
    assert sum(told["areas_ha"].values()) == pytest.approx(18 * 18 * 2.56, rel=0.01)
    with rasterio.open(out) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert [file.tags(1)[f"class_{n}"] for n in (1, 2)] == ["bare", "built"]
        assert file.descriptions == ("class", "confidence")
        # A pixel a cell of 16 px; the middle of the first built block is built.
        classes = file.read(1)
    assert classes[(600 + 320) // 160, (500 + 320) // 160] == 2


def _lonlat(left: float, top: float, side: float) -> list[list[float]]:
    from pyproj import Transformer

    to_degrees = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    corners = [(0, 0), (0, -side), (side, -side), (side, 0), (0, 0)]
    return [list(to_degrees.transform(500_000 + left + x, 5_400_000 - top + y)) for x, y in corners]


def test_a_map_does_not_overwrite_the_labels_that_it_is_made_by(farm):
    place, _ = farm
    labels = place.folder / "fields.json"
    labels.write_text('{"type": "FeatureCollection", "features": []}')
    done = place.call("land-cover", "farm", "--labels", str(labels), "-o", str(place.folder / "fields.tif"))
    assert done.returncode == 2
    assert labels.read_text().startswith('{"type": "FeatureCollection"')
