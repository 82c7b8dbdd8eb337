"""Lakes damaged, moved or locked from outside: a run mends them, and what is read says what to do."""

import ctypes
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from factories import make_video
from lakes import make_videos_line, rows_of, undisturbed, use_stand_in

from lib.catalog import Archive
from lib.compute import InlineCompute
from lib.errors import DamagedShardError, LakeError
from lib.lake import Lake
from lib.plan import plan_archive
from lib.sections import EmbeddingConfig
from lib.stages.centring import make_centring
from lib.stages.clip_index import CLIPS, make_clip_index
from lib.stages.clips import make_clips
from lib.stages.frames import make_frames
from lib.stages.items import make_items
from lib.stages.making import Work
from lib.stages.published_index import index_folder
from lib.stages.sources import register
from lib.stages.verify import index_faults


@pytest.fixture
def archive(tmp_path, monkeypatch) -> Archive:
    """Two made videos, not looked at yet."""
    use_stand_in(monkeypatch)
    root = tmp_path / "videos"
    root.mkdir()
    for number in range(2):
        make_video(root / f"v{number}.mp4", seconds=2, seed=number)
    embedding = EmbeddingConfig(backbone="efficientnet_lite0")
    return Archive(name="talks", kind="video", root=str(root), embedding=embedding)


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


def made(lake, archive, *, accept_empty=False):
    """The line from sources to index, stage by stage."""
    register(archive, lake, accept_empty=accept_empty)
    work = Work(lake, archive)
    facts = {"items": make_items(work, "s00000")} | make_frames(work, "s00000", InlineCompute())
    for stage, make in (("centring", make_centring), ("clip_index", make_clip_index)):
        facts[stage] = make(Work(lake, archive))
        if stage == "centring":
            facts["clips"] = make_clips(Work(lake, archive), "s00000")
    return facts


def thumbnails(lake, archive):
    return Work(lake, archive).rows("frames", "s00000", ["thumbnail"]).column("thumbnail").to_pylist()


def cut(path):
    path.write_bytes(path.read_bytes()[:1000])


def test_thumbnails_stay_when_files_and_vectors_go_at_once(lake, archive):
    made(lake, archive)
    before = thumbnails(lake, archive)
    cut(lake.path(Work(lake, archive).place("frame_embeddings", "s00000")))
    Path(archive.root, "v1.mp4").unlink()
    facts = made(lake, archive)
    assert thumbnails(lake, archive) == before[:2]
    assert (facts["frames"].kept, facts["frame_embeddings"].made) == (2, 2)


def test_a_truncated_shard_is_due_and_made_again(lake, archive):
    made(lake, archive)
    work = Work(lake, archive)
    path = lake.path(work.place("frame_embeddings", "s00000"))
    whole = work.rows("frame_embeddings", "s00000")
    cut(path)
    assert plan_archive(work)["frame_embeddings"].why == {"file damaged": 1}
    made(lake, archive)
    assert work.rows("frame_embeddings", "s00000").equals(whole)


def test_a_flipped_byte_in_a_shards_pages_is_found_at_reading_never_served_and_made_again(
    lake, archive, tmp_path
):
    made(lake, archive)
    place = Work(lake, archive).place("frame_embeddings", "s00000")
    path = lake.path(place)
    whole, rows = path.read_bytes(), lake.read(place)
    chance, found = random.Random(3), 0
    for at in chance.sample(range(len(whole) - int.from_bytes(whole[-8:-4], "little") - 8), 60):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
        try:
            # Of a page's header some bytes say nothing of its rows.
            assert lake.read(place).equals(rows)
        except DamagedShardError as error:
            assert "put aside; `dinolake run talks`" in str(error)
            assert not path.exists(), "what is damaged is served to no one else"
            found += 1
    assert found > 50
    path.write_bytes(whole[:8000] + bytes([whole[8000] ^ 1]) + whole[8001:])
    with pytest.raises(DamagedShardError):
        lake.read(place)
    assert plan_archive(Work(lake, archive))["frame_embeddings"].due == {"s00000"}
    make_videos_line(lake, archive)
    assert lake.read(place).equals(rows)
    assert rows_of(lake, archive) == undisturbed(tmp_path / "whole", archive)


def test_a_deleted_index_is_named_with_its_remedy_and_built_again(lake, archive):
    made(lake, archive)
    folder = index_folder(Work(lake, archive), "clip_index")
    shutil.rmtree(folder)
    with pytest.raises(LakeError, match="dinolake run talks"):
        index_folder(Work(lake, archive), "clip_index")
    make_video(Path(archive.root, "v2.mp4"), seconds=2, seed=2)
    assert made(lake, archive)["clip_index"].made == 3
    shutil.rmtree(index_folder(Work(lake, archive), "clip_index"))
    assert made(lake, archive)["clip_index"].made == 3


def test_an_archive_that_lost_all_its_files_has_no_index_and_no_fault(lake, archive):
    made(lake, archive)
    for name in ("v0.mp4", "v1.mp4"):
        Path(archive.root, name).unlink()
    made(lake, archive, accept_empty=True)
    assert index_folder(Work(lake, archive), "clip_index") is None
    assert index_faults(Work(lake, archive), CLIPS) == ([], {})


def without_roots_rights():
    """Root may write where it is told not to: the child gives that right up. No change for other users."""
    cap_dac_override, pr_capbset_drop = 1, 24
    ctypes.CDLL(None).prctl(pr_capbset_drop, cap_dac_override, 0, 0, 0)


def test_a_lake_that_may_only_be_read_is_read_and_says_so_when_it_is_to_be_written(lake, archive):
    register(archive, lake)
    make_items(Work(lake, archive), "s00000")
    for folder in (lake.root / "talks" / "items", lake.root / "talks", lake.root):
        for file in folder.iterdir():
            file.chmod(0o555 if file.is_dir() else 0o444)
        folder.chmod(0o555)
    code = (
        "import sys; from lib.lake import Lake, Place; from lib.errors import LakeError\n"
        "lake = Lake(sys.argv[1])\n"
        "print(len(lake.ledger.items('talks')), lake.read(Place('talks', 'items', 's00000')).num_rows)\n"
        "try:\n"
        "    with lake.lock(Place('talks', 'items', 's00000')): pass\n"
        "except LakeError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(lake.root)],
        capture_output=True, text=True, preexec_fn=without_roots_rights, env=os.environ,
    )  # fmt: skip
    lake.root.chmod(0o755)
    assert done.stdout.startswith("2 2\n"), done.stderr
    assert "write access" in done.stdout


def test_a_ledger_that_is_no_database_says_to_delete_it_and_is_rebuilt(lake, archive):
    register(archive, lake)
    make_items(Work(lake, archive), "s00000")
    before = Work(lake, archive).prints.of("items", "s00000")
    for file in lake.root.glob("ledger.sqlite*"):
        file.write_bytes(b"garbage " * 1000)
    with pytest.raises(LakeError, match="Delete it"):
        Lake(lake.root)
    for file in lake.root.glob("ledger.sqlite*"):
        file.unlink()
    again = Lake(lake.root)
    assert Work(again, archive).prints.of("items", "s00000") == before
    assert plan_archive(Work(again, archive))["items"].done == 1
