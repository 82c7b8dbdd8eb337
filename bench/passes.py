"""Passes over a folder of films made by another process, one at a time and on request.

What has a runtime of its own, Ray or Daft, has a process of its own: it is started once, makes a pass when
it is asked, and says how long that took. Started by `Passes`, ended by its `close`.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[1]


class PassFailedError(Exception):
    """The other process ended, or can't do it; its last words."""


class Passes:
    """A process that runs `python -m MODULE ARGUMENTS` and answers with `serve`."""

    def __init__(self, module: str, *arguments: str | Path, environment: dict[str, str] | None = None):
        self._words = tempfile.TemporaryFile("w+")  # noqa: SIM115  lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            cwd=ROOT,
            env=os.environ | (environment or {}),
        )

    def run(self, films: Path) -> dict[str, Any]:
        """A pass over a folder of films: its `seconds`, and what else the module tells."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(f"{films}\n")
            self._process.stdin.flush()
            told = self._process.stdout.readline()
        except BrokenPipeError:
            told = ""
        if not told:
            self._process.wait()
            self._words.seek(0)
            raise PassFailedError("\n".join(self._words.read().splitlines()[-3:]))
        answer: dict[str, Any] = json.loads(told)
        return answer

    def close(self) -> None:
        """End the process as it wants to end: with its input."""
        self._process.communicate()
        self._words.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve(run: Callable[[Path], dict[str, Any]]) -> None:
    """Answer requests until the input ends. Whatever else writes to standard output writes to the other."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(run(Path(line.strip()))), file=answers, flush=True)
