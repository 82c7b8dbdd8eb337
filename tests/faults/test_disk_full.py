"""A disk with no room left, and one that may only be read: mounted for real, where that is allowed."""

import errno
import subprocess

import pytest
from factories import make_video
from lakes import make_videos_line, rows_of, undisturbed, use_stand_in

from lib.catalog import Archive
from lib.errors import LakeError
from lib.lake import Lake
from lib.retrying import causes
from lib.sections import EmbeddingConfig
from lib.stages.making import Work

MOUNT_BYTES = 8 << 20


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own: its folder."""
    folder = tmp_path / "disk"
    folder.mkdir()
    told = ["mount", "-t", "tmpfs", "-o", f"size={MOUNT_BYTES}", "tmpfs", folder]
    mounted = subprocess.run(told, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    use_stand_in(monkeypatch)
    (tmp_path / "videos").mkdir()
    for number in range(3):
        make_video(tmp_path / "videos" / f"v{number}.mp4", seconds=2, fps=8, size=(64, 48), seed=number)
    embedding = EmbeddingConfig(backbone="efficientnet_lite0", size_px=64)
    return Archive(
        name="talks", kind="video", root=str(tmp_path / "videos"), embedding=embedding, shard_items=1
    )


def fill(folder, *, leave):
    """Take all room but so many bytes."""
    import shutil

    with (folder / "filler").open("wb") as file:
        file.write(bytes(max(0, shutil.disk_usage(folder).free - leave)))


@pytest.mark.parametrize("leave", [0, 16 << 10, 48 << 10])
def test_a_full_disk_fails_the_run_harms_nothing_and_the_next_run_with_room_goes_on(
    disk, archive, tmp_path, leave
):
    lake = Lake(disk / "lake")
    make_videos_line(lake, archive.model_copy(update={"shard_items": 1}))
    before = rows_of(lake, archive)
    make_video(tmp_path / "videos" / "v3.mp4", seconds=2, fps=8, size=(64, 48), seed=3)
    fill(disk, leave=leave)
    with pytest.raises((LakeError, OSError)) as failed:
        make_videos_line(lake, archive)
    told = [e for e in causes(failed.value) if isinstance(e, OSError) and e.errno == errno.ENOSPC]
    assert told or "full" in str(failed.value), failed.value
    work = Work(lake, archive)
    standing = {s for s in work.prints.shards if lake.path(work.place("frames", s)).exists()}
    assert {"s00000", "s00001", "s00002"} <= standing
    ours = [row for s in sorted(standing)[:3] for row in work.rows("frames", s).to_pylist()]
    assert ours == before["frames"]
    (disk / "filler").unlink()
    make_videos_line(lake, archive)
    whole, after = undisturbed(tmp_path / "whole", archive), rows_of(lake, archive)
    # The mean that clips are centred on was fitted before the last video came: those differ, by right.
    assert all(after[stage] == whole[stage] for stage in ("items", "frames", "frame_embeddings"))
    assert [clip["clip"] for clip in after["clips"]] == [clip["clip"] for clip in whole["clips"]]
    assert not list((disk / "lake" / "_tmp").iterdir())


def test_a_lake_on_a_disk_that_may_only_be_read_is_read_and_refuses_to_be_written(disk, archive, tmp_path):
    lake = Lake(disk / "lake")
    make_videos_line(lake, archive)
    before = rows_of(lake, archive)
    locked = tmp_path / "locked"
    locked.mkdir()
    subprocess.run(["mount", "--bind", disk, locked], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", locked], check=True)
        assert rows_of(Lake(locked / "lake"), archive) == before
        with pytest.raises(LakeError, match="can't be written to"):
            make_videos_line(Lake(locked / "lake"), archive)
    finally:
        subprocess.run(["umount", "-l", locked], check=True)
