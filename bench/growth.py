"""What one new file costs where an archive is ten times as large: `dinolake run` from the shell, to its end.

The films are a second of 64 px each, all different, and settings are the default ones, but for shards: they
hold a few films each, so that there are many.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.figures import Figure, paired, seconds
from bench.material import make_film

FILMS, FILMS_QUICK, TIMES = 50, 10, 10
SHARD_ITEMS, REPEATS, REPEATS_QUICK = 5, 3, 1
GOAL = 1.3
BACKBONE = "efficientnet_lite0"


def measure(folder: Path, *, quick: bool) -> Sequence[Figure]:
    """Seconds of a run that finds one new film, in a large archive over those in a small one."""
    films = FILMS_QUICK if quick else FILMS
    small, large = _Films(folder / "small", films), _Films(folder / "large", TIMES * films)
    pairs = paired(large.add_one_s, small.add_one_s, repeats=REPEATS_QUICK if quick else REPEATS)
    return [
        Figure(
            f"`dinolake run` for one new film beside {TIMES * films:,} made ones", f"beside {films:,}",
            pairs.slowdowns, GOAL, is_at_most=True,
            detail=f"{pairs.ours_s:.1f} s against {pairs.theirs_s:.1f} s, from the shell to index, reports, "
            f"scoreboard; {SHARD_ITEMS} films a shard; the first runs made all in {large.made_s:.0f} and "
            f"{small.made_s:.0f} s; {pairs.calm}",
        )
    ]  # fmt: skip


class _Films:
    """An archive of films that was run to its end, in a lake and with a Dagster history of its own."""

    def __init__(self, folder: Path, films: int):
        self._folder, self._films = folder, films
        (folder / "films").mkdir(parents=True)
        self._write(range(films))
        self._dinolake("add", "films", "video", str(folder / "films"), "--backbone", BACKBONE)
        catalog = folder / "catalog.toml"
        told = catalog.read_text()
        catalog.write_text(told.replace("shard_items = 64", f"shard_items = {SHARD_ITEMS}"))
        self.made_s = seconds(lambda: self._run(films))

    def add_one_s(self) -> float:
        """Put one more film there, and say how long the run takes that makes all that comes of it."""
        self._write([self._films])
        self._films += 1
        return seconds(lambda: self._run(1))

    def _write(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            make_film(self._folder / "films" / f"f{number:05d}.mp4", seconds=1.0, size=(64, 64), seed=number)

    def _run(self, new: int) -> None:
        stages = self._dinolake("run", "films", "--json")["stages"]
        if (
            stages["items"]["made"] + stages["items"]["kept"] != self._films
            or not stages["clip_index"]["made"]
        ):
            raise AssertionError(f"not all of {self._films} films, {new} of them new, were made: {stages}")

    def _dinolake(self, *arguments: str) -> Any:
        env = os.environ | {
            "DINOLAKE_CATALOG": str(self._folder / "catalog.toml"),
            "DINOLAKE_LAKE": str(self._folder / "lake"),
            "DAGSTER_HOME": str(self._folder / "dagster"),
        }
        program = Path(sys.executable).with_name("dinolake")
        done = subprocess.run([program, *arguments], env=env, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"dinolake {' '.join(arguments)}: {done.stderr}")
        return json.loads(done.stdout) if "--json" in arguments else None
