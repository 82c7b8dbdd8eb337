"""What the command line prints: lines, tables and JSON. Names stand as they are, never as markup."""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Control characters, line separators, and the surrogates that stand for bytes that are no UTF-8.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Wider than any row: a pipe's reader gets whole names.
_PIPE_COLUMNS = 1 << 16


def shown(name: object) -> str:
    """A name on one line: what would break the line, steer the terminal or not encode is escaped."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), str(name))


def say(line: str) -> None:
    """A message, on standard error."""
    _console(is_error=True).print(line, soft_wrap=True)


def show(line: str) -> None:
    """A line of the result, on standard output."""
    _console().print(line, soft_wrap=True)


def show_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on standard output; long cells fold on a terminal and are never cut."""
    table = Table(box=None, pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    _console().print(table)


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def plural(count: int, noun: str) -> str:
    """`1 vector`, `2,000 vectors`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _console(*, is_error: bool = False) -> Console:
    # Made for each use: the stream may have been replaced since.
    stream = sys.stderr if is_error else sys.stdout
    width = None if stream.isatty() else _PIPE_COLUMNS
    return Console(file=stream, width=width, markup=False, emoji=False, highlight=False)
