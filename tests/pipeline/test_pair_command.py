"""Pairs by the command line: rows counted, a picture without GPS placed, wrong requests in a sentence."""

import json

import pytest
from pairs import write_table, write_views
from place import Place


@pytest.fixture(scope="module")
def towns(tmp_path_factory):
    """Twenty-four places with coordinates, two rows that won't do; run once."""
    place = Place(tmp_path_factory.mktemp("towns"))
    rows = []
    for number in range(24):
        left, right = write_views(place.folder / "views", number)
        split = "train" if number < 16 else "test"
        rows.append({"street": left, "right": right, "split": split, "lon": 10 + number / 100, "lat": 50.5})
    rows += [rows[0] | {"street": "gone.png"}, rows[1] | {"right": ""}]
    table = write_table(
        place.folder / "views" / "pairs.csv", rows, ("street", "right", "split", "lon", "lat")
    )
    done = place.call(
        "add", "towns", "pair", str(table), "--map", "street=left", "--backbone", "efficientnet_lite0"
    )
    assert done.returncode == 0, done.stderr
    assert "column 'street', pictures, turned" in done.stderr
    return place, place.json("run", "towns")


def test_every_row_is_made_or_refused_and_the_report_stands(towns):
    place, told = towns
    items = told["stages"]["items"]
    assert (items["made"], items["kept"], items["rejected"]) == (24, 0, 2)
    assert told["stages"]["left_embeddings"]["made"] == 24
    report = json.loads((place.lake / "towns" / "retrieval_report" / "report.json").read_text())
    assert {(m["task"], m["n"]) for m in report["metrics"]} == {("left → right", 8), ("right → left", 8)}


def test_a_picture_finds_where_it_was_taken_and_a_map_of_its_guesses(towns):
    place, _ = towns
    geo = place.folder / "best.geojson"
    picture = place.folder / "views" / "day_003.png"
    found = place.json("search", "towns", "--image", str(picture), "-k", "3", "--geo", str(geo))
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3]
    # Trained on, so it is found; and it is the picture itself that is looked at, not its name.
    assert found["hits"][0]["path"].endswith("night_003.png")
    assert (found["hits"][0]["lon"], found["hits"][0]["lat"]) == (10.03, 50.5)
    points = json.loads(geo.read_text())["features"]
    assert points[0]["geometry"]["coordinates"] == [10.03, 50.5]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("--text", "a town"), "can't be asked with a text"),
        (("--image", "x.png"), "is no file"),
        (("--at", "10,50"), "give one of --image, --text and --item"),
        (("--item", "day_999"), "no pair 'day_999'"),
        (("--item", "day_003", "--to", "text"), "no side of 'towns' is text"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_status_2(towns, asked, says):
    place, _ = towns
    done = place.call("search", "towns", *asked)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
