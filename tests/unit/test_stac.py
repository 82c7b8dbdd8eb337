"""STAC sources: catalogues on disk and served, and an API's search. The strange ones are in tests/faults."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac
import pytest
import rasterio
from pydantic import ValidationError
from stac_site import Site, add_asset, api, fetched, item, page_of, running, tiff, write_catalogue, written

from lib.catalog import Archive
from lib.errors import FetchError
from lib.forget import forget
from lib.lake import Lake
from lib.sections import EmbeddingConfig
from lib.stac import FetchedScene
from lib.stac_config import StacConfig
from lib.stac_items import find_items
from lib.stages.acquire import acquire


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with running(monkeypatch) as started:
        yield started


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    return write_catalogue(tmp_path / "catalogue")


def test_a_catalogue_on_disk_gives_each_items_raster_and_facts(catalogue: Path, tmp_path: Path) -> None:
    scenes = fetched(catalogue, tmp_path / "into")
    assert [(scene.id, scene.reason, scene.was_there) for scene in scenes] == [
        ("north_a", "", False),
        ("south_a", "", False),
    ]
    for number, scene in enumerate(scenes, 1):
        assert scene.path is not None and scene.item_path is not None
        with rasterio.open(scene.path) as file:
            assert int(file.read().max()) == number
        kept = pystac.Item.from_file(str(scene.item_path))
        assert (kept.id, kept.collection_id) == (scene.id, scene.id.split("_")[0])
        assert kept.datetime == datetime(2024, 1, 10 * number - 5, tzinfo=UTC)
        assert Path(kept.assets["data"].get_absolute_href() or "") == scene.path


def test_a_raster_on_disk_is_linked_and_a_changed_one_is_taken_again(catalogue: Path, tmp_path: Path) -> None:
    source = catalogue.parent / "north" / "north_a" / "data.tif"
    first, _ = fetched(catalogue, tmp_path / "into")
    assert first.path is not None and first.path.samefile(source)
    source.unlink()
    tiff(source, value=200)
    again, other = fetched(catalogue, tmp_path / "into")
    assert (again.was_there, other.was_there) == (False, True)
    assert first.path.samefile(source)


def test_collections_bbox_and_datetime_choose_the_items(catalogue: Path) -> None:
    def ids(**wanted: Any) -> list[str]:
        return [f.document["id"] for f in find_items(StacConfig(href=str(catalogue), **wanted)) if f.document]

    assert ids(collections=["south"]) == ["south_a"]
    assert ids(bbox=(-112.0, 40.5, -111.0, 42.0)) == ["north_a"]
    assert ids(bbox=(170.0, 40.0, -112.4, 41.0)) == ["north_a"]  # over the antimeridian
    assert ids(bbox=(-112.0, 42.0, -111.0, 43.0)) == []
    assert ids(datetime="2024-01-06/..") == ["south_a"]
    assert ids(datetime="../2024-01-05") == ["north_a"]
    assert ids(datetime="2024") == ["north_a", "south_a"]


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2024-02", "2024-02-01T00:00:00+00:00", "2024-02-29T23:59:59+00:00"),
        ("2023-12/2024-12", "2023-12-01T00:00:00+00:00", "2024-12-31T23:59:59+00:00"),
        ("2024-01-05T10:30:00+02:00", "2024-01-05T10:30:00+02:00", "2024-01-05T10:30:00+02:00"),
    ],
)
def test_a_date_means_all_of_it(text: str, start: str, end: str) -> None:
    span = StacConfig(href="x.json", datetime=text).span()
    assert [instant.isoformat() for instant in span if instant] == [start, end]


@pytest.mark.parametrize(
    "wrong",
    [
        {"datetime": "2024-13"},
        {"datetime": "../.."},
        {"datetime": "2024/2023"},
        {"bbox": (0, 50, 1, 40)},
        {"href": "s3://bucket/catalog.json"},
        {"href": "file:///etc/catalog.json"},
    ],
)
def test_what_cannot_be_meant_is_refused_in_the_catalog(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"it should|should be west"):
        StacConfig(**{"href": "catalog.json", **wrong})


def test_a_served_catalogue_is_downloaded_once(catalogue: Path, site: Site, tmp_path: Path) -> None:
    for path in catalogue.parent.rglob("*.*"):
        site.answers[f"/{path.relative_to(catalogue.parent)}"] = path.read_bytes()
    first = fetched(f"{site.url}/catalog.json", tmp_path / "into")
    assert [(scene.id, scene.reason, scene.was_there) for scene in first] == [
        ("north_a", "", False),
        ("south_a", "", False),
    ]
    assert first[0].path is not None
    assert first[0].path.read_bytes() == site.answers["/north/north_a/data.tif"]
    site.asked.clear()
    again = fetched(f"{site.url}/catalog.json", tmp_path / "into")
    assert all(scene.was_there for scene in again)
    assert not [asked for asked in site.asked if asked.startswith("GET") and asked.endswith(".tif")]
    # No `updated` and no checksum: the server's word for length is asked, and this one is another.
    site.answers["/north/north_a/data.tif"] += b"\0"
    assert [scene.was_there for scene in fetched(f"{site.url}/catalog.json", tmp_path / "into")] == [
        False,
        True,
    ]


def test_a_forgotten_scene_is_not_asked_for_again(catalogue: Path, site: Site, tmp_path: Path) -> None:
    for path in catalogue.parent.rglob("*.*"):
        site.answers[f"/{path.relative_to(catalogue.parent)}"] = path.read_bytes()
    archive = Archive(
        name="fields", kind="scene", stac=StacConfig(href=f"{site.url}/catalog.json"),
        embedding=EmbeddingConfig(backbone="random:vit_small_patch16_dinov3?seed=1", size_px=256),
    )  # fmt: skip
    lake = Lake(tmp_path / "lake")
    assert acquire(archive, lake).files == 2
    forget(lake, "fields", ["north_a.tif"])
    for _ in range(2):  # the first finds it there still, and deletes it
        site.asked.clear()
        assert acquire(archive, lake).files == 1
    assert [asked for asked in site.asked if asked.endswith(".tif")] == ["HEAD /south/south_a/data.tif"]
    assert not list((lake.root / "_sources").rglob("*north*"))


def test_an_items_updated_says_whether_its_raster_is_the_same(site: Site, tmp_path: Path) -> None:
    site.answers["/a.tif"] = tiff(tmp_path / "a.tif").read_bytes()

    def fetch(updated: str, cloud: int, token: str) -> FetchedScene:
        facts = {"updated": updated, "eo:cloud_cover": cloud}
        served = add_asset(item("a", **facts), "data", f"{site.url}/a.tif?token={token}")
        site.answers["/item.json"] = json.dumps(served.to_dict(include_self_link=False)).encode()
        site.asked.clear()
        (scene,) = fetched(f"{site.url}/item.json", tmp_path / "into")
        return scene

    assert not fetch("2024-02-01T00:00:00Z", 10, "one").was_there
    second = fetch("2024-02-01T00:00:00Z", 20, "two")
    assert second.was_there and site.asked == ["GET /item.json"]
    assert second.item_path is not None
    assert json.loads(second.item_path.read_text())["properties"]["eo:cloud_cover"] == 20
    assert "token" not in second.item_path.read_text()
    assert not fetch("2024-03-01T00:00:00Z", 20, "three").was_there


def test_an_apis_search_is_asked_for_what_is_wanted_page_by_page(site: Site, tmp_path: Path) -> None:
    api(site)
    for name in ("a", "b", "c"):
        site.answers[f"/{name}.tif"] = tiff(tmp_path / f"{name}.tif").read_bytes()
    site.pages = [page_of(site, "a", "b", then={"token": "next"}), page_of(site, "b", "c")]
    scenes = fetched(
        f"{site.url}/",
        tmp_path / "into",
        collections=["s2"],
        bbox=(-112.0, 40.0, -111.0, 41.0),
        datetime="2024-01/..",
    )
    assert [(scene.id, scene.reason) for scene in scenes] == [("a", ""), ("b", ""), ("c", "")]
    asked, following = site.bodies
    assert {key: asked[key] for key in ("collections", "bbox", "datetime")} == {
        "collections": ["s2"],
        "bbox": [-112.0, 40.0, -111.0, 41.0],
        "datetime": "2024-01-01T00:00:00Z/..",
    }
    assert following == {"token": "next"}


def test_more_items_than_may_be_are_refused_before_any_download(site: Site, tmp_path: Path) -> None:
    api(site)
    site.pages = [page_of(site, "a", "b", "c")]
    with pytest.raises(FetchError, match=r"more than 2 items .* raise `max_items`"):
        fetched(f"{site.url}/", tmp_path / "into", max_items=2)
    assert not [asked for asked in site.asked if asked.endswith(".tif")]


def test_the_asset_is_the_one_named_or_the_only_raster_or_visual(tmp_path: Path) -> None:
    for name in ("b1", "b2"):
        tiff(tmp_path / f"{name}.tif", value=int(name[1]))

    def value(*names: str, visual: bool = False, assets: tuple[str, ...] = ()) -> int | str:
        made = item("a")
        for name in names:
            add_asset(made, name, f"./{name}.tif")
        if visual:
            add_asset(made, "visual", "./b2.tif")
        made.add_asset("thumbnail", pystac.Asset("./t.png", media_type="image/png"))
        (scene,) = fetched(written(tmp_path / "item.json", made), tmp_path / "into", assets=assets)
        if scene.path is None:
            return scene.reason
        with rasterio.open(scene.path) as file:
            return int(file.read().max())

    assert value("b1") == 1
    assert value("b1", "b2", visual=True) == 2
    assert value("b1", "b2", visual=True, assets=("nir", "b1")) == 1
    assert (
        value("b1", "b2")
        == "has 2 GeoTIFFs among its assets: name one of them in `assets`: b1, b2, thumbnail"
    )
    assert str(value()).startswith("has no GeoTIFF among its assets")
    assert value("b1", assets=("nir",)) == "has no asset nir; it has: b1, thumbnail"
