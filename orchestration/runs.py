"""`dinolake run`: what is missing or stale, made by Dagster runs that stand in the UI's history."""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import dagster as dg

from assets_defs.partitions import SHARDS_A_RUN, key_of, spans
from assets_defs.reports import HEALTH, SCOREBOARD
from lib.catalog import Archive
from lib.errors import RunInterruptedError, StageFailedError, UsageError
from lib.lake import WHOLE, Lake
from lib.plan import is_source_due
from lib.serving import publish, standing_note
from lib.stages.line import LINES, line_of, stage_of
from lib.stages.making import Work
from lib.stages.stage import Step
from lib.stages.verify import rejected_share
from orchestration.instance import close_orphans, prepare_home, terminal_instance
from orchestration.jobs import SCOREBOARD_JOB, job_name
from orchestration.launching import Launcher
from orchestration.outcome import RunOutcome, StageOutcome

# Steps that a backfill makes of all shards: they open headers alone, and tiles are fitted over them.
_LOOKED_AT = ("look",)


def run_archive(
    archive: Archive, lake: Lake, *, say: Callable[[str], None], until: str | None = None,
    only: Collection[str] | None = None, accept_removed: bool = False, refit: bool = False,
    retries: bool = False, is_strict: bool = True,
) -> RunOutcome:  # fmt: skip
    """Make what is missing or stale of an archive, as `dinolake plan` says; where that is nothing, no run.

    Args:
        archive: The catalog entry.
        lake: Where to.
        say: Told what is being made.
        until: The stage to stop at; None for all.
        only: The shards to make; None for all. Stages over all shards wait till none is behind.
        accept_removed: Much of what was known is gone from the sources, and that is right.
        refit: Fit again what is fitted once.
        retries: Try quarantined shards again.
        is_strict: Raise, at the end, for shards that failed.

    Raises:
        UsageError: No such stage, no such shard.
        StageFailedError: A stage over all shards failed, a check blocks; or, where strict, shards failed.
        RunInterruptedError: Ctrl-C.
    """
    stages = _wanted_stages(archive, until)
    wanted = None if only is None else frozenset(only)
    prepare_home()
    lake.sweep()
    from orchestration.definitions import defs

    outcome = RunOutcome(archive.name)
    try:
        with terminal_instance() as instance:
            close_orphans(instance)
            launcher = Launcher(defs(), instance, archive, lake, outcome)
            if accept_removed:
                from lib.stages.acquire import acquire

                acquire(archive, lake, accept_empty=True)
            if retries:
                lake.ledger.clear_failures(archive.name)
            if refit:
                _refit(Work(lake, archive))
            _Runner(launcher, archive, lake, outcome, say, wanted).run(stages)
            if until is None and only is None:
                publish(Work(lake, archive))
                outcome.note = standing_note(lake, archive)
            is_due = outcome.runs or None not in launcher.materialized(SCOREBOARD)
            if until is None and is_due:
                launcher.launch(SCOREBOARD_JOB, [SCOREBOARD, HEALTH])
    except KeyboardInterrupt:
        raise RunInterruptedError(
            "interrupted; what was committed stays, the same command goes on from there."
        ) from None
    if is_strict:
        outcome.require_whole()
    return outcome


def _wanted_stages(archive: Archive, until: str | None) -> set[str]:
    """A stage and all above it; all stages for None."""
    if archive.kind not in LINES:
        raise UsageError(
            f"archives of kind {archive.kind!r} aren't built yet; this version has {' and '.join(LINES)}."
        )
    line = {stage.name: stage for stage in line_of(archive).stages}
    if until is None:
        return {"sources", *line}
    if until == "sources":
        return {"sources"}
    if until not in line:
        raise UsageError(
            f"no stage {until!r} in a {archive.kind} archive; its stages: sources, {', '.join(line)}."
        )
    return {"sources", until} | _above(archive, until)


def _above(archive: Archive, stage: str) -> set[str]:
    """All stages that one stands on."""
    found: set[str] = set()
    following = list(stage_of(archive, stage).upstream)
    while following:
        name = following.pop()
        found.add(name)
        following.extend(above for above in stage_of(archive, name).upstream if above not in found)
    return found


def _refit(work: Work) -> None:
    """Fit again what is fitted once and then stays."""
    from lib.stages.centring import make_centring

    if work.archive.line == "change_set":
        return
    if work.archive.kind == "pair":
        # Trained again in its turn, over new pairs too; till then the index goes by the old one.
        work.lake.path(work.place("aligner")).unlink(missing_ok=True)
    elif work.archive.kind == "scene":
        from lib.stages.tiles import make_tiles

        make_tiles(work, refit=True)
        # After new tiles every vector is another: the mean is fitted over those, when they stand.
        work.lake.path(work.place("centring")).unlink(missing_ok=True)
    else:
        make_centring(work, refit=True)


@dataclass
class _Runner:
    launcher: Launcher
    archive: Archive
    lake: Lake
    outcome: RunOutcome
    say: Callable[[str], None]
    only: frozenset[str] | None

    def run(self, stages: set[str]) -> None:
        """Make the stages; once more from the top where files were found damaged and put aside."""
        for is_last in (False, True):
            broken = self._broken()
            failure: StageFailedError | None = None
            try:
                self._run(stages)
            except StageFailedError as error:
                failure = error
            if not is_last and (failure or self.outcome.failed) and self._broken() > broken:
                self.say("damaged files were put aside: what they held is made again")
                self.outcome.failed.clear()
                continue
            if failure:
                raise failure
            return

    def _broken(self) -> int:
        return sum(1 for _ in (self.lake.root / "_broken").rglob("*.parquet"))

    def _run(self, stages: set[str]) -> None:
        waiting: set[str] = set()
        for step in line_of(self.archive).steps:
            chosen = tuple(stage for stage in step.stages if stage in stages)
            # What stands on a stage that waits for other shards waits too; the rest goes on.
            waiting |= {
                stage for stage in chosen if stage != "sources" and waiting & _above(self.archive, stage)
            }
            chosen = tuple(stage for stage in chosen if stage not in waiting)
            if chosen == ("sources",):
                self._look_at_sources(step)
            elif chosen and step.is_sharded:
                self._make_shards(step, chosen)
            elif chosen and not self._make_whole(step, chosen):
                waiting |= set(chosen)
        self.outcome.quarantined = Work(self.lake, self.archive).prints.quarantined

    def _look_at_sources(self, step: Step) -> None:
        key = dg.AssetKey([self.archive.name, "sources"])
        if is_source_due(self.archive, self.lake) or None not in self.launcher.materialized(key):
            self.launcher.launch(job_name(self.archive.name, step), [key])
        if self.only is not None:
            unknown = self.only - set(self.lake.ledger.shards(self.archive.name))
            if unknown:
                raise UsageError(f"no shard {min(unknown)!r} in archive {self.archive.name!r}.")

    def _make_shards(self, step: Step, stages: tuple[str, ...]) -> None:
        """Make what is due of a step; a shard that fails is left out, and the others go on without it."""
        began, total, done, is_first = time.perf_counter(), 0, 0, True
        while True:
            work = Work(self.lake, self.archive)
            shards = [
                shard
                for shard in work.prints.shards
                if (self.only is None or shard in self.only or step.name in _LOOKED_AT)
                and shard not in work.prints.quarantined and shard not in self.outcome.failed
            ]  # fmt: skip
            due = {stage: self._due(work, stage, shards) for stage in stages}
            if is_first:
                self._count_kept(work, {stage: set(shards) - due[stage] for stage in stages})
                if "items" in stages and not due["items"]:
                    self._require_few_rejects(work)
            before, is_first = len(self.outcome.failed), False
            total = max(total, len(set().union(*due.values())))
            for selected, batch in self._batches(due, stages, work.prints.shards):
                keys = [dg.AssetKey([self.archive.name, stage]) for stage in selected]
                self.say(f"{', '.join(selected)}: {len(batch)} shard{'s' * (len(batch) > 1)}")
                name = job_name(self.archive.name, step)
                span = batch[0], batch[-1]
                self.outcome.failed |= self.launcher.launch(name, keys, span=span, due=due)
                done += len(batch)
                if total > SHARDS_A_RUN:
                    left_s = (time.perf_counter() - began) * (total - done) / done
                    self.say(f"  {min(done, total)} of {total} shards, about {max(left_s, 0):.0f} s left")
            # Dagster passed over what stands below a stage in which one shard of a range failed.
            if len(self.outcome.failed) == before:
                break
        if total:
            self.say(f"  {time.perf_counter() - began:.1f} s")

    def _make_whole(self, step: Step, stages: tuple[str, ...]) -> bool:
        """Make what is due of stages over all shards; False where they have to wait for shards."""
        began, work = time.perf_counter(), Work(self.lake, self.archive)
        due = {stage: self._due(work, stage, [WHOLE]) for stage in stages}
        self._count_kept(work, {stage: {WHOLE} - due[stage] for stage in stages})
        selected = tuple(stage for stage in stages if due[stage])
        if not selected or not work.prints.shards:
            return True
        if self.only is not None and (behind := self._shards_behind(work, selected)):
            self.say(f"{', '.join(selected)}: not yet, {len(behind)} shards are still to be made")
            return False
        self.say(", ".join(selected))
        self.launcher.launch(
            job_name(self.archive.name, step),
            [dg.AssetKey([self.archive.name, stage]) for stage in selected],
            due=due,
        )
        self.say(f"  {time.perf_counter() - began:.1f} s")
        return True

    def _shards_behind(self, work: Work, stages: tuple[str, ...]) -> set[str]:
        return {
            name
            for stage in stages
            for name in work.behind(stage)
            if name not in {one.name for one in line_of(self.archive).stages}
        }

    def _batches(
        self, due: dict[str, set[str]], stages: tuple[str, ...], shards: list[str]
    ) -> Iterator[tuple[tuple[str, ...], list[str]]]:
        """Stages to select and the shards to run them over: ranges are all that a run can name."""
        selected = tuple(stage for stage in stages if due[stage])
        for run in spans(self.archive, shards, set().union(*due.values())):
            yield selected, run

    def _require_few_rejects(self, work: Work) -> None:
        """What the blocking check of `items` would say, where items are up to date and it doesn't run."""
        limit = self.archive.max_rejected_pct
        if limit is None:
            return
        files, rejected = rejected_share(work)
        if files and 100.0 * rejected / files > limit:
            raise StageFailedError(
                f"{rejected} of {files} files of {self.archive.name!r} are refused, more than the "
                f"{limit:g} % that its catalog entry allows (max_rejected_pct). Its `items` has the reasons."
            )

    def _due(self, work: Work, stage: str, shards: list[str]) -> set[str]:
        # What the lake has but Dagster's history doesn't know (a new DAGSTER_HOME) is materialized as kept.
        known = self.launcher.materialized(dg.AssetKey([self.archive.name, stage]))
        if not stage_of(self.archive, stage).is_sharded:
            return {shard for shard in shards if None not in known or not work.is_current(stage)}
        current = work.current_shards(stage)
        return {shard for shard in shards if shard not in current or key_of(self.archive, shard) not in known}

    def _count_kept(self, work: Work, kept: dict[str, set[str]]) -> None:
        for stage, shards in kept.items():
            counted = self.outcome.stages[stage] = self.outcome.stages.get(stage) or StageOutcome()
            for facts in work.kept_of(stage, shards):
                counted.kept += facts.kept
                counted.rejected += facts.rejected
                self.outcome.reasons |= facts.reasons
