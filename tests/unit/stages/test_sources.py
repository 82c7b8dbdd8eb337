"""Registering sources: every file is accounted for, and an item never changes shard."""

import os

import pytest

from lib.catalog import Archive
from lib.errors import CatalogError
from lib.lake import Lake
from lib.sections import EmbeddingConfig
from lib.stages.line import Fingerprints
from lib.stages.making import Work
from lib.stages.scan import scan
from lib.stages.sources import register


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    return folder


@pytest.fixture
def archive(root):
    embedding = EmbeddingConfig(backbone="efficientnet_lite0")
    return Archive(name="talks", kind="video", root=str(root), shard_items=2, embedding=embedding)


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def by_item(lake):
    return {item.item: item for item in lake.ledger.items("talks")}


def test_items_fill_the_last_shard_and_then_open_the_next(root, archive, lake):
    put(root, "a.mp4", "b.mp4", "c.mp4")
    assert register(archive, lake).shards == ("s00000", "s00001")
    put(root, "0_sorts_first.mp4", "d.mp4")
    register(archive, lake)
    shards = {item.item: item.shard for item in lake.ledger.items("talks")}
    assert shards == {"a": "s00000", "b": "s00000", "c": "s00001", "0_sorts_first": "s00001", "d": "s00002"}


def test_a_touched_file_changes_no_fingerprint(root, archive, lake):
    put(root, "a.mp4", "b.mp4")
    register(archive, lake)
    before = Fingerprints(lake, archive, Work(lake, archive).contract).of("items", "s00000")
    os.utime(root / "a.mp4", ns=(1, 1))
    register(archive, lake)
    assert Fingerprints(lake, archive, Work(lake, archive).contract).of("items", "s00000") == before


def test_other_bytes_under_the_same_name_change_what_is_decoded_and_a_label_does_not(root, archive, lake):
    put(root, "a.mp4")
    register(archive, lake)
    contract = Work(lake, archive).contract
    frames = Fingerprints(lake, archive, contract).of("frames", "s00000")
    labelled = lake.ledger.items("talks")[0].seen_as(label="cat")
    lake.ledger.write_items("talks", [labelled])
    assert Fingerprints(lake, archive, contract).of("frames", "s00000") == frames
    (root / "a.mp4").write_bytes(b"other")
    register(archive, lake)
    assert Fingerprints(lake, archive, contract).of("frames", "s00000") != frames


def test_a_removed_file_is_marked_keeps_its_shard_and_can_come_back(root, archive, lake):
    put(root, "a.mp4", "b.mp4")
    register(archive, lake)
    (root / "a.mp4").unlink()
    assert register(archive, lake).removed == 1
    assert lake.ledger.removed("talks") == {"a"}
    put(root, "a.mp4")
    register(archive, lake)
    assert not lake.ledger.removed("talks")
    assert by_item(lake)["a"].shard == "s00000"


def test_every_file_is_an_item_or_a_row_with_its_reason(root, archive, lake, tmp_path):
    put(root, "good.mp4", "notes.txt", "sound.mp3", "sub/no_ending", "a b,'c'\n\".mp4", "žluť.mkv")
    (root / "empty.mp4").touch()
    (root / "folder.mp4").mkdir()
    os.mkfifo(root / "pipe.mp4")
    (tmp_path / "secret.mp4").write_bytes(b"x")
    (root / "out.mp4").symlink_to(tmp_path / "secret.mp4")
    (root / "broken.mp4").symlink_to(root / "nowhere.mp4")
    (root / "loop").symlink_to(root)
    (root / os.fsdecode(b"\xff.mp4")).write_bytes(b"x")
    register(archive, lake)
    reasons = {item.path: item.reason for item in lake.ledger.items("talks")}
    assert {path for path, reason in reasons.items() if not reason} == {
        "good.mp4",
        "a b,'c'\n\".mp4",
        "žluť.mkv",
    }
    expected = {
        "notes.txt": "no video", "sound.mp3": "sound only", "sub/no_ending": "no ending",
        "empty.mp4": "0 bytes", "folder.mp4": "a folder", "pipe.mp4": "pipe", "out.mp4": "leads out",
        "broken.mp4": "broken link", "loop": "aren't followed", "\\xff.mp4": "UTF-8",
    }  # fmt: skip
    assert {path: part for path, part in expected.items() if part not in reasons.get(path, "")} == {}
    assert len(reasons) == 3 + len(expected)


def test_two_files_of_one_stem_are_two_items_and_control_characters_stay_out_of_ids(root, archive, lake):
    put(root, "a.mkv", "a.mp4", "x#y\n.mp4")
    register(archive, lake)
    assert {item.path: item.item for item in lake.ledger.items("talks")} == {
        "a.mkv": "a",
        "a.mp4": "a.mp4",
        "x#y\n.mp4": "x_y_",
    }


def test_a_folder_that_is_gone_or_suddenly_empty_removes_nothing(root, archive, lake):
    put(root, "a.mp4")
    register(archive, lake)
    (root / "a.mp4").unlink()
    with pytest.raises(CatalogError, match="--accept-empty"):
        register(archive, lake)
    root.rmdir()
    with pytest.raises(CatalogError, match="isn't there"):
        list(scan(root))
    assert not lake.ledger.removed("talks")


def test_shards_are_the_same_after_the_ledger_was_lost(root, archive, lake):
    from lib.stages.items import make_items

    put(root, "b.mp4", "c.mp4")
    register(archive, lake)
    put(root, "a.mp4")
    register(archive, lake)
    before = {item.item: item.shard for item in lake.ledger.items("talks")}
    for shard in lake.ledger.shards("talks"):
        make_items(Work(lake, archive), shard)
    for file in lake.root.glob("ledger.sqlite*"):
        file.unlink()
    again = Lake(lake.root)
    register(archive, again)
    assert {item.item: item.shard for item in again.ledger.items("talks")} == before
    assert before["a"] == "s00001"
