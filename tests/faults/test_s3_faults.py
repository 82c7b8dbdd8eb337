"""An S3 store that is busy, slow, cut off or refuses the keys: for a while no harm, for good a message."""

import hashlib
import os
import shutil
import signal

import pyarrow as pa
import pytest
from faulty_store import BUSY, CUT, EXPIRED, SLOW, TAKEN, in_front_of
from s3_place import S3Place
from servers import s3
from test_kills import SHARDS, same_rows, undisturbed, wait_for

from lib import object_store, working_copy
from lib.errors import StoreError
from lib.lake import Lake, write_whole
from lib.lake import Place as LakePlace
from lib.object_store import ObjectStore
from lib.schemas import ITEMS

__all__ = ["undisturbed"]  # a fixture, imported to be found here


@pytest.fixture(scope="module")
def store():
    with s3() as started:
        yield started


@pytest.fixture
def faulty(store, monkeypatch):
    """A store with a faulty line to it, for a client in this process or in one that it starts."""
    client = store.client()
    for key in store.objects():
        client.delete_object(Bucket="lake", Key=key)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with in_front_of(store.port) as between:
        yield between


@pytest.fixture
def client(faulty, monkeypatch, tmp_path):
    """`ObjectStore`, with keys in a file."""
    place = S3Place(tmp_path, endpoint=faulty.endpoint)
    place.give_keys("first")
    for name in ("AWS_ENDPOINT_URL", "AWS_SHARED_CREDENTIALS_FILE", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, place.env[name])
    monkeypatch.setattr(object_store, "_PATIENCE_S", 3.0)
    return ObjectStore("s3://lake/one")


def first(count: int, fault: str, method: str = ""):
    """Spoil so many of the requests about objects, from the first on."""
    left = [count]

    def choose(request) -> str:
        if not request.is_object or (method and request.method != method) or not left[0]:
            return ""
        left[0] -= 1
        return fault

    return choose


@pytest.mark.parametrize(("fault", "method"), [(BUSY, ""), (SLOW, ""), (CUT, "GET"), (CUT, "PUT")])
def test_what_passes_leaves_every_byte_as_it_was(client, faulty, tmp_path, fault, method):
    sent, came = tmp_path / "sent", tmp_path / "came"
    sent.write_bytes(os.urandom(300_000))
    faulty.choose = first(3, fault, method)
    client.put(sent, "a/b.parquet")
    client.get("a/b.parquet", came)
    assert faulty.done[fault] == 3
    assert came.read_bytes() == sent.read_bytes()
    assert client.list()["a/b.parquet"].etag == hashlib.md5(sent.read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_store_that_stays_busy_is_told_after_a_while_with_what_is_to_do(client, faulty, tmp_path):
    (tmp_path / "sent").write_bytes(b"x")
    faulty.choose = lambda request: BUSY
    with pytest.raises(StoreError, match=r"(?s)s3://lake/one.*SlowDown.*tried for .* s"):
        client.put(tmp_path / "sent", "a/b.parquet")
    assert faulty.done[BUSY] > 3


def test_a_bucket_that_isnt_there_is_told_at_once(client, faulty):
    with pytest.raises(StoreError, match="bucket has to be there"):
        ObjectStore("s3://nowhere/one").get("a", "b")


def test_renewed_keys_are_taken_up_in_the_middle(client, faulty, tmp_path):
    (tmp_path / "sent").write_bytes(b"x")
    client.put(tmp_path / "sent", "a/1.parquet")
    faulty.choose = lambda request: EXPIRED if request.key_id == "first" else ""
    S3Place(tmp_path).give_keys("second")
    client.put(tmp_path / "sent", "a/2.parquet")
    assert faulty.done[EXPIRED] and set(client.list()) == {"a/1.parquet", "a/2.parquet"}


def test_keys_that_stay_expired_are_told_soon_and_without_the_secret(client, faulty, tmp_path):
    (tmp_path / "sent").write_bytes(b"x")
    faulty.choose = lambda request: EXPIRED
    with pytest.raises(StoreError, match="Renew the credentials") as told:
        client.put(tmp_path / "sent", "a/1.parquet")
    assert "secret-of" not in str(told.value) and faulty.done[EXPIRED] < 20


@pytest.mark.slow
def test_what_was_fetched_before_a_line_broke_is_known_to_the_ledger_afterwards(
    client, faulty, tmp_path, monkeypatch
):
    place = LakePlace("talks", "items", "s00000")
    row = {"item": "v0", "path": "v0.mp4", "content_hash": "c0", "bytes": 7, "verdict": "ok"}
    items = pa.Table.from_pylist([row | {"note": "", "removed": False}], schema=ITEMS)

    def opened(machine: str) -> Lake:
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / machine))
        monkeypatch.setattr(working_copy, "_opened", {})
        return Lake("s3://lake/one")

    opened("second")  # its ledger is there already, and has nothing
    first = opened("first")
    with first.lock(place), first.writing(place, ITEMS, "mark") as writer:
        writer.write(items)
    write_whole(first.root / "talks" / "serving.json", "{}")
    faulty.choose = lambda request: BUSY if "serving.json" in request.path else ""
    with pytest.raises(StoreError):
        opened("second")
    faulty.choose = lambda request: ""
    assert [item.item for item in opened("second").ledger.items("talks")] == ["v0"]


def fresh(tmp_path, undisturbed, store, faulty) -> S3Place:
    place = S3Place(tmp_path, store=store, endpoint=faulty.endpoint)
    shutil.copytree(undisturbed.videos, place.videos)
    place.give_keys("first")
    place.add(shard_items=1)
    return place


@pytest.mark.slow
@pytest.mark.parametrize("fault", [BUSY, SLOW, CUT])
def test_a_run_over_a_bad_line_leaves_what_one_over_a_good_line_leaves(
    tmp_path, undisturbed, store, faulty, fault
):
    place, seen = fresh(tmp_path, undisturbed, store, faulty), [0]

    def choose(request) -> str:
        seen[0] += 1
        return fault if seen[0] % 3 == 0 else ""

    faulty.choose = choose
    place.run("clips")
    assert faulty.done[fault] > 5
    assert same_rows(place, undisturbed)
    # On another machine, over the same bad line: all of it is fetched, and nothing is made.
    shutil.rmtree(place.folder / "dagster" / "lakes")
    before = store.objects()
    assert all(not counted["made"] for counted in place.run("clips").values())
    assert store.objects() == before


@pytest.mark.slow
def test_keys_that_expire_in_the_middle_end_a_run_with_a_message_and_the_next_goes_on(
    tmp_path, undisturbed, store, faulty
):
    place = fresh(tmp_path, undisturbed, store, faulty)
    faulty.choose = lambda request: EXPIRED if request.key_id == "first" and place.committed() else ""
    done = place.call("run", "talks", "clips")
    assert done.returncode == 1 and "Renew the credentials" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and "secret-of" not in done.stdout + done.stderr
    before = place.committed()
    assert 1 <= len(before) < SHARDS
    place.give_keys("second")
    place.run("clips")
    assert before.items() <= place.committed().items()
    assert same_rows(place, undisturbed)


@pytest.mark.slow
def test_a_run_killed_when_the_store_had_taken_a_shard_makes_it_once(tmp_path, undisturbed, store, faulty):
    place = fresh(tmp_path, undisturbed, store, faulty)

    def choose(request) -> str:
        return TAKEN if request.method == "PUT" and "/frame_embeddings/" in request.path else ""

    run = place.start("run", "talks", "clips")
    faulty.on_taken = lambda request: os.kill(run.pid, signal.SIGKILL)
    faulty.choose = choose
    run.communicate(timeout=250)
    assert run.returncode == -signal.SIGKILL
    faulty.choose = lambda request: ""
    (taken,) = place.committed().items()
    stages = place.run("clips")
    assert taken in place.committed().items()
    assert stages["frame_embeddings"]["kept"] == 20
    assert same_rows(place, undisturbed)


@pytest.mark.slow
def test_a_store_that_is_gone_ends_a_run_with_a_message(tmp_path, undisturbed, store, faulty):
    place = fresh(tmp_path, undisturbed, store, faulty)
    run = place.start("run", "talks", "items")
    wait_for(lambda: place.committed("items"), run)
    faulty.choose = lambda request: BUSY
    _, told = run.communicate(timeout=280)
    assert run.returncode == 1 and "Traceback" not in told
