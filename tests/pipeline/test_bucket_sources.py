"""Archives whose sources lie in a bucket, on an S3 server: what is mirrored, and what a line makes of it."""

from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from place import Place, make_videos
from scenes import scene_archive, write_scene
from servers import S3, s3

from lib.bucket import mirror
from lib.catalog import Archive
from lib.errors import CatalogError, FetchError
from lib.lake import Lake
from lib.sections import EmbeddingConfig
from lib.stages.acquire import acquire
from lib.stages.scan import content_hash
from orchestration.sensors import sensors_of

SECRET = "do-not-tell-7f3a"


@pytest.fixture(scope="module")
def store():
    with s3() as started:
        yield started


@dataclass
class Source:
    """One prefix of the store, and the folder that it is mirrored to."""

    store: S3
    prefix: str
    into: Path

    @property
    def archive(self) -> Archive:
        embedding = EmbeddingConfig(backbone="efficientnet_lite0", size_px=224)
        return Archive(name="talks", kind="video", root=f"s3://lake/{self.prefix}", embedding=embedding)

    def put(self, key: str, body: bytes = b"film", **more: str) -> None:
        self.store.client().put_object(Bucket="lake", Key=f"{self.prefix}/{key}", Body=body, **more)

    def delete(self, key: str) -> None:
        self.store.client().delete_object(Bucket="lake", Key=f"{self.prefix}/{key}")

    def held(self) -> dict[str, bytes]:
        files = [path for path in self.into.rglob("*") if path.is_file()]
        return {path.relative_to(self.into).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def source(store, tmp_path, monkeypatch) -> Source:
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return Source(store, tmp_path.name, tmp_path / "lake" / "_sources" / "talks")


def test_only_what_is_new_or_changed_is_fetched_and_what_is_gone_goes(source):
    for key in ("a.mp4", "day/b.mp4", "day/c.mp4"):
        source.put(key, key.encode())
    assert mirror(source.archive, source.into).fetched == 3
    assert mirror(source.archive, source.into).fetched == 0

    source.put("a.mp4", b"A.mp4")  # as long as before: its ETag tells
    source.put("d.mp4", b"new")
    source.delete("day/b.mp4")
    source.delete("day/c.mp4")
    done = mirror(source.archive, source.into)

    assert (done.fetched, done.removed) == (2, 2)
    assert source.held() == {"a.mp4": b"A.mp4", "d.mp4": b"new"}
    assert not (source.into / "day").exists()


def test_a_copy_that_was_cut_short_or_lost_is_fetched_again(source):
    source.put("a.mp4")
    source.put("b.mp4")
    mirror(source.archive, source.into)
    (source.into / "a.mp4").write_bytes(b"fi")
    (source.into / "b.mp4").unlink()
    assert mirror(source.archive, source.into).fetched == 2
    assert source.held() == {"a.mp4": b"film", "b.mp4": b"film"}


def test_keys_that_are_no_paths_of_files_are_rows_with_their_reason_and_leave_the_folder_in_no_case(source):
    good = ["ok.mp4", "folder.mp4/inside.mp4", "q?r#é %2E.mp4"]
    bad = [
        "../out.mp4",
        "/abs.mp4",
        "a//b.mp4",
        "x/./y.mp4",
        "full/",
        "folder.mp4",
        f"{'n' * 260}.mp4",
        "t.txt",
    ]
    for key in good + bad:
        source.put(key)
    source.put("empty/", b"")  # what a console puts for a folder is none of them
    done = mirror(source.archive, source.into)

    assert sorted(source.held()) == sorted(good)
    assert len(done.not_fetched) == len(bad)
    assert all(done.not_fetched.values())
    assert not [path for path in done.not_fetched if ".." in path or path.startswith("/")]
    assert done.not_fetched["t.txt"] == "no video, by its name (.txt)"
    assert not (source.into.parent / "out.mp4").exists()


def test_what_was_a_file_may_be_a_folder_and_a_file_again(source):
    source.put("a.mp4", b"file")
    mirror(source.archive, source.into)
    source.delete("a.mp4")
    source.put("a.mp4/b.mp4", b"below")
    mirror(source.archive, source.into)
    assert source.held() == {"a.mp4/b.mp4": b"below"}
    source.delete("a.mp4/b.mp4")
    source.put("a.mp4", b"again")
    mirror(source.archive, source.into)
    assert source.held() == {"a.mp4": b"again"}


def test_an_empty_or_wrong_listing_is_no_mass_deletion(source):
    for number in range(10):
        source.put(f"v{number}.mp4")
    mirror(source.archive, source.into)
    elsewhere = source.archive.model_copy(update={"root": "s3://lake/nothing-here"})
    with pytest.raises(CatalogError, match=r"is empty, but 10 objects were known .* --accept-empty"):
        mirror(elsewhere, source.into)
    for number in range(7):
        source.delete(f"v{number}.mp4")
    with pytest.raises(CatalogError, match=r"7 of 10 known objects are gone .* --accept-removed"):
        mirror(source.archive, source.into)
    assert len(source.held()) == 10

    assert mirror(source.archive, source.into, accept_removed=True).removed == 7
    assert len(source.held()) == 3


def test_an_object_that_changes_while_it_is_read_is_taken_whole(source, monkeypatch):
    import s3fs

    source.put("a.mp4", b"old old old")
    get_file = s3fs.S3FileSystem.get_file

    def get_then_change(self, rpath, lpath, **more):
        get_file(self, rpath, lpath, **more)
        if Path(lpath).read_bytes() == b"old old old":
            # Cut off here, the rest would come from the version that there is by then.
            Path(lpath).write_bytes(b"old ne")
            source.put("a.mp4", b"new new new")

    monkeypatch.setattr(s3fs.S3FileSystem, "get_file", get_then_change)
    mirror(source.archive, source.into)
    monkeypatch.undo()
    assert source.held() == {"a.mp4": b"new new new"}


def test_what_is_forgotten_is_neither_fetched_again_nor_named_beside_the_copies(source):
    source.put("a.mp4")
    source.put("private.mp4")
    mirror(source.archive, source.into)
    done = mirror(source.archive, source.into, skip=lambda key: key == "private.mp4")
    assert (done.fetched, done.removed, list(source.held())) == (0, 1, ["a.mp4"])
    beside = [path for path in (source.into.parent / "_downloads").rglob("*") if path.is_file()]
    assert any(path.stat().st_size for path in beside)
    assert not any(b"private" in path.read_bytes() for path in beside)


def test_an_object_that_is_refused_is_a_row_and_stops_no_other(source):
    source.put("cold.mp4", StorageClass="GLACIER")
    source.put("warm.mp4")
    done = mirror(source.archive, source.into)
    assert list(source.held()) == ["warm.mp4"]
    assert "InvalidObjectState" in done.not_fetched["cold.mp4"]


def test_a_bucket_that_is_not_there_is_told_without_the_keys(source):
    gone = source.archive.model_copy(update={"root": "s3://no-such-bucket/x"})
    with pytest.raises(
        FetchError, match=r"s3://no-such-bucket/x failed while listing it .*AWS_ENDPOINT_URL"
    ) as told:
        mirror(gone, source.into)
    assert SECRET not in str(told.value)
    with pytest.raises(CatalogError, match="keys belong in the environment") as told:
        mirror(source.archive.model_copy(update={"root": f"s3://test:{SECRET}@lake/x"}), source.into)
    assert SECRET not in str(told.value)


def test_without_s3fs_it_says_what_to_install(source, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(FetchError, match=r"pip install 'dinolake\[server\]'"):
        mirror(source.archive, source.into)


def test_the_sensor_has_a_listing_fetched_once_and_no_mass_deletion(source, tmp_path):
    for number in range(10):
        source.put(f"v{number}.mp4")
    lake, archive = Lake(tmp_path / "lake"), source.archive
    watch = next(sensor for sensor in sensors_of(archive) if sensor.name == "talks__watch")
    assert (watch.job_name, watch.minimum_interval_seconds) == ("talks__run_sources", 300)
    with dg.DagsterInstance.ephemeral() as instance:

        def tick(cursor):
            context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"lake": lake})
            return watch.evaluate_tick(context)

        first = tick(None)
        assert len(first.run_requests) == 1
        acquire(archive, lake)
        again = tick(first.cursor)
        assert not again.run_requests and again.skip_message == "10 items, as before"
        source.put("v0.mp4", b"other")
        changed = tick(first.cursor)
        assert len(changed.run_requests) == 1 and changed.cursor != first.cursor
        for number in range(7):
            source.delete(f"v{number}.mp4")
        assert "--accept-removed" in tick(changed.cursor).skip_message


def test_a_reject_that_was_never_fetched_is_no_known_item_that_vanished(source, tmp_path):
    for number in range(9):
        source.put(f"note{number}.txt")
    source.put("a.mp4")
    lake = Lake(tmp_path / "lake")
    assert acquire(source.archive, lake).files == 10
    assert acquire(source.archive, lake).removed == 0


def test_scenes_in_a_bucket_are_registered_with_their_metadata_beside_them(source, tmp_path):
    archive = scene_archive(tmp_path / "scenes").model_copy(update={"root": source.archive.root})
    scene = write_scene(tmp_path / "scenes", "20240105")
    source.put(scene.name, scene.read_bytes())
    source.put(f"{scene.stem}.json", b"{}")
    lake = Lake(tmp_path / "lake")
    acquire(archive, lake)
    (item,) = lake.ledger.items("fields")
    assert (item.path, item.reason, item.content_hash) == (scene.name, "", content_hash(scene))


@pytest.mark.slow
def test_an_archive_in_a_bucket_runs_as_one_in_a_folder_and_follows_its_objects(source, tmp_path):
    folder, bucket = Place(tmp_path / "folder"), Place(tmp_path / "bucket")
    make_videos(folder.videos, 3)
    for path in folder.videos.iterdir():
        source.put(path.name, path.read_bytes())
    folder.add()
    folder.run()
    bucket.folder.mkdir()
    added = bucket.call(
        "add", "talks", "video", f"s3://lake/{source.prefix}", "--backbone", "efficientnet_lite0"
    )
    assert added.returncode == 0, added.stderr
    bucket.run()
    for stage in ("items", "frame_embeddings"):
        assert bucket.rows(stage) == folder.rows(stage)

    source.delete("v0.mp4")
    source.put("v3.mp4", (folder.videos / "v0.mp4").read_bytes() + b"\0")
    planned = bucket.call("plan", "talks")
    assert "1 objects are new or changed and 1 are gone" in planned.stderr
    assert bucket.call("forget", "talks", "v1.mp4").returncode == 0
    bucket.run()
    bucket.run()
    held = sorted(path.name for path in (bucket.lake / "_sources" / "talks").iterdir())
    assert held == ["v2.mp4", "v3.mp4"]
    standing = {item.path for item in Lake(bucket.lake).ledger.items("talks") if not item.removed}
    assert standing == {"v2.mp4", "v3.mp4"}
