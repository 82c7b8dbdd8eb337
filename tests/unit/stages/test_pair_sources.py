"""What a table that was edited leaves as it was."""

import json

from pairs import pair_archive, write_table, write_views

from lib.lake import Lake
from lib.plan import plan_archive
from lib.stages.making import Work
from lib.stages.pair_items import make_pair_items
from lib.stages.sources import register

COLUMNS = ("left", "right", "split")


def make_items(lake, archive):
    register(archive, lake)
    work = Work(lake, archive)
    for shard in work.prints.shards:
        make_pair_items(work, shard)


def row(folder, place):
    return dict(zip(COLUMNS, (*write_views(folder, place), "train"), strict=True))


def test_a_row_put_in_at_the_top_makes_no_shard_again_but_the_one_that_it_goes_to(tmp_path):
    rows = [row(tmp_path, place) for place in range(5)]
    table = write_table(tmp_path / "pairs.csv", rows[1:], COLUMNS)
    archive, lake = pair_archive(table, shard_items=2), Lake(tmp_path / "lake")
    make_items(lake, archive)
    write_table(table, rows, COLUMNS)
    assert plan_archive(Work(lake, archive))["items"].due == {"s00002"}


def test_a_refused_row_says_its_line_and_no_other_does(tmp_path):
    rows = [row(tmp_path, place) for place in range(2)]
    lost = {"left": "nowhere.png", "right": rows[0]["right"], "split": "train"}
    archive = pair_archive(write_table(tmp_path / "pairs.csv", [rows[0], lost, rows[1]], COLUMNS))
    lake = Lake(tmp_path / "lake")
    make_items(lake, archive)
    assert [told["line"] for told in Work(lake, archive).rows("items", "s00000").to_pylist()] == [
        None,
        3,
        None,
    ]


def test_an_older_ledger_that_kept_every_line_is_put_right_once(tmp_path):
    archive = pair_archive(write_table(tmp_path / "pairs.csv", [row(tmp_path, 0)], COLUMNS))
    lake = Lake(tmp_path / "lake")
    register(archive, lake)
    (item,) = lake.ledger.items("towns")
    lake.ledger.write_items("towns", [item.seen_as(facts=json.dumps(json.loads(item.facts) | {"line": 2}))])
    found = register(archive, lake)
    assert (found.unchanged, found.changed) == (1, 0)
    assert lake.ledger.items("towns") == [item]
