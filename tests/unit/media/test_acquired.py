"""When a scene was taken and of which tile it is, by each source that tells."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lib.errors import CatalogError, UnreadableMediaError
from lib.media.acquired import acquisition_of, check_pattern, require_past, tile_name


def told(
    folder: Path, name: str, *, tags: dict[str, str] | None = None, pattern: str = ""
) -> tuple[str, str]:
    found = acquisition_of(folder / f"{name}.tif", tags or {}, pattern=pattern)
    return require_past(found).strftime("%Y-%m-%d %H:%M:%S"), found.tile


@pytest.mark.parametrize(
    ("name", "acquired", "tile", "platform"),
    [
        ("S2A_MSIL2A_20240105T105421_N0510_R051_T31UFU_20240105T143812", "2024-01-05 10:54:21", "T31UFU",
         "sentinel-2a"),
        ("T31UFU_20240105T105421_B04_10m", "2024-01-05 10:54:21", "T31UFU", ""),
        ("L2A_T31UFU_20170105T105421_TCI_10m", "2017-01-05 10:54:21", "T31UFU", ""),
        ("S2B_4QFJ_20240105_0_L2A", "2024-01-05 00:00:00", "T04QFJ", "sentinel-2b"),
        # The first date is when it was made.
        ("S2A_OPER_PRD_MSIL1C_PDMC_20160607T034128_R051_V20151231T105421_20151231T105421",
         "2015-12-31 10:54:21", "", "sentinel-2a"),
        ("LC08_L2SP_199026_20240105_20240113_02_T1_SR_B4", "2024-01-05 00:00:00", "199026", "landsat-8"),
        # Day 5 of 2014.
        ("LE71990262014005ASN00", "2014-01-05 00:00:00", "199026", "landsat-7"),
        ("HLS.S30.T31UFU.2024036T105421.v2.0.B04", "2024-02-05 00:00:00", "T31UFU", ""),
        ("lakeshore_20240105", "2024-01-05 00:00:00", "lakeshore", ""),
        ("lake-shore.2-2024-01-05_final", "2024-01-05 00:00:00", "lake-shore.2", ""),
        ("20240105", "2024-01-05 00:00:00", "", ""),
        ("2024-01-05", "2024-01-05 00:00:00", "", ""),
    ],
)  # fmt: skip
def test_a_name_tells_date_tile_and_platform(tmp_path, name, acquired, tile, platform):
    assert told(tmp_path, name) == (acquired, tile)
    assert acquisition_of(tmp_path / f"{name}.tif", {}).platform == platform


@pytest.mark.parametrize(
    ("tags", "acquired"),
    [
        ({"TIFFTAG_DATETIME": "2022:01:17 10:43:43"}, "2022-01-17 10:43:43"),
        ({"ACQUISITIONDATETIME": "2022-01-17 10:43:43"}, "2022-01-17 10:43:43"),
        ({"acquired": "2022-01-17T10:43:43.125+02:00"}, "2022-01-17 08:43:43"),
        ({"DATE_ACQUIRED": "2022-01-17", "SCENE_CENTER_TIME": "10:43:43.1234567Z"}, "2022-01-17 10:43:43"),
        ({"DATE_ACQUIRED": "2022-01-17"}, "2022-01-17 00:00:00"),
        ({"SENSING_TIME": "2022-01-17T10:43:43.1Z; 2022-01-17T10:43:57.2Z"}, "2022-01-17 10:43:43"),
        ({"datetime": "2022-01-17T10:43:43Z"}, "2022-01-17 10:43:43"),
    ],
)
def test_tags_tell_the_date(tmp_path, tags, acquired):
    assert told(tmp_path, "scene", tags=tags)[0] == acquired


def stac(folder: Path, name: str, **properties) -> None:
    item = {"type": "Feature", "stac_version": "1.0.0", "id": name, "properties": properties}
    (folder / f"{name}.json").write_text(json.dumps(item))


@pytest.mark.parametrize(
    ("properties", "tile"),
    [
        ({"grid:code": "MGRS-31UFU"}, "T31UFU"),
        ({"mgrs:utm_zone": 4, "mgrs:latitude_band": "Q", "mgrs:grid_square": "FJ"}, "T04QFJ"),
        ({"s2:mgrs_tile": "31UFU"}, "T31UFU"),
        ({"landsat:wrs_path": "199", "landsat:wrs_row": 26}, "199026"),
        ({"grid:code": "WRS2-199026"}, "199026"),
        ({}, "lake"),
    ],
)
def test_a_stac_item_beside_the_file_tells_more_than_its_name(tmp_path, properties, tile):
    told_by_item = {"datetime": None, "start_datetime": "2023-05-06T07:08:09Z", "platform": "sentinel-2b"}
    stac(tmp_path, "lake_20240105", **told_by_item, **properties, **{"eo:cloud_cover": 12.5})
    facts = acquisition_of(tmp_path / "lake_20240105.tif", {"platform": "unknown", "CLOUD_COVER": "99"})
    assert facts.acquired == datetime(2023, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert (facts.tile, facts.platform, facts.cloud_cover) == (tile, "sentinel-2b", 12.5)


def test_what_is_no_stac_item_is_passed_over_and_an_item_with_no_date_in_its_date_is_an_error(tmp_path):
    path = tmp_path / "lake_20240105.tif"
    for text in (
        "",
        "{",
        '{"type": "Feature", "properties": {"datetime": "2020-01-01"}}',
        "[" * 100_000,
        "[1]",
    ):
        path.with_suffix(".json").write_text(text)
        assert told(tmp_path, path.stem)[0] == "2024-01-05 00:00:00"
    stac(tmp_path, "lake_20240105", datetime="last spring")
    with pytest.raises(UnreadableMediaError, match=r"'last spring': mend lake_20240105\.json"):
        acquisition_of(path, {})


def test_sources_are_believed_in_order(tmp_path):
    name, made = "x2020_lake_20240105", {"TIFFTAG_DATETIME": "2022:01:17 10:43:43"}
    assert told(tmp_path, name, tags=made)[0][:4] == "2024"  # when a file was made is the last to be asked
    assert told(tmp_path, name, tags=made | {"acquired": "2021-01-01"})[0][:4] == "2021"
    stac(tmp_path, name, datetime="2023-01-01T00:00:00Z")
    assert told(tmp_path, name, tags=made | {"acquired": "2021-01-01"})[0][:4] == "2023"
    assert told(tmp_path, name, pattern="x%Y_*")[0][:4] == "2020"


@pytest.mark.parametrize(
    ("pattern", "name", "wanted"),
    [
        ("{tile}_%Y%m%d", "north_field_20240105", ("2024-01-05 00:00:00", "north_field")),
        ("%Y", "1985", ("1985-01-01 00:00:00", "")),
        ("%Y%m", "198503", ("1985-03-01 00:00:00", "")),
        ("*-%j-%y_{tile}", "ab-036-24_north", ("2024-02-05 00:00:00", "north")),
        ("%d.%m.%Y %Hh%Mm%S*", "05.01.2024 10h54m21 z", ("2024-01-05 10:54:21", "")),
        # What precedes the date was named as anything, and is no tile.
        ("*_%Y%m%d", "lake_20240105", ("2024-01-05 00:00:00", "")),
        # It doesn't fit, so it says nothing.
        ("{tile}-%Y", "lake_20240105", ("2024-01-05 00:00:00", "lake")),
    ],
)
def test_a_pattern_is_held_against_the_name(tmp_path, pattern, name, wanted):
    assert told(tmp_path, name, pattern=pattern) == wanted


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("{tile}", "needs a year"), ("%Y%y", "needs a year"), ("%Y%q", "%q is not known"),
        ("%Y%", "not known"),
        ("%Y_%d", "%d says nothing without %m"), ("%Y_%H", "%H says nothing"), ("%Y%Y", "twice"),
        ("{tile}{tile}%Y", "twice"), ("{date}_%Y", "{ can't stand"), ("a/%Y", "/ can't stand"),
        ("%Y%j%m", "no place beside it"),
    ],
)  # fmt: skip
def test_a_pattern_that_can_tell_no_date_is_refused_with_the_reason(pattern, why):
    with pytest.raises(CatalogError) as raised:
        check_pattern(pattern)
    assert why in str(raised.value) and repr(pattern) in str(raised.value)


@pytest.mark.parametrize(
    "name", ["scene", "plot_20241345", "S2A_OPER_MSI_L1C_TL_EPA__20160605T113933_A000734"]
)
def test_without_a_date_the_reason_says_how_to_give_one(tmp_path, name):
    with pytest.raises(
        UnreadableMediaError, match=r"give `pattern` in the catalog entry, as \{tile\}_%Y%m%d"
    ):
        told(tmp_path, name, tags={"acquired": "0001-01-01T00:00:00Z"})


def test_a_date_yet_to_come_is_refused_and_one_of_today_is_not(tmp_path):
    today = datetime.now(UTC)
    assert told(tmp_path, f"lake_{today:%Y%m%d}")[1] == "lake"
    with pytest.raises(UnreadableMediaError, match="from its name, is yet to come"):
        told(tmp_path, f"lake_{today + timedelta(days=3):%Y%m%d}")


def test_tiles_names_are_fit_for_files_and_keys_and_never_fall_together():
    raw = [
        "T31UFU",
        "a b",
        "a_b",
        "a__b",
        "a/b",
        "Zürich",
        "Zurich",
        "..",
        "...",
        "湖",
        "河",
        "_a",
        "a" * 300,
        "a" * 301,
    ]
    named = [tile_name(name) for name in raw]
    assert named[:3:2] == ["T31UFU", "a_b"] and named[5].startswith("Zurich-") and len(set(named)) == len(raw)
    for name in named:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")
        assert "__" not in name and ".." not in name and name[0] not in "._-" and len(name) < 100
