"""What `--where` may say: comparisons over an archive's own columns, and a short list of functions.

A list of what is allowed, for DuckDB has hundreds of functions and grows more: some read files, settings or
other tables, and some (`range`, `repeat`) fill the memory in one call that no limit of its own stops.

The only module that imports duckdb.
"""

import difflib
import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from lib.errors import QueryError

LONGEST = 10_000
# It reads what it is given and nothing else, and has an end.
_SEALED = {
    "enable_external_access": False, "allow_unsigned_extensions": False, "allow_community_extensions": False,
    "autoinstall_known_extensions": False, "autoload_known_extensions": False,
    "python_enable_replacements": False, "temp_directory": "", "memory_limit": "1GB",
    "lock_configuration": True,
}  # fmt: skip
_LIMIT_S = 30.0
_CLASSES = frozenset(
    [
        "COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION", "OPERATOR", "FUNCTION", "CASE", "CAST", "TYPE",
        "BETWEEN",
    ]
)  # fmt: skip
# None gives back more than it is given, but for what the condition's own length allows.
_NAMES = """
+ - * / // % ** ^ || & | ~ << >> @ ~~ !~~ ~~* !~~* ~~~ like_escape not_like_escape ilike_escape
not_ilike_escape abs ceil ceiling floor round trunc sqrt exp ln log log10 log2 pow power sign mod greatest
least isnan isinf isfinite sin cos tan radians degrees lower upper lcase ucase length len strlen trim ltrim
rtrim substring substr left right starts_with ends_with prefix suffix contains position strpos instr concat
regexp_matches regexp_full_match regexp_extract reverse year month day hour minute second quarter week
weekofyear yearweek dayofweek isodow weekday dayofmonth dayofyear date_part datepart date_trunc datetrunc
date_diff datediff date_sub datesub date_add age epoch epoch_ms make_date make_timestamp strftime strptime
to_years to_months to_weeks to_days to_hours to_minutes to_seconds today now current_date
get_current_timestamp list_value list_contains list_has array_contains array_has list_has_any list_has_all
list_extract array_extract struct_extract list_element array_length nullif ifnull coalesce if row
"""
_FUNCTIONS = frozenset(_NAMES.split())


def matching(table: pa.Table, where: str) -> np.ndarray:
    """Row mask of an SQL condition over a table's columns, evaluated by DuckDB with no access to files.

    Raises:
        QueryError: The condition is no SQL, is more than a condition, or names a column that isn't there.
    """
    import duckdb

    connection = duckdb.connect(config=_SEALED)
    numbered = table.append_column("__row", pa.array(np.arange(table.num_rows)))
    columns = ", ".join(table.column_names)
    limit = threading.Timer(_LIMIT_S, connection.interrupt)
    limit.start()
    try:
        parsed = connection.execute("SELECT json_serialize_sql(?)", [statement(where)]).fetchall()
        require_condition(where, parsed[0][0])
        # As a relation's filter, it is parsed as one expression: no second statement, no union.
        found = connection.from_arrow(numbered).filter(where).project("__row").fetchnumpy()["__row"]
    except duckdb.InterruptException as error:
        raise QueryError(f"--where {where!r} took over {_LIMIT_S:g} s: ask for less.") from error
    except QueryError as error:
        raise QueryError(f"{error} Columns: {columns}.") from None
    except duckdb.Error as error:
        raise QueryError(
            f"--where {where!r}: {str(error).splitlines()[0].rstrip('.!')}. Columns: {columns}."
        ) from error
    finally:
        limit.cancel()
        limit.join()
        connection.close()
    mask = np.zeros(table.num_rows, bool)
    mask[np.asarray(found, np.int64)] = True
    return mask


def statement(where: str) -> str:
    """The text to parse, and never to run, for `require_condition`.

    Raises:
        QueryError: It is longer than a condition need be.
    """
    if len(where) > LONGEST:
        raise QueryError(
            f"--where has {len(where):,} characters; {LONGEST:,} are the most. Put long lists of items into "
            "a label at the source, and ask for that."
        )
    return f"SELECT {where}"


def require_condition(where: str, parsed: str) -> None:
    """Refuse what is more than one condition over columns.

    Args:
        where: The condition, for messages.
        parsed: `statement(where)`, as DuckDB's `json_serialize_sql` gives it.

    Raises:
        QueryError: No SQL, more than one expression, a subquery, or a function that isn't on the list.
    """
    try:
        told = json.loads(parsed)
    except RecursionError:
        raise QueryError("--where is nested too deep: write it flatter.") from None
    if told["error"]:
        raise QueryError(f"--where {where!r}: {told['error_message'].rstrip('.!')}.")
    nodes = [each["node"] for each in told["statements"]]
    if len(nodes) != 1 or not _is_bare(nodes[0]):
        raise QueryError(
            f"--where {where!r}: give one condition and nothing after it, such as a = 1 AND b > 2."
        )
    for part in _expressions(nodes[0]["select_list"]):
        kind, name = part["class"], part.get("function_name", "")
        if kind == "SUBQUERY":
            raise QueryError(f"--where {where!r}: no subqueries; a condition sees this archive's rows alone.")
        if kind not in _CLASSES:
            raise QueryError(
                f"--where {where!r}: {kind.lower().replace('_', ' ')} has no place in a condition."
            )
        if kind == "FUNCTION" and (
            name.lower() not in _FUNCTIONS or part.get("schema") or part.get("catalog")
        ):
            near = difflib.get_close_matches(name.lower(), [f for f in _FUNCTIONS if f.isidentifier()], n=3)
            like = f" Near it: {', '.join(near)}." if near else ""
            raise QueryError(
                f"--where {where!r}: the function {name} isn't for conditions; those on text, numbers, dates "
                f"and lists are: lower, contains, abs, year, list_contains and more.{like}"
            )


def _is_bare(node: dict[str, Any]) -> bool:
    """Whether it is one expression: no table, no further clause, no union."""
    return (
        node["type"] == "SELECT_NODE"
        and len(node["select_list"]) == 1
        and node["from_table"]["type"] == "EMPTY"
        and not node["cte_map"]["map"]
        and not any(
            node.get(clause)
            for clause in ("modifiers", "where_clause", "having", "qualify", "group_expressions", "sample")
        )
    )


def _expressions(parsed: Any) -> Iterator[dict[str, Any]]:
    """Every expression, however deep."""
    following = [parsed]
    while following:
        part = following.pop()
        if isinstance(part, dict):
            if "class" in part:
                yield part
            following.extend(part.values())
        elif isinstance(part, list):
            following.extend(part)
