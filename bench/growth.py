"""What one new file costs where an archive is ten times as large: `dinolake run` from the shell, to its end.

The films are a second of 64 px each, all different, and settings are the default ones, but for shards: they
hold a few films each, so that there are many. What stands before is made by lib and noted in Dagster's
history, which saves the start of its runs and no more.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.figures import Figure, seconds
from bench.material import make_film
from lib.catalog import read_catalog
from lib.compute import InlineCompute
from lib.lake import Lake
from lib.stages.line import line_of
from lib.stages.making import Work
from lib.stages.sources import register

FILMS, FILMS_QUICK, TIMES = 15, 3, 10
SHARD_ITEMS, REPEATS, REPEATS_QUICK = 5, 2, 1
GOAL = 1.3
BACKBONE = "efficientnet_lite0"
ARCHIVE = "films"


def measure(folder: Path, *, quick: bool) -> Sequence[Figure]:
    """Seconds of a run that finds one new film, in a large archive over those in a small one."""
    films = FILMS_QUICK if quick else FILMS
    small, large = _Films(folder / "small", films), _Films(folder / "large", TIMES * films)
    # In turn, but not chosen by how calm it was: what a run's Ray processes take would count as others'.
    took = [(small.add_one_s(), large.add_one_s()) for _ in range(REPEATS_QUICK if quick else REPEATS)]
    small_s, large_s = np.median(took, axis=0)
    return [
        Figure(
            f"`dinolake run` for one new film beside {TIMES * films:,} made ones", f"beside {films:,}",
            tuple(larger / smaller for smaller, larger in took), GOAL, is_at_most=True,
            detail=f"{large_s:.1f} s against {small_s:.1f} s, from the shell to index, reports, "
            f"scoreboard; {large.shards} and {small.shards} shards of {SHARD_ITEMS} films",
        )
    ]  # fmt: skip


class _Films:
    """An archive of films that is made to its end, in a lake and with a Dagster history of its own."""

    def __init__(self, folder: Path, films: int):
        self._folder, self._films = folder, films
        (folder / "films").mkdir(parents=True)
        self._write(range(films))
        self._dinolake("add", ARCHIVE, "video", str(folder / "films"), "--backbone", BACKBONE)
        catalog = folder / "catalog.toml"
        told = catalog.read_text()
        catalog.write_text(told.replace("shard_items = 64", f"shard_items = {SHARD_ITEMS}"))
        self.shards = self._make()

    def add_one_s(self) -> float:
        """Put one more film there, and say how long the run takes that makes all that comes of it."""
        self._write([self._films])
        self._films += 1
        return seconds(self._run)

    def _write(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            make_film(self._folder / "films" / f"f{number:05d}.mp4", seconds=1.0, size=(64, 64), seed=number)

    def _run(self) -> None:
        stages = self._dinolake("run", ARCHIVE, "--json")["stages"]
        items, index = stages["items"], stages["clip_index"]
        if items["made"] != 1 or items["kept"] != self._films - 1 or index["made"] != 1:
            raise AssertionError(f"another thing than one film of {self._films} was made: {stages}")

    def _make(self) -> int:
        """All stages, as the assets make them; how many shards there are."""
        from lib.stages.centring import make_centring
        from lib.stages.clip_index import make_clip_index
        from lib.stages.clips import make_clips
        from lib.stages.frames import make_frames
        from lib.stages.items import make_items
        from lib.stages.search_report import make_search_report
        from lib.stages.summaries import make_summaries
        from lib.stages.summary_report import make_summary_report

        archive, lake = (
            read_catalog(self._folder / "catalog.toml").archive(ARCHIVE),
            Lake(self._folder / "lake"),
        )
        shards = list(register(archive, lake).shards)
        with InlineCompute() as compute:
            for shard in shards:
                work = Work(lake, archive)
                make_items(work, shard)
                make_frames(work, shard, compute)
        make_centring(Work(lake, archive))
        work = Work(lake, archive)
        for shard in shards:
            make_clips(work, shard)
            make_summaries(work, shard)
        for make in (make_clip_index, make_search_report, make_summary_report):
            make(Work(lake, archive))
        self._note(
            [(stage.name, shards if stage.is_sharded else [None]) for stage in line_of(archive).stages]
        )
        return len(shards)

    def _note(self, made: Sequence[tuple[str, Sequence[str | None]]]) -> None:
        import dagster as dg

        home = "from orchestration.instance import prepare_home; prepare_home()"
        subprocess.run(
            [sys.executable, "-c", home], env=self._env(), check=True, cwd=Path(__file__).parents[1]
        )
        with dg.DagsterInstance.from_config(str(self._folder / "dagster")) as instance:
            for stage, shards in made:
                for shard in shards:
                    event = dg.AssetMaterialization(dg.AssetKey([ARCHIVE, stage]), partition=shard)
                    instance.report_runless_asset_event(event)

    def _env(self) -> dict[str, str]:
        return os.environ | {
            "DINOLAKE_CATALOG": str(self._folder / "catalog.toml"),
            "DINOLAKE_LAKE": str(self._folder / "lake"),
            "DAGSTER_HOME": str(self._folder / "dagster"),
        }

    def _dinolake(self, *arguments: str) -> Any:
        program = Path(sys.executable).with_name("dinolake")
        done = subprocess.run([program, *arguments], env=self._env(), capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"dinolake {' '.join(arguments)}: {done.stderr}")
        return json.loads(done.stdout) if "--json" in arguments else None
