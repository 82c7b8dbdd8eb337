"""What a look at the sources takes, what it leaves alone, and what follows from it."""

import os
from pathlib import Path

import pytest

from lib.catalog import Archive
from lib.cron import check_cron
from lib.errors import CatalogError
from lib.lake import Lake
from lib.sections import EmbeddingConfig, WatchConfig
from lib.stages.arrivals import look, read_cursor, take
from lib.stages.following import following
from lib.stages.making import Work
from lib.stages.sources import register


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    return folder


@pytest.fixture
def archive(root):
    embedding = EmbeddingConfig(backbone="efficientnet_lite0")
    return Archive(name="talks", kind="video", root=str(root), shard_items=4, embedding=embedding)


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def put(root, *names, data=b"x"):
    for name in names:
        (root / name).write_bytes(data + name.encode())


def tick(archive, lake, cursor=None):
    """What a sensor does each time; the cursor for the next."""
    found = look(archive, lake, read_cursor(cursor))
    if found.is_any:
        take(archive, lake, found)
    return found.as_cursor()


def items(lake):
    return {item.path: item for item in lake.ledger.items("talks")}


def test_a_file_is_taken_when_two_looks_find_it_the_same(root, archive, lake):
    put(root, "a.mp4")
    cursor = tick(archive, lake)
    assert not items(lake)
    cursor = tick(archive, lake, cursor)
    assert set(items(lake)) == {"a.mp4"}
    assert cursor == "{}"


def test_a_file_that_grows_between_looks_is_left_alone_and_stops_no_other(root, archive, lake):
    put(root, "a.mp4", "b.mp4")
    cursor = tick(archive, lake)
    put(root, "a.mp4", data=b"more")
    cursor = tick(archive, lake, cursor)
    assert set(items(lake)) == {"b.mp4"}
    tick(archive, lake, cursor)
    assert set(items(lake)) == {"a.mp4", "b.mp4"}


def test_a_marker_says_that_a_file_is_whole_and_is_itself_neither_item_nor_reject(root, archive, lake):
    put(root, "a.mp4", "b.mp4", "a.mp4.done")
    tick(archive, lake)
    assert set(items(lake)) == {"a.mp4"}
    register(archive, lake)
    assert set(items(lake)) == {"a.mp4", "b.mp4"}


def test_a_file_that_changes_between_the_look_and_the_taking_is_left_as_it_was_known(root, archive, lake):
    put(root, "a.mp4", "b.mp4")
    register(archive, lake)
    before = items(lake)["a.mp4"].content_hash
    put(root, "a.mp4", data=b"other")
    cursor = tick(archive, lake)
    found = look(archive, lake, read_cursor(cursor))
    put(root, "a.mp4", data=b"yet another")
    take(archive, lake, found)
    assert items(lake)["a.mp4"].content_hash == before


def test_the_same_event_twice_registers_nothing_twice(root, archive, lake):
    put(root, "a.mp4", "b.mp4")
    cursor = tick(archive, lake)
    found = look(archive, lake, read_cursor(cursor))
    first = take(archive, lake, found)
    rows = lake.ledger.items("talks")
    again = take(archive, lake, found)
    assert (first.new, again.new, again.changed, again.unchanged) == (2, 0, 0, 2)
    assert lake.ledger.items("talks") == rows


def test_a_lost_cursor_costs_a_look_and_loses_nothing(root, archive, lake):
    put(root, "a.mp4")
    tick(archive, lake)
    cursor = tick(archive, lake, "no cursor at all")
    assert not items(lake)
    tick(archive, lake, cursor)
    assert set(items(lake)) == {"a.mp4"}


def test_dates_in_the_future_and_a_clock_set_back_change_nothing(root, archive, lake):
    put(root, "a.mp4", "b.mp4")
    os.utime(root / "a.mp4", ns=(4 * 10**18, 4 * 10**18))
    tick(archive, lake, tick(archive, lake))
    before = {path: (item.shard, item.content_hash) for path, item in items(lake).items()}
    for name in ("a.mp4", "b.mp4"):
        os.utime(root / name, ns=(10**9, 10**9))
    tick(archive, lake, tick(archive, lake))
    assert {path: (item.shard, item.content_hash) for path, item in items(lake).items()} == before
    assert set(before) == {"a.mp4", "b.mp4"}


def test_a_source_that_mostly_vanishes_is_no_deletion_and_a_few_files_are(root, archive, lake):
    names = [f"v{number:02d}.mp4" for number in range(20)]
    put(root, *names)
    register(archive, lake)
    for name in names[:6]:
        (root / name).unlink()
    tick(archive, lake)
    assert len(lake.ledger.removed("talks")) == 6
    for name in names[6:13]:
        (root / name).unlink()
    for refused in (lambda: tick(archive, lake), lambda: register(archive, lake)):
        with pytest.raises(CatalogError, match=r"7 of 14 known items .* 30 % .*--accept-removed"):
            refused()
    assert len(lake.ledger.removed("talks")) == 6
    register(archive, lake, accept_empty=True)
    assert len(lake.ledger.removed("talks")) == 13


def test_the_share_that_may_vanish_is_the_catalogs(root, archive, lake):
    put(root, *(f"v{number:02d}.mp4" for number in range(20)))
    register(archive, lake)
    for number in range(15):
        (root / f"v{number:02d}.mp4").unlink()
    lenient = archive.model_copy(update={"watch": WatchConfig(max_removed_pct=80)})
    tick(lenient, lake)
    assert len(lake.ledger.removed("talks")) == 15


def test_a_disk_that_is_not_mounted_but_holds_a_stray_file_removes_nothing(root, archive, lake):
    put(root, "a.mp4", "b.mp4")
    register(archive, lake)
    for name in ("a.mp4", "b.mp4"):
        (root / name).unlink()
    (root / "lost+found.txt").write_text("x")
    with pytest.raises(CatalogError, match="--accept-empty"):
        tick(archive, lake)
    assert not lake.ledger.removed("talks")


def test_ten_thousand_files_at_once_are_each_in_one_shard_and_no_shard_overflows(root, archive, lake):
    for number in range(10_000):
        (root / f"v{number:05d}.mp4").write_bytes(b"%d" % number)
    many = archive.model_copy(update={"shard_items": 64})
    tick(many, lake, tick(many, lake))
    held = [item.shard for item in lake.ledger.items("talks")]
    assert len(items(lake)) == 10_000
    assert sorted(held) == held
    assert max(map(held.count, set(held))) == 64


def test_a_look_takes_no_more_than_can_be_hashed_and_the_next_goes_on(root, archive, lake, monkeypatch):
    monkeypatch.setattr("lib.stages.arrivals._BYTES_AT_ONCE", 100)
    put(root, "a.mp4", "b.mp4", "c.mp4", data=b"x" * 60)
    cursor = tick(archive, lake, tick(archive, lake))
    assert set(items(lake)) == {"a.mp4"}
    tick(archive, lake, tick(archive, lake, cursor))
    assert set(items(lake)) == {"a.mp4", "b.mp4", "c.mp4"}


def test_an_archive_of_no_items_calls_for_nothing(archive, lake):
    assert not look(archive, lake, {}).is_any
    assert following(Work(lake, archive)) == {}


def test_what_follows_from_new_files_is_their_shard_up_to_where_all_shards_are_wanted(root, archive, lake):
    put(root, "a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4")
    register(archive, lake)
    shards = {"s00000", "s00001"}
    assert following(Work(lake, archive)) == dict.fromkeys(("items", "frames", "frame_embeddings"), shards)


@pytest.mark.parametrize("line", ["0 3 * * 0", "*/15 * * * *", "0 0,12 1-7 */2 1-5", "59 23 31 12 7"])
def test_cron_lines_that_dagster_takes_are_taken(line):
    from dagster._utils.schedules import is_valid_cron_schedule

    check_cron(line)
    assert is_valid_cron_schedule(line)


@pytest.mark.parametrize(
    "line", ["", "0 3 * *", "0 3 * * 0 0", "60 * * * *", "* 24 * * *", "0 0 0 * *", "0 0 * 13 *", "0 0 * * 8",
             "5-1 * * * *", "*/0 * * * *", "every night", "0 0 30 2 *", "0 0 31 4,6 *", "@daily;"]
)  # fmt: skip
def test_what_is_no_cron_line_or_never_comes_is_refused_where_the_catalog_is_read(line, archive):
    from pydantic import ValidationError

    with pytest.raises(ValidationError, match="reprocess"):
        Archive(**{**archive.model_dump(), "reprocess": line})


def test_a_catalog_with_a_wrong_schedule_names_the_entry(tmp_path: Path):
    from lib.catalog import read_catalog

    path = tmp_path / "catalog.toml"
    path.write_text(
        '[archives.talks]\nkind = "video"\nreprocess = "0 25 * * *"\nembedding = { backbone = "x" }\n'
    )
    with pytest.raises(CatalogError, match=r"archives\.talks\.reprocess is '0 25 \* \* \*'; .*hour"):
        read_catalog(path)
