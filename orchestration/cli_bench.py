"""`dinolake bench`: the checkout's own bench, which isn't part of what is installed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from lib.errors import UsageError

_CHECKOUT = Path(__file__).parents[1]


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Smaller inputs, fewer repeats: 4 minutes.")] = False,
    only: Annotated[str | None, typer.Option(help="One part; nothing is written down.")] = None,
) -> None:
    """Measure speed against what one could run instead: 25 minutes, bench/latest.json, bench/out/speed.md."""
    if not (_CHECKOUT / "bench" / "__main__.py").is_file():
        raise UsageError(
            "the bench isn't installed with the package: clone the project, and run `make bench` there."
        )
    command = [
        sys.executable,
        "-m",
        "bench",
        *(["--quick"] if quick else []),
        *(["--only", only] if only else []),
    ]
    # A rival that isn't installed is named and left out; `make bench` installs them.
    done = subprocess.run(command, cwd=_CHECKOUT, check=False)  # noqa: S603 (no shell; argparse holds it to its parts)
    raise typer.Exit(done.returncode)


COMMANDS: tuple[Callable[..., Any], ...] = (bench,)
