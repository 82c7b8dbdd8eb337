"""STAC made and served by tests: items, a catalogue on disk, and a server on loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pystac
import pytest
import rasterio

from lib.stac import FetchedScene, fetch_scenes
from lib.stac_config import StacConfig

COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def tiff(path: Path, *, value: int = 7) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"crs": "EPSG:32612", "transform": rasterio.Affine(10, 0, 400_000, 0, -10, 4_500_000)}
    with rasterio.open(path, "w", driver="GTiff", count=1, height=8, width=8, dtype="uint8", **told) as file:
        file.write(np.full((1, 8, 8), value, np.uint8))
    return path


def item(name: str, *, day: int = 5, west: float = -112.5, **properties: Any) -> pystac.Item:
    bbox = [west, 40.0, west + 1, 41.0]
    corners = [(bbox[i], bbox[j]) for i, j in ((0, 1), (2, 1), (2, 3), (0, 3), (0, 1))]
    shape = {"type": "Polygon", "coordinates": [corners]}
    return pystac.Item(name, shape, bbox, datetime(2024, 1, day, tzinfo=UTC), properties)


def add_asset(of: pystac.Item, key: str, href: str, **extra: Any) -> pystac.Item:
    of.add_asset(key, pystac.Asset(href, media_type=COG, extra_fields=extra))
    return of


def write_catalogue(folder: Path) -> Path:
    """Two collections of one item each, written by pystac: `<collection>/<item>/` holds JSON and raster."""
    catalog = pystac.Catalog("all", "All of it")
    for number, name in enumerate(("north", "south")):
        extent = pystac.Extent(
            pystac.SpatialExtent([[-180, -90, 180, 90]]), pystac.TemporalExtent([[None, None]])
        )
        collection = pystac.Collection(name, name, extent)
        catalog.add_child(collection)
        made = add_asset(
            item(f"{name}_a", day=5 + 10 * number, west=-112.5 + 20 * number), "data", "./data.tif"
        )
        collection.add_item(made)
        tiff(folder / name / made.id / "data.tif", value=number + 1)
    catalog.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    return folder / "catalog.json"


def written(path: Path, of: pystac.Item) -> Path:
    """The item as JSON, with its hrefs left as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(of.to_dict(include_self_link=False, transform_hrefs=False)))
    return path


def fetched(href: str | Path, into: Path, **wanted: Any) -> list[FetchedScene]:
    return fetch_scenes(StacConfig(href=str(href), **wanted), into)


class Site(ThreadingHTTPServer):
    """Serves `answers` by path, and each POST by `pages` in turn; keeps what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.answers: dict[str, bytes] = {}
        self.pages: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.bodies: list[dict[str, Any]] = []


class Answers(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self._answer(self.server.answers.get(urlsplit(self.path).path))

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(json.dumps(self.server.pages.pop(0)).encode())

    def _answer(self, body: bytes | None) -> None:
        self.server.asked.append(f"{self.command} {urlsplit(self.path).path}")
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@contextmanager
def serving() -> Iterator[Site]:
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            site.shutdown()
            thread.join()


@contextmanager
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server in a thread, past any proxy; waits between attempts take no time."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("urllib3.util.retry.time.sleep", lambda _: None)
    monkeypatch.setattr("lib.download.sleep", lambda _: None)
    with serving() as site:
        yield site


def page_of(site: Site, *names: str, then: dict[str, Any] | None = None) -> dict[str, Any]:
    items = [add_asset(item(name), "visual", f"{site.url}/{name}.tif").to_dict(False) for name in names]
    links = [{"rel": "next", "href": f"{site.url}/search", "method": "POST", "body": then}] if then else []
    return {"type": "FeatureCollection", "features": items, "links": links}


def api(site: Site) -> None:
    core, search = "https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"
    landing = pystac.Catalog("api", "An API").to_dict(include_self_link=False)
    landing |= {"conformsTo": [core, search]}
    landing["links"] = [{"rel": "search", "href": "./search", "method": method} for method in ("GET", "POST")]
    site.answers["/"] = json.dumps(landing).encode()
