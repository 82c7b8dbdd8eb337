"""The lake's promises: whole files or none, fingerprints that outlive a ledger, filters that open nothing."""

import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from lib.columns import vectors_column, vectors_of
from lib.errors import DamagedShardError, LakeError, QueryError
from lib.lake import Lake, Place

SCHEMA = pa.schema([("name", pa.string()), ("value", pa.int64())])
PLACE = Place("talks", "frames", "s00000")


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def commit(lake, value, mark):
    with lake.writing(PLACE, SCHEMA, mark) as writer:
        writer.write({"name": ["a"], "value": [value]})
        writer.facts.made = 1


def test_a_committed_shard_is_done_for_its_fingerprint_and_no_other(lake):
    commit(lake, 1, "one")
    assert lake.done(PLACE, "one").rows == 1
    assert lake.done(PLACE, "two") is None


def test_a_writer_that_fails_leaves_the_file_that_stood(lake):
    commit(lake, 1, "one")
    with pytest.raises(RuntimeError), lake.writing(PLACE, SCHEMA, "two") as writer:
        writer.write({"name": ["b"], "value": [2]})
        raise RuntimeError
    assert lake.read(PLACE).to_pylist() == [{"name": "a", "value": 1}]
    assert lake.done(PLACE, "one") is not None
    assert not list((lake.root / "_tmp").iterdir())


def test_what_is_done_is_known_from_the_footers_when_the_ledger_is_lost(lake):
    commit(lake, 1, "one")
    for file in lake.root.glob("ledger.sqlite*"):
        file.unlink()
    assert Lake(lake.root).done(PLACE, "one").rows == 1


def test_a_damaged_file_counts_as_missing_once_its_ledger_entry_is_doubted(lake):
    commit(lake, 1, "one")
    path = lake.path(PLACE)
    path.write_bytes(path.read_bytes()[:100])
    assert lake.footer(PLACE) is None
    with pytest.raises(LakeError, match="dinolake run talks"):
        lake.read(PLACE)


def test_a_killed_writer_leaves_only_a_temporary_file_and_sweeping_removes_it(lake):
    commit(lake, 1, "one")
    code = (
        "import sys, os, signal; from lib.lake import *; import pyarrow as pa\n"
        f"lake = Lake({str(lake.root)!r})\n"
        "schema = pa.schema([('name', pa.string()), ('value', pa.int64())])\n"
        "with lake.writing(Place('talks', 'frames', 's00000'), schema, 'two') as writer:\n"
        "    writer.write({'name': ['b'], 'value': [2]})\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    mine = lake.temporary(".parquet")
    mine.touch()
    assert lake.read(PLACE).to_pylist() == [{"name": "a", "value": 1}]
    assert lake.sweep() == 1
    assert list((lake.root / "_tmp").iterdir()) == [mine]


def test_a_filter_selects_rows_as_sql_says(lake):
    table = pa.table({"item": ["a", "b", "c"], "duration_s": [10.0, 70.0, None]})
    assert lake.matching(table, "duration_s > 60 or item = 'a'").tolist() == [True, True, False]


@pytest.mark.parametrize(
    "where",
    ["no_such_column > 1", "item in (select * from read_csv('/etc/passwd'))", "1) union (select 2", ""],
)
def test_a_filter_that_is_no_condition_or_opens_a_file_is_refused(lake, where):
    with pytest.raises(QueryError, match=r"--where .*[^.!]\. Columns: item\."):
        lake.matching(pa.table({"item": ["a"]}), where)


def test_vectors_come_back_as_they_were_written():
    vectors = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float16)
    table = pa.table({"vector": vectors_column(vectors)})
    assert np.array_equal(vectors_of(table, "vector"), vectors)
    assert np.array_equal(vectors_of(table.slice(2, 2), "vector"), vectors[2:4])


def test_an_address_that_isnt_of_s3_is_refused_as_a_lake_with_what_to_do():
    with pytest.raises(LakeError, match="DINOLAKE_LAKE"):
        Lake("gs://bucket/lake")


def test_two_processes_write_the_ledger_at_once_without_losing_a_note(lake):
    code = (
        "import sys; from lib.lake import Lake\n"
        f"ledger = Lake({str(lake.root)!r}).ledger\n"
        "for n in range(100):\n"
        "    ledger.write_stage('a', 'items', '', f'{sys.argv[1]}{n}', fingerprint='x', facts={})\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, name], env=os.environ) for name in "pq"]
    assert [run.wait() for run in runs] == [0, 0]
    assert len(lake.ledger.stage("a", "items")) == 200


def test_a_footer_that_isnt_what_was_written_is_damage_and_a_commit_nobody_noted_is_none(lake):
    commit(lake, 1, "one")
    noted = lake.ledger.stage("talks", "frames")["s00000"]
    commit(lake, 2, "two")
    # As a writer leaves it that is killed between the move and the note.
    lake.ledger.write_stage("talks", "frames", "", "s00000", fingerprint=noted[0], facts=noted[1])
    assert lake.read(PLACE).to_pylist() == [{"name": "a", "value": 2}]
    commit(lake, 1, "one")
    path = lake.path(PLACE)
    path.write_bytes(path.read_bytes().replace(b"value", b"valuf"))
    with pytest.raises(DamagedShardError, match="footer isn't what was written"):
        lake.read(PLACE)
