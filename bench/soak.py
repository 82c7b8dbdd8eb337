"""`python -m bench.soak`: an archive that is changed and killed over and over, and its lake at the end.

Each cycle changes some files and runs the archive: undisturbed, killed at a moment, cut off between a write
and its move, twice at once, or with files that change meanwhile. Every so many cycles, and at the end, the
lake is held against one made from scratch. The schedule is drawn from the seed; where a kill falls isn't.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.soak_children import (
    Cut,
    archive_of,
    await_all,
    descendants,
    fork,
    install_cut,
    kill,
    run_dagster,
    run_stages,
    use_stand_ins,
    warm_up,
)
from bench.soak_compare import differences
from bench.soak_place import ARCHIVE, SoakPlace

_FAULTS = ("none", "none", "none", "kill", "kill", "cut", "cut", "cut", "torn", "double", "changing")
# Of cycles: those that go through Dagster, and of these, those that make the reports too.
_BY_DAGSTER, _WITH_REPORTS = 0.3, 0.15
_REAL_LIMIT_S = 900.0
_KILLED = -9
# Mismatches after which the rest would tell no more.
_ENOUGH = 20


@dataclass
class Soak:
    """One soak.

    Attributes:
        place: Its folders.
        seed: Of its schedule.
        cycles: How many.
        real_every: Every so many, `dinolake run` itself runs on the second lake; 0 for never.
        compare_every: Every so many, the lake is compared; at the end anyway.
    """

    place: SoakPlace
    seed: int
    cycles: int
    real_every: int
    compare_every: int
    counts: dict[str, int] = field(default_factory=dict)
    mismatches: list[str] = field(default_factory=list)
    _typical_s: dict[str, float] = field(default_factory=lambda: {"stages": 2.0, "dagster": 5.0})
    _real_s: float = 30.0
    _cycle: int = 0

    def run(self) -> None:
        """All cycles, then the comparison."""
        began, random_ = time.monotonic(), self.place.random
        self.place.make()
        self.place.fill()
        warm_up()
        for cycle in range(1, self.cycles + 1):
            self._cycle = cycle
            done = [self.place.disturb() for _ in range(random_.randint(1, 3))]
            engine = "dagster" if random_.random() < _BY_DAGSTER else "stages"
            fault = random_.choice(_FAULTS)
            told = self._one(engine, fault)
            self._log(f"{self._cycle}/{self.cycles}", engine, told, "; ".join(done))
            if len(self.mismatches) > _ENOUGH:
                break
            if self.real_every and self._cycle % self.real_every == 0:
                self._real()
            if self._cycle % self.compare_every == 0 or self._cycle == self.cycles:
                self._compare()
        if self.real_every:
            self._compare_real()
        self.counts["seconds"] = round(time.monotonic() - began)

    def _log(self, *told: str) -> None:
        line = " | ".join(told)
        print(line, file=sys.stderr, flush=True)
        with (self.place.folder / "logs" / "cycles.txt").open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    def _last_line(self, log: str) -> str:
        told = (self.place.folder / "logs" / log).read_text(encoding="utf-8", errors="replace")
        return (told.strip().splitlines() or [""])[-1][:400]

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    # -- the first lake ----------------------------------------------------------------------------------

    def _one(self, engine: str, fault: str) -> str:
        """A cycle's run, or two; what became of it."""
        place, random_ = self.place, self.place.random
        typical_s = self._typical_s[engine]
        until = None if random_.random() < _WITH_REPORTS else "clip_index"
        cut: Cut | None = None
        if fault in ("cut", "torn"):
            call = "replace" if fault == "torn" else random_.choice(("replace", "replace", "fsync", "unlink"))
            cut = Cut(
                call, int(14 * random_.random() ** 2), after=random_.random() < 0.5, torn=fault == "torn"
            )
        moments = sorted(random_.uniform(0, 1.2 * typical_s) for _ in range(3))
        began = time.monotonic()
        pids = [
            self._start(engine, until, cut if number == 0 else None)
            for number in range(1 + (fault == "double"))
        ]
        events: list[tuple[float, Callable[[], None]]] = []
        if fault in ("kill", "double"):
            events.append((moments[0], lambda: kill(pids[0])))
        if fault == "changing":
            events += [(moment, lambda: place.disturb() and None) for moment in moments]
        ended = await_all(pids, events)
        # A source that changes while it is read may fail its shard, and says so.
        allowed = {0, 1} if fault == "changing" else {0}
        for pid, status in ended.items():
            self._count("runs")
            if status == _KILLED:
                self._count("kills")
            if status not in allowed | {_KILLED} or (status == _KILLED and pid != pids[0]):
                why = self._last_line(f"run-{self._cycle:04d}.txt")
                self._mismatch(
                    f"cycle {self._cycle}: a run by {engine} ended with {status}, fault {fault}: {why}"
                )
        if fault == "none":
            self._typical_s[engine] = 0.7 * typical_s + 0.3 * (time.monotonic() - began)
        shown = f"{fault}{f' {cut.call} {cut.at}{chr(43) * cut.after}' if cut else ''}"
        return f"{shown}: {', '.join(map(str, ended.values()))}, {time.monotonic() - began:.1f} s"

    def _start(self, engine: str, until: str | None, cut: Cut | None) -> int:
        def work() -> None:
            use_stand_ins()
            if cut is not None:
                install_cut(cut)
            if engine == "dagster":
                run_dagster(self.place, until=until)
            else:
                run_stages(self.place)

        return fork(work, self.place.folder / "logs" / f"run-{self._cycle:04d}.txt")

    def _mismatch(self, told: str) -> None:
        self.mismatches.append(told)
        self._log("MISMATCH", told)

    def _compare(self) -> None:
        """Runs till nothing is left to do, then the lake against one from scratch."""
        place = self.place
        scratch, found = place.folder / "scratch", place.folder / "differences.json"
        shutil.rmtree(scratch, ignore_errors=True)
        found.unlink(missing_ok=True)

        def work() -> None:
            use_stand_ins()
            run_stages(place)
            run_stages(place, lake=scratch, centring=place.folder / "lake")
            told = differences(place.folder / "lake", scratch, archive_of(place), place.videos)
            found.write_text(json.dumps(told), encoding="utf-8")

        pid = fork(work, place.folder / "logs" / f"compare-{self._cycle:04d}.txt")
        self._count("comparisons")
        if await_all([pid])[pid] != 0:
            why = self._last_line(f"compare-{self._cycle:04d}.txt")
            self._mismatch(f"cycle {self._cycle}: the comparison itself failed: {why}")
            return
        for told in json.loads(found.read_text(encoding="utf-8")):
            self._mismatch(f"cycle {self._cycle}: {told}")

    # -- the second lake ---------------------------------------------------------------------------------

    def _dinolake(self, *, lake: Path | None = None) -> subprocess.Popen[bytes]:
        env = os.environ | self.place.env(real=True)
        if lake is not None:
            env |= {"DINOLAKE_LAKE": str(lake), "DAGSTER_HOME": str(lake.with_suffix(".dagster"))}
        program = Path(sys.executable).with_name("dinolake")
        with (self.place.folder / "logs" / f"real-{self._cycle:04d}.txt").open("ab") as log:
            return subprocess.Popen(
                [program, "run", ARCHIVE, "clip_index", "--accept-removed"], env=env, stdout=log, stderr=log
            )

    def _real(self) -> None:
        """`dinolake run` as a user has it: undisturbed, killed, or with a Ray worker killed under it."""
        random_ = self.place.random
        fault = random_.choice(("none", "kill", "worker"))
        moment_s = random_.uniform(0.1, 1.1) * self._real_s
        began = time.monotonic()
        process = self._dinolake()
        family: dict[int, str] = {}
        is_struck = False
        while process.poll() is None and time.monotonic() - began < _REAL_LIMIT_S:
            family |= descendants(process.pid)
            if fault == "kill" and time.monotonic() - began > moment_s and not is_struck:
                process.kill()
                is_struck = True
            workers = [pid for pid, told in family.items() if told.startswith("ray::_Worker")]
            if fault == "worker" and workers and not is_struck:
                time.sleep(random_.uniform(0.0, 1.0))
                kill(workers[-1])
                is_struck = True
            time.sleep(0.05)
        status = process.wait() if process.poll() is not None else _REAL_LIMIT_S
        self._count("real runs")
        if is_struck:
            self._count("real kills" if fault == "kill" else "worker kills")
        if status not in ((0, _KILLED) if fault == "kill" else (0,)):
            why = self._last_line(f"real-{self._cycle:04d}.txt")
            self._mismatch(f"cycle {self._cycle}: `dinolake run` ended with {status}, fault {fault}: {why}")
        if fault == "none" and status == 0:
            self._real_s = time.monotonic() - began
        # What a killed run leaves of Ray ends by itself in a while; the next run doesn't wait for it.
        for pid in family:
            if status == _KILLED and Path(f"/proc/{pid}").exists():
                kill(pid)
        self._log(f"{self._cycle} real", f"{fault}: {status}, {time.monotonic() - began:.1f} s")

    def _compare_real(self) -> None:
        place, scratch = self.place, self.place.folder / "real" / "scratch"
        found = place.folder / "differences.json"
        if self._dinolake().wait() != 0:
            self._mismatch("the last `dinolake run` failed")
            return
        mean = next((place.folder / "real" / "lake" / ARCHIVE / "centring").rglob("*.parquet"))
        there = scratch / mean.relative_to(place.folder / "real" / "lake")
        there.parent.mkdir(parents=True)
        shutil.copy(mean, there)
        if self._dinolake(lake=scratch).wait() != 0:
            self._mismatch("the `dinolake run` from scratch failed")
            return

        def work() -> None:
            told = differences(
                place.folder / "real" / "lake", scratch, archive_of(place), place.videos,
                without=frozenset(["summaries"]),
            )  # fmt: skip
            found.write_text(json.dumps(told), encoding="utf-8")

        found.unlink(missing_ok=True)
        pid = fork(work, place.folder / "logs" / "compare-real.txt")
        self._count("comparisons")
        if await_all([pid])[pid] != 0:
            self._mismatch("the comparison of the second lake failed")
            return
        for told in json.loads(found.read_text(encoding="utf-8")):
            self._mismatch(f"second lake: {told}")

    def as_json(self) -> dict[str, object]:
        """The figures."""
        from lib.ledger import Ledger

        items = Ledger(self.place.folder / "lake" / "ledger.sqlite").items(ARCHIVE)
        return {
            "cycles": self._cycle,
            "seed": self.seed,
            **self.counts,
            "changes": self.place.counts,
            "items": sum(not item.removed for item in items),
            "mismatches": self.mismatches,
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a soak; 1 where the lakes differ, or a run failed that wasn't to."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--cycles", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True, help="made anew: all that is in it is removed")
    parser.add_argument("--real-every", type=int, default=25, help="cycles between runs by Ray; 0: none")
    parser.add_argument("--compare-every", type=int, default=50)
    told = parser.parse_args(arguments)
    place = SoakPlace(told.folder.absolute(), random.Random(told.seed))
    soak = Soak(place, told.seed, told.cycles, told.real_every, told.compare_every)
    soak.run()
    print(json.dumps(soak.as_json(), indent=1))
    return 1 if soak.mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
