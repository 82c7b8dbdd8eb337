"""lib.fetch and lib.download against a real HTTP server on loopback that cuts, lies, loops and fails."""

import hashlib
import io
import json
import re
import shutil
import ssl
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import lib.download
from lib.datasets import Dataset, Licence, RemoteFile
from lib.download import download
from lib.errors import FetchError
from lib.fetch import fetch

CONTENT = np.random.default_rng(0).bytes(300_000)
HASH = hashlib.sha256(CONTENT).hexdigest()
ETAG = f'"{HASH[:8]}"'


class Site(ThreadingHTTPServer):
    """Answers each path by a function of its own and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, Callable[[_Handler], None]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.tokens: list[str | None] = []
        self.scheme = "http"

    def url(self, path: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the game."""


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range")))
        self.server.tokens.append(self.headers.get("Authorization"))
        self.server.answers.get(self.path, status(404))(self)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


def status(code: int, **headers: str) -> Callable[[_Handler], None]:
    def answer(handler: _Handler) -> None:
        handler.send_response(code)
        for name, value in {"Content-Length": "0", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return answer


def serve(
    content: bytes = CONTENT,
    *,
    etag: str | None = ETAG,
    cuts: list[int] | None = None,
    has_ranges: bool = True,
    has_length: bool = True,
) -> Callable[[_Handler], None]:
    """Serve bytes; each number in `cuts` ends one answer after so many bytes, whatever its length said."""
    left = list(cuts or [])

    def answer(handler: _Handler) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        start = 0
        if asked and has_ranges and handler.headers.get("If-Range") in (None, etag):
            start = int(asked[1])
            if start >= len(content):
                return status(416, Content_Range=f"bytes */{len(content)}")(handler)
        body = content[start:]
        handler.send_response(206 if start else 200)
        if has_length:
            handler.send_header("Content-Length", str(len(body)))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if etag:
            handler.send_header("ETag", etag)
        handler.end_headers()
        handler.wfile.write(body[: left.pop(0)] if left else body)
        return None

    return answer


def in_turn(*answers: Callable[[_Handler], None]) -> Callable[[_Handler], None]:
    left = list(answers)
    return lambda handler: (left.pop(0) if len(left) > 1 else left[0])(handler)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(lib.download, "sleep", lambda _: None)
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        site.shutdown()
        thread.join()


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


def zipped(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return made.getvalue()


CLIPS = zipped({"clips/a.avi": b"clip a", "clips/b.avi": b"clip b"})


@pytest.fixture
def toy(site: Site) -> Dataset:
    """A dataset of an archive and a plain file, both served."""
    site.answers["/clips.zip"] = serve(CLIPS)
    site.answers["/labels.json"] = serve(b"{}")
    clips = RemoteFile(site.url("/clips.zip"), "clips.zip", sha256=hashlib.sha256(CLIPS).hexdigest())
    labels = RemoteFile(site.url("/labels.json"), "labels.json", unpack=False)
    licence = Licence("free", "http://127.0.0.1/licence", "Nothing.", needs_acknowledgement=False)
    return Dataset(
        "toy", "video", "A toy", licence, (clips, labels), size_bytes=10_000, read_items=lambda _: iter(())
    )


def test_a_dataset_is_fetched_once_and_its_archives_go(site: Site, toy: Dataset, tmp_path: Path) -> None:
    dest = tmp_path / "sources" / "toy"
    assert fetch(toy, dest) == dest
    found = sorted(path.relative_to(dest).as_posix() for path in dest.rglob("*") if path.is_file())
    assert found == ["clips/clips/a.avi", "clips/clips/b.avi", "labels.json"]
    work = tmp_path / "sources" / "_downloads" / "toy"
    assert left_in(work) == [".lock", "clips.zip.json", "labels.json.json"]
    assert json.loads((work / "labels.json.json").read_text())["sha256"] == hashlib.sha256(b"{}").hexdigest()
    site.asked.clear()
    assert fetch(toy, dest) == dest
    assert site.asked == []


def test_only_what_is_missing_is_fetched_again(site: Site, toy: Dataset, tmp_path: Path) -> None:
    fetch(toy, tmp_path / "toy")
    shutil.rmtree(tmp_path / "toy" / "clips")
    site.asked.clear()
    fetch(toy, tmp_path / "toy")
    assert [path for path, _ in site.asked] == ["/clips.zip"]
    assert (tmp_path / "toy" / "clips" / "clips" / "a.avi").exists()


def test_another_version_of_a_file_replaces_the_old_one(site: Site, toy: Dataset, tmp_path: Path) -> None:
    fetch(toy, tmp_path / "toy")
    newer = zipped({"clips/c.avi": b"clip c"})
    site.answers["/clips.zip"] = serve(newer)
    clips = replace(toy.files[0], sha256=hashlib.sha256(newer).hexdigest())
    fetch(replace(toy, files=(clips, toy.files[1])), tmp_path / "toy")
    assert [path.name for path in (tmp_path / "toy" / "clips" / "clips").iterdir()] == ["c.avi"]


def test_an_archive_that_could_not_be_unpacked_is_not_downloaded_again(
    site: Site, toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("lib.fetch.unpack", killed)
        fetch(toy, tmp_path / "toy")
    assert not (tmp_path / "toy").exists()
    site.asked.clear()
    fetch(toy, tmp_path / "toy")
    assert [path for path, _ in site.asked] == ["/labels.json"]
    assert (tmp_path / "toy" / "clips" / "clips" / "a.avi").exists()


def test_an_archive_that_reaches_out_of_its_folder_brings_nothing(
    site: Site, toy: Dataset, tmp_path: Path
) -> None:
    evil = zipped({"good.avi": b"good", "../../../evil.avi": b"evil"})
    site.answers["/clips.zip"] = serve(evil)
    clips = replace(toy.files[0], sha256=None)
    with pytest.raises(FetchError, match="leads out of the folder"):
        fetch(replace(toy, files=(clips,)), tmp_path / "deep" / "toy")
    assert [path.name for path in tmp_path.rglob("*.avi")] == []


def test_a_mirror_replaces_the_address_and_never_sees_the_token(
    site: Site, toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_TOKEN", "secret")
    toy = replace(
        toy, credentials="TOY_TOKEN", files=(replace(toy.files[0], url="http://127.0.0.1:9/clips.zip"),)
    )
    site.answers["/copy/clips.zip"] = site.answers["/clips.zip"]
    fetch(toy, tmp_path / "toy", mirror=site.url("/copy/"))
    assert site.asked == [("/copy/clips.zip", None)]
    assert site.tokens == [None]


def test_a_token_goes_with_the_request(
    site: Site, toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_TOKEN", "secret")
    fetch(replace(toy, credentials="TOY_TOKEN"), tmp_path / "toy")
    assert site.tokens == ["Bearer secret"] * 2


def test_two_fetches_at_once_download_once(site: Site, toy: Dataset, tmp_path: Path) -> None:
    both = [threading.Thread(target=fetch, args=(toy, tmp_path / "toy")) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert sorted(path for path, _ in site.asked) == ["/clips.zip", "/labels.json"]
    assert (tmp_path / "toy" / "labels.json").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size_bytes": 10**18}, "A toy needs 1000000000.0 GB"),
        ({"credentials": "DINOLAKE_NO_SUCH_TOKEN"}, "set DINOLAKE_NO_SUCH_TOKEN to yours"),
        ({"by_hand": "Ask for it by letter."}, "Ask for it by letter."),
        (
            {"licence": Licence("strict", "http://x.org", "A vow.", needs_acknowledgement=True)},
            "acknowledge_licence",
        ),
        ({"files": (RemoteFile("http://127.0.0.1/a.rar", "a.rar"),)}, "apt install unar"),
    ],
)
def test_what_is_refused_is_refused_before_the_first_byte(
    site: Site,
    toy: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
    said: str,
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Exception, match=said):
        fetch(replace(toy, **change), tmp_path / "toy")  # type: ignore[arg-type]
    assert site.asked == []
    assert left_in(tmp_path) == []
