"""lib.fetch against a server: what is fetched once, what again, and what is refused before the first byte."""

import hashlib
import io
import json
import shutil
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from loopback_site import Site, running, serve

from lib.datasets import Dataset, Licence, RemoteFile
from lib.errors import FetchError
from lib.fetch import fetch


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with running(monkeypatch) as site:
        yield site


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


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
