"""What is on disk after a save, a kill, a damage; what of it `open` accepts."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lib.errors import ContractMismatchError, IndexMissingError, LakeError
from lib.search import index as index_module
from lib.search import saved
from lib.search.index import VectorIndex
from lib.search.recall import check_publishable, held_queries


def vectors(rows: int = 2000, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((rows, 32))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)


def a_saved_index(folder: Path, *, kind: str = "ivf_sq8", seed: int = 0) -> VectorIndex:
    index = VectorIndex.build(vectors(seed=seed), contract="toy-32", kind=kind)
    index.save(folder)
    return index


@pytest.mark.parametrize("kind", ["exact", "ivf_sq8", "ivf_pq4"])
def test_an_opened_index_answers_as_the_one_that_was_saved(tmp_path, kind):
    index = VectorIndex.build(vectors(), contract="toy-32", kind=kind)
    index.add(vectors(50, seed=1))
    index.remove(np.array([3, 2010]))
    check_publishable(index, held_queries(vectors(), 50))
    index.save(tmp_path / "index")
    opened = VectorIndex.open(tmp_path / "index", contract="toy-32", verify=True)
    queries = held_queries(vectors(), 50, seed=2)
    assert opened.search(queries, k=10).ids.tolist() == index.search(queries, k=10).ids.tolist()
    assert (opened.kind, opened.recall, opened.alive) == (index.kind, index.recall, 2048)


def test_an_index_without_rows_can_be_saved_and_grows_once_opened(tmp_path):
    VectorIndex.build(np.empty((0, 32), np.float16), contract="toy-32").save(tmp_path / "index")
    opened = VectorIndex.open(tmp_path / "index")
    opened.add(vectors(5))
    assert opened.search(vectors(5).astype(np.float32), k=1).ids[:, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", ["exact", "ivf_sq8"])
@pytest.mark.parametrize("name", ["vectors.npy", "codes.faiss", "removed.npy", "index.json"])
def test_a_file_cut_short_is_a_clear_error(tmp_path, name, kind):
    a_saved_index(tmp_path / "index", kind=kind)
    path = tmp_path / "index" / name
    if not path.exists():
        assert (name, kind) == ("codes.faiss", "exact")
        return
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(LakeError, match="Build the index again"):
        VectorIndex.open(tmp_path / "index")


@pytest.mark.parametrize(
    ("name", "kind"), [("codes.faiss", "ivf_pq4"), ("removed.npy", "exact"), ("vectors.npy", "exact")]
)
def test_a_flipped_bit_in_a_file_read_whole_is_a_clear_error(tmp_path, name, kind):
    a_saved_index(tmp_path / "index", kind=kind)
    path = tmp_path / "index" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(LakeError, match=f"{name} is damaged"):
        VectorIndex.open(tmp_path / "index")


def test_a_flipped_bit_in_the_mapped_vectors_is_found_when_asked_to_verify(tmp_path):
    a_saved_index(tmp_path / "index")
    path = tmp_path / "index" / "vectors.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    VectorIndex.open(tmp_path / "index")
    with pytest.raises(LakeError, match=r"vectors.npy is damaged"):
        VectorIndex.open(tmp_path / "index", verify=True)


def test_an_index_of_another_format_is_refused(tmp_path):
    a_saved_index(tmp_path / "index")
    manifest = tmp_path / "index" / "index.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 3}))
    with pytest.raises(LakeError, match="reads formats 1 to 2"):
        VectorIndex.open(tmp_path / "index")


def test_another_contract_is_refused(tmp_path):
    a_saved_index(tmp_path / "index")
    with pytest.raises(ContractMismatchError, match=r"toy-32.*toy-64"):
        VectorIndex.open(tmp_path / "index", contract="toy-64")


def test_a_writer_killed_before_its_rename_leaves_the_former_index(tmp_path):
    folder = tmp_path / "index"
    a_saved_index(folder)
    a_saved_index(tmp_path / "newer", seed=1)
    (tmp_path / "newer").rename(tmp_path / "index_tmp")
    (tmp_path / "index_tmp" / "index.json").unlink()  # it comes last
    query = vectors()[:1].astype(np.float32)
    assert VectorIndex.open(folder).search(query, k=1).ids.tolist() == [[0]]
    shutil.rmtree(folder)
    with pytest.raises(IndexMissingError, match="no index"):
        VectorIndex.open(folder)


def test_a_save_clears_away_what_a_killed_one_left(tmp_path):
    (tmp_path / "index_tmp").mkdir()
    (tmp_path / "index_tmp" / "codes.faiss").write_bytes(b"half")
    a_saved_index(tmp_path / "index", kind="exact")
    assert sorted(p.name for p in tmp_path.rglob("*")) == [
        "index",
        "index.json",
        "removed.npy",
        "vectors.npy",
    ]


def test_a_writer_killed_between_its_renames_leaves_the_former_index(tmp_path):
    folder = tmp_path / "index"
    a_saved_index(folder)
    folder.rename(tmp_path / "index_old")
    (tmp_path / "index_tmp").mkdir()
    assert VectorIndex.open(folder).rows == 2000
    a_saved_index(folder, seed=1)
    assert VectorIndex.open(folder).search(vectors(seed=1)[7:8].astype(np.float32), k=1).ids.tolist() == [[7]]


def test_a_failed_save_leaves_the_former_index_and_no_rest(tmp_path, monkeypatch):
    index = a_saved_index(tmp_path / "index")
    index.add(vectors(10, seed=1))

    def fill_the_disk(path, first):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(index.store, "write", fill_the_disk)
    with pytest.raises(LakeError, match="No space left"):
        index.save(tmp_path / "index")
    assert [p.name for p in tmp_path.iterdir()] == ["index"]
    assert VectorIndex.open(tmp_path / "index").rows == 2000


def test_a_removal_is_saved_without_writing_vectors_or_codes_again(tmp_path):
    a_saved_index(tmp_path / "index")
    index = VectorIndex.open(tmp_path / "index")
    index.remove(np.array([1]))
    before = {name: (tmp_path / "index" / name).stat().st_ino for name in ("vectors.npy", "codes.faiss")}
    index.save(tmp_path / "index")
    assert {name: (tmp_path / "index" / name).stat().st_ino for name in before} == before
    assert VectorIndex.open(tmp_path / "index", verify=True).alive == 1999


def test_a_file_that_another_index_took_the_name_of_is_not_taken_for_ones_own(tmp_path):
    a_saved_index(tmp_path / "index")
    mine = VectorIndex.open(tmp_path / "index")
    a_saved_index(tmp_path / "index", seed=1)
    mine.remove(np.array([1]))
    mine.save(tmp_path / "mine")
    opened = VectorIndex.open(tmp_path / "mine", verify=True)
    assert opened.search(vectors()[:1].astype(np.float32), k=1).ids.tolist() == [[0]]


@pytest.mark.parametrize("kind", ["exact", "ivf_sq8", "ivf_pq4"])
def test_added_rows_become_a_file_of_their_own_and_the_others_are_not_written_again(tmp_path, kind):
    folder = tmp_path / "index"
    a_saved_index(folder, kind=kind)
    inodes = [(folder / "vectors.npy").stat().st_ino]
    for number in (1, 2):
        index = VectorIndex.open(folder)
        index.add(vectors(40, seed=number))
        index.save(folder)
        assert [(folder / name).stat().st_ino for name in saved.vector_files((0,) * number)] == inodes
        inodes.append((folder / f"vectors_{number}.npy").stat().st_ino)
    opened = VectorIndex.open(folder, verify=True)
    asked = np.concatenate([vectors()[:5], vectors(40, seed=1), vectors(40, seed=2)]).astype(np.float32)
    assert opened.search(asked, k=1).ids[:, 0].tolist() == [*range(5), *range(2000, 2080)]
    np.testing.assert_array_equal(opened.store.raw(np.arange(2040, 2080)), vectors(40, seed=2))


@pytest.mark.parametrize("added", [[700], [1] * saved.MOST_PARTS])
def test_too_many_added_rows_or_files_are_written_as_one(tmp_path, added):
    folder = tmp_path / "index"
    index = a_saved_index(folder)
    for seed, count in enumerate(added, 1):
        index.add(vectors(count, seed=seed))
        index.save(folder)
    assert sorted(path.name for path in folder.glob("vectors*")) == ["vectors.npy"]
    assert json.loads((folder / "index.json").read_text())["format"] == 1
    assert VectorIndex.open(folder, verify=True).rows == 2000 + sum(added)


def test_a_lost_file_of_the_former_state_makes_all_be_written_anew(tmp_path):
    folder = tmp_path / "index"
    index = a_saved_index(folder)
    index.add(vectors(40, seed=1))
    (folder / "vectors.npy").unlink()
    index.save(tmp_path / "next")
    opened = VectorIndex.open(tmp_path / "next", verify=True)
    assert opened.search(vectors(40, seed=1).astype(np.float32), k=1).ids[:, 0].tolist() == [
        *range(2000, 2040)
    ]
    assert not (tmp_path / "next" / "vectors_1.npy").exists()


@pytest.mark.parametrize("name", ["vectors.npy", "vectors_1.npy"])
def test_a_file_of_added_rows_that_is_gone_is_a_clear_error(tmp_path, name):
    index = a_saved_index(tmp_path / "index")
    index.add(vectors(40, seed=1))
    index.save(tmp_path / "index")
    (tmp_path / "index" / name).unlink()
    with pytest.raises(LakeError, match=f"{name} is missing"):
        VectorIndex.open(tmp_path / "index")


@pytest.mark.parametrize("during", ["checking the files", "mapping the vectors"])
def test_a_reader_in_the_middle_of_a_swap_reads_again(tmp_path, monkeypatch, during):
    a_saved_index(tmp_path / "index")
    newer = VectorIndex.build(vectors(seed=1), contract="toy-32", kind="ivf_sq8")
    owner, name = (
        (saved, "check_content") if during == "checking the files" else (index_module.VectorStore, "open")
    )
    read, swapped = getattr(owner, name), []

    def swap_after(*arguments):
        result = read(*arguments)
        if not swapped:
            swapped.append(True)
            newer.save(tmp_path / "index")
        return result

    monkeypatch.setattr(owner, name, swap_after)
    opened = VectorIndex.open(tmp_path / "index")
    assert opened.search(vectors(seed=1)[:1].astype(np.float32), k=1).scores[0, 0] == pytest.approx(
        1, abs=1e-5
    )
