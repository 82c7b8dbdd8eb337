"""What a stranger's STAC document names is not fetched from this machine or a private network."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from loopback_site import running as running_loops
from loopback_site import status
from requests.adapters import HTTPAdapter
from stac_site import Site, add_asset, fetched, item, running, tiff, written

from lib.download import PrivateAddressError, PublicAddresses


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    with running(monkeypatch) as started:
        started.answers["/x.tif"] = tiff(tmp_path / "served.tif").read_bytes()
        yield started


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that a request would have gone to."""
    sent: list[str] = []

    def send(self: HTTPAdapter, request: requests.PreparedRequest, **settings: object) -> requests.Response:
        sent.append(request.url or "")
        answer = requests.Response()
        answer.status_code, answer.url, answer.request = 200, request.url or "", request
        return answer

    monkeypatch.setattr(HTTPAdapter, "send", send)
    return sent


def ask(url: str, home: str | None = None) -> None:
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, PublicAddresses(home))
        session.get(url)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "10.1.2.3", "172.16.0.9", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
     "[::1]", "[fc00::1]", "[fe80::1]", "[::ffff:127.0.0.1]", "2130706433", "localhost"],
)  # fmt: skip
def test_hosts_of_private_networks_are_not_asked_however_they_are_written(asked, host: str) -> None:
    with pytest.raises(PrivateAddressError, match="in no public network"):
        ask(f"http://{host}/latest/meta-data")
    assert asked == []


def test_public_hosts_and_the_catalogues_own_are_asked(asked) -> None:
    ask("http://8.8.8.8/x.tif")
    ask("http://10.1.2.3/x.tif", home="10.1.2.3")
    assert asked == ["http://8.8.8.8/x.tif", "http://10.1.2.3/x.tif"]


def test_a_redirect_into_a_private_network_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_loops(monkeypatch) as loops:
        there = loops.url("/secret").replace("127.0.0.1", "localhost")
        loops.answers["/start"] = status(302, Location=there)
        with pytest.raises(PrivateAddressError):
            ask(loops.url("/start"), home="127.0.0.1")
        assert [path for path, _ in loops.asked] == ["/start"]


def test_an_asset_on_this_machine_out_of_a_catalogue_on_disk_is_a_row_and_no_request(
    site: Site, tmp_path: Path
) -> None:
    path = written(tmp_path / "catalogue" / "item.json", add_asset(item("a"), "data", f"{site.url}/x.tif"))
    (scene,) = fetched(path, tmp_path / "into")
    assert "127.0.0.1" in scene.reason and "in no public network" in scene.reason
    assert (scene.path, site.asked) == (None, [])


def test_a_catalogue_that_the_user_named_may_lie_in_a_private_network_but_name_no_other(
    site: Site, tmp_path: Path
) -> None:
    elsewhere = site.url.replace("127.0.0.1", "localhost")
    for name, url in (("own", site.url), ("other", elsewhere)):
        document = add_asset(item(name), "data", f"{url}/x.tif").to_dict(include_self_link=False)
        site.answers[f"/{name}.json"] = json.dumps(document).encode()
    (own,) = fetched(f"{site.url}/own.json", tmp_path / "into")
    (other,) = fetched(f"{site.url}/other.json", tmp_path / "into")
    assert own.path is not None and other.path is None
    assert "in no public network" in other.reason


def test_a_lost_asset_is_not_answered_with_what_is_for_datasets(site: Site, tmp_path: Path) -> None:
    document = add_asset(item("gone"), "data", f"{site.url}/gone.tif").to_dict(include_self_link=False)
    site.answers["/gone.json"] = json.dumps(document).encode()
    (scene,) = fetched(f"{site.url}/gone.json", tmp_path / "into")
    assert "404" in scene.reason and "bbox" in scene.reason and "mirror" not in scene.reason
