"""lib.download against a server that cuts, lies, loops and fails."""

import gzip
import hashlib
import json
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from loopback_site import CONTENT, ETAG, HASH, Handler, Site, in_turn, running, serve, status

import lib.download
from lib.datasets import RemoteFile
from lib.download import download
from lib.errors import FetchError


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with running(monkeypatch) as site:
        yield site


@pytest.fixture
def get(site: Site, tmp_path: Path) -> Callable[..., str]:
    """Download `/a.bin` to `a.bin`."""

    def get(sha256: str | None = HASH, **options: object) -> str:
        file = RemoteFile(site.url("/a.bin"), "a.bin", sha256=sha256)
        return download(file, file.url, tmp_path / "a.bin", **options)  # type: ignore[arg-type]

    return get


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_cut_download_goes_on_where_it_was_cut(site: Site, get: Callable[..., str], tmp_path: Path) -> None:
    site.answers["/a.bin"] = serve(cuts=[100_000, 50_000])
    assert get() == HASH
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert left_in(tmp_path) == ["a.bin"]
    assert site.asked == [("/a.bin", None), ("/a.bin", "bytes=100000-"), ("/a.bin", "bytes=150000-")]


def test_a_later_call_goes_on_where_the_last_gave_up(
    site: Site, get: Callable[..., str], tmp_path: Path
) -> None:
    site.answers["/a.bin"] = serve(cuts=[120_000, *[0] * 5])
    with pytest.raises(FetchError, match=r"120\.0 kB are kept: the same command goes on from there"):
        get()
    assert left_in(tmp_path) == ["a.bin.part", "a.bin.part.json"]
    site.asked.clear()
    get()
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert site.asked == [("/a.bin", "bytes=120000-")]


def test_a_file_that_changed_in_between_is_fetched_anew(
    site: Site, get: Callable[..., str], tmp_path: Path
) -> None:
    site.answers["/a.bin"] = serve(b"old" * 1000, etag='"old"', cuts=[1000, *[0] * 5])
    with pytest.raises(FetchError):
        get(None)
    site.answers["/a.bin"] = serve()
    assert get(None) == HASH
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_server_that_knows_no_ranges_is_read_from_the_start(
    site: Site, get: Callable[..., str], tmp_path: Path
) -> None:
    site.answers["/a.bin"] = serve(cuts=[100_000], has_ranges=False)
    assert get(None) == HASH
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_part_whose_version_is_unknown_is_not_built_upon(
    site: Site, get: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "a.bin.part").write_bytes(b"something else")
    site.answers["/a.bin"] = serve()
    assert get(None) == HASH
    assert site.asked == [("/a.bin", None)]


def test_a_weak_etag_does_not_vouch_for_bytes(site: Site, get: Callable[..., str]) -> None:
    site.answers["/a.bin"] = serve(etag='W/"1"', cuts=[100_000])
    assert get() == HASH
    assert site.asked == [("/a.bin", None), ("/a.bin", None)]


def test_a_whole_part_is_not_asked_for_again(site: Site, get: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    (tmp_path / "a.bin.part.json").write_text(json.dumps({"version": ETAG}))
    site.answers["/a.bin"] = serve()
    assert get() == HASH
    assert site.asked == [("/a.bin", f"bytes={len(CONTENT)}-")]


def test_a_part_longer_than_the_file_is_given_up(site: Site, get: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(CONTENT + b"more")
    (tmp_path / "a.bin.part.json").write_text(json.dumps({"version": ETAG}))
    site.answers["/a.bin"] = serve()
    assert get(None) == HASH
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_server_that_sends_another_piece_is_read_from_the_start(
    site: Site, get: Callable[..., str], tmp_path: Path
) -> None:
    wrong = status(206, Content_Range="bytes 0-299999/300000")
    site.answers["/a.bin"] = in_turn(serve(cuts=[100_000]), wrong, serve())
    get(None)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_file_comes_as_it_lies_there_and_not_as_a_server_would_wrap_it(
    site: Site, get: Callable[..., str], tmp_path: Path
) -> None:
    packed = gzip.compress(CONTENT)

    def wrap(handler: Handler) -> None:
        is_wanted = "gzip" in handler.headers.get("Accept-Encoding", "")
        serve(packed if is_wanted else CONTENT)(handler)

    site.answers["/a.bin"] = wrap
    get(None)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT

    # A .tgz that a server calls an encoding is to stay a .tgz.
    def mislabel(handler: Handler) -> None:
        status(200, Content_Length=str(len(packed)), Content_Encoding="gzip")(handler)
        handler.wfile.write(packed)

    site.answers["/a.bin"] = mislabel
    (tmp_path / "a.bin").unlink()
    get(None)
    assert (tmp_path / "a.bin").read_bytes() == packed


def test_a_body_shorter_than_its_length_is_never_taken_for_whole(
    site: Site, get: Callable[..., str], tmp_path: Path
) -> None:
    site.answers["/a.bin"] = serve(etag=None, cuts=[200_000] * 20)
    with pytest.raises(FetchError, match=r"can't be fetched .*mirror"):
        get(None)
    assert not (tmp_path / "a.bin").exists()


def test_a_body_without_length_or_hash_is_not_trusted(
    site: Site, get: Callable[..., str], tmp_path: Path
) -> None:
    site.answers["/a.bin"] = serve(has_length=False)
    with pytest.raises(FetchError, match="nothing could tell a whole file from half of it"):
        get(None)
    assert not (tmp_path / "a.bin").exists()
    assert get(HASH) == HASH


def test_a_wrong_hash_leaves_nothing(site: Site, get: Callable[..., str], tmp_path: Path) -> None:
    site.answers["/a.bin"] = serve(b"<html>please sign in</html>")
    with pytest.raises(FetchError, match=rf"not {HASH}: it was deleted\. It looks like a web page"):
        get()
    assert [name for name in left_in(tmp_path) if not name.endswith(".json")] == []


def test_an_md5_counts_where_nothing_better_is_known(site: Site, tmp_path: Path) -> None:
    site.answers["/a.bin"] = serve()
    file = RemoteFile(site.url("/a.bin"), "a.bin", md5=hashlib.md5(CONTENT).hexdigest())
    assert download(file, file.url, tmp_path / "a.bin") == HASH
    with pytest.raises(FetchError, match="it was deleted"):
        download(replace(file, md5="0" * 32), file.url, tmp_path / "b.bin")


def test_a_server_that_is_busy_for_a_while_is_asked_again(site: Site, get: Callable[..., str]) -> None:
    site.answers["/a.bin"] = in_turn(status(503, Retry_After="1"), status(429), status(500), serve())
    assert get() == HASH
    assert len(site.asked) == 4


def test_a_server_that_stays_broken_is_given_up(site: Site, get: Callable[..., str]) -> None:
    site.answers["/a.bin"] = status(502)
    with pytest.raises(FetchError, match="answers 502"):
        get()
    assert len(site.asked) == lib.download.ATTEMPTS


@pytest.mark.parametrize(
    ("code", "said"), [(404, "isn't there any more"), (403, "registration"), (401, "credentials")]
)
def test_what_asking_again_cannot_mend_is_asked_once(
    site: Site, get: Callable[..., str], tmp_path: Path, code: int, said: str
) -> None:
    site.answers["/a.bin"] = status(code)
    with pytest.raises(FetchError, match=rf"answers {code} .*{said}.*`mirror`.*`root`"):
        get()
    assert len(site.asked) == 1
    assert left_in(tmp_path) == []


def test_nobody_listening_is_one_clear_sentence(get: Callable[..., str], site: Site, tmp_path: Path) -> None:
    file = RemoteFile("http://127.0.0.1:9/a.bin", "a.bin")
    with pytest.raises(FetchError, match=r"a\.bin can't be fetched from http://127\.0\.0\.1:9/a\.bin"):
        download(file, file.url, tmp_path / "a.bin")


def test_a_redirect_loop_is_called_one(site: Site, get: Callable[..., str]) -> None:
    site.answers["/a.bin"] = status(302, Location="/b.bin")
    site.answers["/b.bin"] = status(302, Location="/a.bin")
    with pytest.raises(FetchError, match="looks like a loop"):
        get()
    assert len(site.asked) <= lib.download.MAX_REDIRECTS + 1


def test_a_redirect_is_followed(site: Site, get: Callable[..., str]) -> None:
    site.answers["/a.bin"] = status(302, Location="/b.bin")
    site.answers["/b.bin"] = serve()
    assert get() == HASH


@pytest.mark.parametrize("elsewhere", ["file:///etc/hostname", "ftp://127.0.0.1/a", "gopher://127.0.0.1/a"])
def test_only_http_is_followed(site: Site, get: Callable[..., str], tmp_path: Path, elsewhere: str) -> None:
    site.answers["/a.bin"] = status(302, Location=elsewhere)
    with pytest.raises(FetchError, match="no http or https"):
        get()
    with pytest.raises(FetchError, match="no http or https"):
        download(RemoteFile(elsewhere, "a"), elsewhere, tmp_path / "a")
    assert left_in(tmp_path) == []


def test_a_file_larger_than_the_disk_is_refused_by_its_length(
    site: Site, get: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.room.shutil.disk_usage", lambda _: SimpleNamespace(free=299_999))
    site.answers["/a.bin"] = serve()
    with pytest.raises(FetchError, match=r"a\.bin needs 300\.0 kB"):
        get()
    assert not (tmp_path / "a.bin.part").exists()


def test_progress_counts_up_to_the_length(site: Site, get: Callable[..., str]) -> None:
    site.answers["/a.bin"] = serve(cuts=[100_000])
    seen: list[tuple[str, int, int | None]] = []
    get(progress=lambda *told: seen.append(told))
    assert seen[-1] == ("a.bin", 300_000, 300_000)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert {total for _, _, total in seen} == {300_000}


@pytest.fixture
def untrusted_site(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The same over TLS, with a certificate that nobody vouches for."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    pem = tmp_path_factory.mktemp("tls") / "both.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [*make.split(), "-keyout", pem, "-out", pem.with_suffix(".crt")], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem.with_suffix(".crt"), pem)
    site.socket = context.wrap_socket(site.socket, server_side=True)
    site.scheme = "https"
    return site


def test_an_unverified_server_is_believed_only_where_a_hash_vouches(
    untrusted_site: Site, get: Callable[..., str], tmp_path: Path
) -> None:
    untrusted_site.answers["/a.bin"] = serve()
    with pytest.raises(FetchError, match=r"certificate of 127\.0\.0\.1 can't be verified"):
        get(None)
    assert untrusted_site.asked == []
    assert get(HASH) == HASH


def test_a_token_is_never_shown_to_an_unverified_server(
    untrusted_site: Site, get: Callable[..., str]
) -> None:
    untrusted_site.answers["/a.bin"] = serve()
    with pytest.raises(FetchError, match="certificate"):
        get(HASH, token="secret")
    assert untrusted_site.tokens == []
