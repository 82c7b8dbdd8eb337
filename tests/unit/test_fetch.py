"""What lib.fetch decides without a network; tests/faults/test_fetching.py has the rest."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lib.datasets import Dataset, Licence
from lib.errors import CatalogError, LicenceError
from lib.fetch import fetch


def a_dataset(*, is_strict: bool = False, prepare: Callable[[Path], None] | None = None) -> Dataset:
    licence = Licence("Vows only", "http://x.org/vow", "A vow of silence.", needs_acknowledgement=is_strict)
    return Dataset(
        "toy",
        "video",
        "The Toy",
        licence,
        files=(),
        size_bytes=0,
        read_items=lambda _: iter(()),
        prepare=prepare,
    )


def test_a_root_of_the_users_own_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert fetch(a_dataset(is_strict=True), tmp_path / "dest", root=tmp_path / "mine") == tmp_path / "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_root_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"")
    for root in (tmp_path / "absent", tmp_path / "film.mp4"):
        with pytest.raises(CatalogError, match=f"`root` is {root}, which is no folder"):
            fetch(a_dataset(), tmp_path / "dest", root=root)


def test_a_root_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests may run as root, whom no file mode stops.
    monkeypatch.setattr("lib.fetch.os.access", lambda path, mode: path != tmp_path)
    with pytest.raises(CatalogError, match="read access"):
        fetch(a_dataset(), tmp_path / "dest", root=tmp_path)


def test_a_licence_says_what_it_asks_where_it_stands_and_how_to_agree(tmp_path: Path) -> None:
    with pytest.raises(LicenceError) as refused:
        fetch(a_dataset(is_strict=True), tmp_path / "dest")
    for part in ("The Toy", "A vow of silence.", "http://x.org/vow", "`acknowledge_licence = true`"):
        assert part in str(refused.value)
    assert fetch(a_dataset(is_strict=True), tmp_path / "dest", acknowledged=True) == tmp_path / "dest"


def test_a_file_that_another_process_takes_away_meanwhile_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = a_dataset(prepare=lambda root: (root / "film.mp4").touch())
    monkeypatch.setattr("lib.fetch.os.walk", lambda folder: [(str(folder), [], ["just.renamed"])])
    assert fetch(dataset, tmp_path / "dest") == tmp_path / "dest"


def test_what_a_dataset_makes_by_itself_is_made_once(tmp_path: Path) -> None:
    def prepare(root: Path) -> None:
        with (root / "film.mp4").open("ab") as stream:
            stream.write(b"made")

    for _ in range(2):
        fetch(a_dataset(prepare=prepare), tmp_path / "dest")
    assert (tmp_path / "dest" / "film.mp4").read_bytes() == b"made"


def test_a_making_that_broke_off_is_done_again(tmp_path: Path) -> None:
    def prepare(root: Path) -> None:
        (root / "half.mp4").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(a_dataset(prepare=prepare), tmp_path / "dest")
    fetch(a_dataset(prepare=lambda root: (root / "film.mp4").touch()), tmp_path / "dest")
    assert (tmp_path / "dest" / "film.mp4").exists()
