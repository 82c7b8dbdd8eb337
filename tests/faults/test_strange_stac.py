"""STAC from strangers: hrefs that lead elsewhere, documents that are none, servers that lie or are gone."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from stac_site import (
    Site,
    add_asset,
    api,
    fetched,
    item,
    page_of,
    running,
    serving,
    tiff,
    write_catalogue,
    written,
)

from lib.errors import FetchError
from lib.stac_config import StacConfig
from lib.stac_items import find_items


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with running(monkeypatch) as started:
        yield started


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    return write_catalogue(tmp_path / "catalogue")


@pytest.mark.parametrize(
    "href",
    ["../secret.tif", "%2e%2e/secret.tif", "{outside}/secret.tif", "file://{outside}/secret.tif", "link.tif"],
)
def test_an_asset_outside_the_catalogues_folder_is_a_row_and_no_file(tmp_path: Path, href: str) -> None:
    tiff(tmp_path / "secret.tif")
    climbing = add_asset(item("climber"), "data", href.format(outside=tmp_path))
    path = written(tmp_path / "catalogue" / "item.json", climbing)
    (path.parent / "link.tif").symlink_to(tmp_path / "secret.tif")
    (scene,) = fetched(path, tmp_path / "into")
    assert "it leads out of the catalogue's folder" in scene.reason
    assert (scene.id, scene.path, list((tmp_path / "into").iterdir())) == ("climber", None, [])


def test_a_document_outside_the_folder_is_not_read_and_the_others_are(
    catalogue: Path, tmp_path: Path
) -> None:
    written(tmp_path / "stranger.json", add_asset(item("stranger"), "data", "./x.tif"))
    root = json.loads(catalogue.read_text())
    root["links"].insert(0, {"rel": "item", "href": "../stranger.json"})
    root["links"].insert(0, {"rel": "child", "href": "./catalog.json"})  # itself: read once
    root["links"].insert(0, {"rel": "child", "href": "./gone.json"})
    catalogue.write_text(json.dumps(root))
    scenes = fetched(catalogue, tmp_path / "into")
    assert {scene.id: scene.reason for scene in scenes if not scene.reason} == {"north_a": "", "south_a": ""}
    refused = [scene.reason for scene in scenes if scene.reason]
    assert len(refused) == 2
    assert any("out of the catalogue's folder" in reason for reason in refused)
    assert any("no such file" in reason for reason in refused)


@pytest.mark.parametrize("href", ["file:///etc/hostname", "s3://bucket/x.tif", "ftp://127.0.0.1/x.tif"])
def test_out_of_a_served_catalogue_only_http_is_followed(site: Site, tmp_path: Path, href: str) -> None:
    served = add_asset(item("served"), "data", href)
    site.answers["/item.json"] = json.dumps(served.to_dict(include_self_link=False)).encode()
    (scene,) = fetched(f"{site.url}/item.json", tmp_path / "into")
    assert "it is no http or https address" in scene.reason


def test_an_absolute_path_in_a_served_catalogue_is_one_of_its_server(site: Site, tmp_path: Path) -> None:
    local = tiff(tmp_path / "mine.tif")
    served = add_asset(item("served"), "data", str(local))
    site.answers["/item.json"] = json.dumps(served.to_dict(include_self_link=False)).encode()
    (scene,) = fetched(f"{site.url}/item.json", tmp_path / "into")
    assert "404" in scene.reason
    assert f"GET {local}" in site.asked


def test_a_wrong_checksum_is_a_row(site: Site, tmp_path: Path) -> None:
    site.answers["/a.tif"] = tiff(tmp_path / "a.tif").read_bytes()
    wrong = {"file:checksum": "1220" + "0" * 64}
    served = add_asset(item("a"), "data", "./a.tif", **wrong)
    site.answers["/item.json"] = json.dumps(served.to_dict(include_self_link=False)).encode()
    (scene,) = fetched(f"{site.url}/item.json", tmp_path / "into")
    assert "has the hash" in scene.reason and scene.path is None


def test_a_page_that_says_sorry_is_no_raster(site: Site, tmp_path: Path) -> None:
    site.answers["/a.tif"] = b"<html>Log in first</html>"
    served = add_asset(item("a"), "data", "./a.tif")
    site.answers["/item.json"] = json.dumps(served.to_dict(include_self_link=False)).encode()
    (scene,) = fetched(f"{site.url}/item.json", tmp_path / "into")
    assert "is no TIFF" in scene.reason
    assert list((tmp_path / "into").iterdir()) == []


def test_pages_that_turn_in_a_circle_end(site: Site) -> None:
    api(site)
    site.pages = [page_of(site, "a", then={"token": "a"})] * 9
    assert len(find_items(StacConfig(href=f"{site.url}/"))) == 1
    assert len(site.bodies) == 2


def test_a_next_page_on_disk_is_not_opened(site: Site, tmp_path: Path) -> None:
    api(site)
    (tmp_path / "page.json").write_text(json.dumps(page_of(site, "secret")))
    page = page_of(site, "a")
    page["links"] = [{"rel": "next", "href": (tmp_path / "page.json").as_uri()}]
    site.pages = [page]
    with pytest.raises(FetchError, match="can't be read"):
        find_items(StacConfig(href=f"{site.url}/"))


def test_ids_become_file_names_within_the_folder_and_never_one_for_two(tmp_path: Path) -> None:
    tiff(tmp_path / "a.tif")
    names = ("../../up", "..//..//up", "a:b", "x" * 300)
    features = [add_asset(item(name), "data", "./a.tif").to_dict(False, False) for name in names]
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    scenes = fetched(tmp_path / "items.json", tmp_path / "into")
    assert [scene.id for scene in scenes] == list(names)
    assert len({scene.path for scene in scenes}) == 4
    assert len(list((tmp_path / "into").iterdir())) == 8


def test_an_item_that_is_none_is_a_row(tmp_path: Path) -> None:
    tiff(tmp_path / "a.tif")
    good = add_asset(item("good"), "data", "./a.tif").to_dict(False, False)
    wrong = [
        good | {"id": "undated", "properties": {}},
        good | {"id": "bare", "assets": None},
        good | {"id": 7},
        "nothing",
    ]
    (tmp_path / "items.json").write_text(
        json.dumps({"type": "FeatureCollection", "features": [*wrong, good]})
    )
    *rows, last = fetched(tmp_path / "items.json", tmp_path / "into")
    assert len(rows) == 4 and all(row.reason and row.path is None for row in rows)
    assert (last.id, last.reason) == ("good", "")


def test_items_of_one_name_in_two_collections_are_not_mixed(tmp_path: Path) -> None:
    tiff(tmp_path / "a.tif")
    features = [
        add_asset(item("same"), "data", "./a.tif").to_dict(False, False) | {"collection": name}
        for name in ("one", "two")
    ]
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    first, second = fetched(tmp_path / "items.json", tmp_path / "into")
    assert first.reason == "" and "fetch their collections apart" in second.reason


def test_fetching_into_the_catalogues_own_folder_overwrites_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", add_asset(item("a"), "data", "./a.tif"))
    before = path.read_bytes(), tiff(tmp_path / "a.tif").read_bytes()
    (scene,) = fetched(path, tmp_path)
    assert "fetch into another folder" in scene.reason
    assert (path.read_bytes(), (tmp_path / "a.tif").read_bytes()) == before


def test_a_source_that_cannot_be_reached_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as gone:
        pass
    with pytest.raises(FetchError, match=r"can't be reached: .*Check the address and the network"):
        fetched(f"{gone.url}/catalog.json", tmp_path / "into")
    with pytest.raises(FetchError, match=r"no such file.*`href` should be"):
        fetched(tmp_path / "absent.json", tmp_path / "into")


def test_a_dead_host_of_rasters_ends_the_fetch_and_keeps_what_came(site: Site, tmp_path: Path) -> None:
    with serving() as gone:
        pass
    site.answers["/a.tif"] = tiff(tmp_path / "a.tif").read_bytes()
    hosts = [site.url, *[gone.url] * 4]
    features = [
        add_asset(item(f"i{n}"), "data", f"{host}/a.tif").to_dict(False) for n, host in enumerate(hosts)
    ]
    site.answers["/items.json"] = json.dumps({"type": "FeatureCollection", "features": features}).encode()
    with pytest.raises(FetchError, match=r"3 downloads failed one after the other.*i3\.tif"):
        fetched(f"{site.url}/items.json", tmp_path / "into")
    assert sorted(path.name for path in (tmp_path / "into").iterdir()) == ["i0.json", "i0.tif"]
