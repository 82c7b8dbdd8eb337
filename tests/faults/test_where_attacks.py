"""`--where` comes from whoever may search: it sees its archive's rows, and nothing else on the machine."""

import http.server
import re
import threading
from collections.abc import Iterator
from datetime import datetime

import pyarrow as pa
import pytest

from lib.errors import QueryError
from lib.lake import Lake

SECRET = "planted-so-that-it-can-be-found"
NASTY = "b'; DROP TABLE items; --"


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    return Lake(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[str, list[str]]]:
    """An address on this machine, and what was asked of it."""
    asked: list[str] = []

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

    with http.server.HTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/x", asked
        server.shutdown()


@pytest.fixture
def rows() -> pa.Table:
    return pa.table(
        {
            "item": ["a", NASTY, "c"],
            "duration_s": [1.0, 2.0, 3.0],
            "acquired": [datetime(2024, 1, 1), datetime(2024, 5, 1), datetime(2025, 1, 1)],
            "label": ["x", None, "y"],
            "near": [["a"], ["b", "c"], []],
        }
    )


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("duration_s > 1", [False, True, True]),
        ("label IS NULL OR label IN ('x', 'z')", [True, True, False]),
        ("item LIKE '%DROP TABLE%'", [False, True, False]),
        ("item = 'b''; DROP TABLE items; --'", [False, True, False]),
        ("acquired >= TIMESTAMP '2024-02-01' AND year(acquired) = 2024", [False, True, False]),
        ("acquired::DATE BETWEEN '2024-01-01' AND '2024-06-01'", [True, True, False]),
        ("list_contains(near, 'c') OR near[1] = 'a'", [True, True, False]),
        ("CASE WHEN duration_s * 2 + 1 > 4 THEN upper(item) = 'C' ELSE true END", [True, False, True]),
        ("regexp_matches(lower(item), '^(a|c)+$') AND NOT isnan(duration_s)", [True, False, True]),
        ("acquired > current_date - INTERVAL 300 YEAR", [True, True, True]),
    ],
)
def test_conditions_over_columns_are_answered(lake, rows, where, wanted):
    assert lake.matching(rows, where).tolist() == wanted


@pytest.mark.parametrize(
    "where",
    [
        # files
        "(SELECT count(*) FROM read_csv('{file}')) > 0",
        "(SELECT count(*) FROM read_text('{file}')) > 0",
        "(SELECT count(*) FROM read_blob('{file}')) > 0",
        "(SELECT count(*) FROM sniff_csv('{file}')) > 0",
        "(SELECT count(*) FROM parquet_metadata('{file}')) > 0",
        "(SELECT count(*) FROM sqlite_scan('{ledger}', 'items')) > 0",
        "EXISTS (FROM '{file}')",
        "(SELECT count(*) FROM glob('{folder}/*')) > 0",
        "item IN (SELECT content FROM read_text('{file}'))",
        # writing
        "1=1; COPY (SELECT 1) TO '{out}'",
        "1=1) TO '{out}'; --",
        "COPY (SELECT 1) TO '{out}'",
        "EXPORT DATABASE '{out}'",
        "1=1; ATTACH '{out}' AS other",
        "ATTACH '{out}'",
        "1=1; INSTALL httpfs; LOAD httpfs",
        "LOAD '{out}'",
        "1=1; DROP TABLE items",
        "1=1; SET enable_external_access = true",
        "PRAGMA database_list",
        # the network
        "(SELECT count(*) FROM read_csv('{url}')) > 0",
        "(SELECT count(*) FROM read_parquet('{url}')) > 0",
        "(SELECT count(*) FROM 'https://127.0.0.1:9/x.parquet') > 0",
        "item::INET IS NULL",
        # what the process knows
        "getenv('DINOLAKE_SECRET') = 'x'",
        "getenv('DINOLAKE_SECRET') IS NOT NULL",
        "current_setting('temp_directory') IS NOT NULL",
        "(SELECT count(*) FROM duckdb_settings()) > 0",
        "(SELECT count(*) FROM duckdb_secrets()) >= 0",
        "(SELECT count(*) FROM which_secret('s3://a', 's3')) >= 0",
        "(SELECT count(*) FROM information_schema.tables) >= 0",
        "(SELECT count(*) FROM other) > 0",
        "(SELECT count(*) FROM query('SELECT 1')) > 0",
        "main.getenv('DINOLAKE_SECRET') IS NOT NULL",
        "GetEnv('DINOLAKE_SECRET') IS NOT NULL",
        "\"getenv\"('DINOLAKE_SECRET') IS NOT NULL",
        "list_transform([1], lambda x: getenv('DINOLAKE_SECRET'))[1] IS NOT NULL",
        "sum(1) OVER () > 0",
        "columns(*) IS NULL",
        "item = ?",
        # more than a condition
        "1=1 ORDER BY 1",
        "1=1 FROM other",
        "1=1 UNION SELECT 1",
        "1=1, 2=2",
        "duration_s > (SELECT avg(duration_s) FROM other)",
        "/* ' */ 1=1; SELECT 1",
        "1=1 -- \n; SELECT 1",
    ],
)
def test_files_settings_other_tables_and_second_statements_are_refused(
    lake, rows, site, where, tmp_path, monkeypatch
):
    monkeypatch.setenv("DINOLAKE_SECRET", SECRET)
    other = pa.table({"duration_s": [SECRET]})  # a variable of the caller's, which DuckDB would look for
    file, out = tmp_path / "file.csv", tmp_path / "out"
    file.write_text(f"a\n{SECRET}\n")
    url, asked = site
    told = where.format(file=file, folder=tmp_path, out=out, ledger=lake.root / "ledger.sqlite", url=url)
    with pytest.raises(QueryError) as refused:
        lake.matching(rows, told)
    assert SECRET not in str(refused.value) and other.num_rows == 1
    assert not asked and not out.exists() and [p.name for p in tmp_path.iterdir()] == ["file.csv"]


@pytest.mark.parametrize(
    "where",
    [
        "len(range(100000000000)) > 1",
        "length(repeat(item, 4000000000)) > 1",
        "length(lpad(item, 2000000000, 'x')) > 1",
        "levenshtein(repeat(item, 100000), repeat('b', 100000)) > 3",
        "length(replace(replace(replace(item, 'a', '{many}'), 'a', '{many}'), 'a', '{many}')) > 1",
        "list_sum(generate_series(1, 100000000000)) > 1",
        "(SELECT count(*) FROM range(1000000) a, range(1000000) b) > 0",
        "(WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t) > 0",
        "{nested}",
        "item = '{long}'",
    ],
)
def test_a_condition_that_would_fill_the_memory_or_never_end_is_refused_before_it_runs(lake, rows, where):
    told = where.format(many="a" * 1000, nested="(" * 4000 + "1=1" + ")" * 4000, long="x" * 100_000)
    with pytest.raises(QueryError) as refused:
        lake.matching(rows, told)
    assert not re.search("Interrupt|Memory", str(refused.value))


def test_a_column_that_is_not_there_is_named_with_those_that_are(lake, rows):
    with pytest.raises(QueryError, match="Columns: item, duration_s, acquired, label, near"):
        lake.matching(rows, "lenght_s > 1")
