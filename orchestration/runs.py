"""`dinolake run`: what is missing or stale, made by Dagster runs that stand in the UI's history."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from assets_defs.partitions import dynamic_keys, key_of, shard_of, shards_of, spans
from assets_defs.reports import SCOREBOARD
from lib.catalog import Archive
from lib.errors import RunInterruptedError, StageFailedError, UsageError
from lib.lake import WHOLE, Lake
from lib.stages.line import LINES, line_of
from lib.stages.making import Work
from lib.stages.stage import Step
from lib.stages.verify import rejected_share
from orchestration.instance import close_orphans, prepare_home, terminal_instance
from orchestration.jobs import SCOREBOARD_JOB, job_name

_RANGE_START, _RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
# The events go to the instance, where the UI shows them; a terminal has the outcome.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(slots=True)
class StageOutcome:
    """Samples made anew, kept as they were, refused, and the seconds it took, summed over shards."""

    made: int = 0
    kept: int = 0
    rejected: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class RunOutcome:
    """What a whole `dinolake run` came to."""

    archive: str
    stages: dict[str, StageOutcome] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    # Checks that did not pass: asset/check -> what it found.
    warnings: dict[str, str] = field(default_factory=dict)
    # File -> why it was refused.
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def is_all_kept(self) -> bool:
        """Whether nothing had to be made."""
        return not any(stage.made for stage in self.stages.values())


def run_archive(
    archive: Archive, lake: Lake, *, until: str | None = None, accept_empty: bool = False,
    refit: bool = False, say: Callable[[str], None],
) -> RunOutcome:  # fmt: skip
    """Make what is missing or stale of an archive, up to a stage.

    Raises:
        UsageError: No such stage.
        StageFailedError: Some shards failed; the message names them. All others are committed.
        RunInterruptedError: Ctrl-C.
    """
    wanted = _wanted_stages(archive, until)
    prepare_home()
    lake.sweep()
    from orchestration.definitions import defs

    definitions = defs()
    outcome = RunOutcome(archive.name)
    try:
        with terminal_instance() as instance:
            close_orphans(instance)
            runner = _Runner(definitions, instance, archive, lake, outcome, say)
            if accept_empty:
                from lib.stages.acquire import acquire

                acquire(archive, lake, accept_empty=True)
            if refit:
                _refit(Work(lake, archive))
            for step in line_of(archive).steps:
                stages = tuple(stage for stage in step.stages if stage in wanted)
                if stages:
                    runner.make(step, stages)
            if until is None:
                runner.launch(SCOREBOARD_JOB, None, [SCOREBOARD])
    except KeyboardInterrupt:
        raise RunInterruptedError(
            "interrupted; what was committed stays, the same command goes on from there."
        ) from None
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
    wanted, following = {"sources"}, [until]
    while following:
        stage = following.pop()
        wanted.add(stage)
        following.extend(name for name in line[stage].upstream if name not in wanted)
    return wanted


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


class _Runner:
    def __init__(
        self,
        definitions: dg.Definitions,
        instance: dg.DagsterInstance,
        archive: Archive,
        lake: Lake,
        outcome: RunOutcome,
        say: Callable[[str], None],
    ):
        self._definitions, self._instance = definitions, instance
        self._archive, self._lake, self._outcome, self._say = archive, lake, outcome, say
        self._due_now: dict[str, set[str]] = {}

    def make(self, step: Step, stages: tuple[str, ...]) -> None:
        """Run what is not up to date of a step; what is, is only counted."""
        name, began = job_name(self._archive.name, step), time.perf_counter()
        if stages == ("sources",):
            self.launch(name, None, [dg.AssetKey([self._archive.name, "sources"])])
            return
        work = Work(self._lake, self._archive)
        shards = work.prints.shards if step.is_sharded else [WHOLE]
        due = self._due_now = {stage: self._due(work, stage, shards) for stage in stages}
        for stage in stages:
            self._outcome.stages[stage] = StageOutcome()
            for shard in set(shards) - due[stage]:
                self._count_kept(work, stage, shard)
        if "items" in stages and not due["items"]:
            self._require_few_rejects(work)
        for selected, batch in self._batches(due, stages, shards, step):
            keys = [dg.AssetKey([self._archive.name, stage]) for stage in selected]
            counted = f": {len(batch)} shard{'s' * (len(batch) > 1)}" if step.is_sharded else ""
            self._say(", ".join(selected) + counted)
            self.launch(name, (batch[0], batch[-1]) if step.is_sharded else None, keys)
        if any(due.values()):
            self._say(f"  {time.perf_counter() - began:.1f} s")

    def _batches(
        self, due: dict[str, set[str]], stages: tuple[str, ...], shards: list[str], step: Step
    ) -> Iterator[tuple[tuple[str, ...], list[str]]]:
        """Stages to select and the shards to run them over: ranges are all that a run can name."""
        selected = tuple(stage for stage in stages if due[stage])
        wanted: set[str] = set().union(*due.values()) if due else set()
        if not step.is_sharded:
            if wanted:
                yield selected, shards
            return
        for run in spans(self._archive, shards, wanted):
            yield selected, run

    def _require_few_rejects(self, work: Work) -> None:
        """What the blocking check of `items` would say, where items are up to date and it doesn't run."""
        limit = self._archive.max_rejected_pct
        files, rejected = rejected_share(work)
        if limit is not None and files and 100.0 * rejected / files > limit:
            raise StageFailedError(
                f"{rejected} of {files} files of {self._archive.name!r} are refused, more than the "
                f"{limit:g} % that its catalog entry allows (max_rejected_pct). Its `items` has the reasons."
            )

    def _due(self, work: Work, stage: str, shards: list[str]) -> set[str]:
        # What the lake has but Dagster's history doesn't know (a new DAGSTER_HOME) is materialized as kept.
        known = self._materialized(dg.AssetKey([self._archive.name, stage]))

        def is_known(shard: str) -> bool:
            return (None if shard == WHOLE else key_of(self._archive, shard)) in known

        return {shard for shard in shards if not is_known(shard) or not work.is_current(stage, shard)}

    def _materialized(self, key: dg.AssetKey) -> set[str | None]:
        partitions: set[str | None] = set(self._instance.get_materialized_partitions(key))
        if self._instance.get_latest_materialization_event(key) is not None:
            partitions.add(None)
        return partitions

    def _count_kept(self, work: Work, stage: str, shard: str) -> None:
        facts = work.kept_facts(stage, shard)
        counted = self._outcome.stages[stage]
        counted.kept += facts.kept
        counted.rejected += facts.rejected
        self._outcome.reasons |= facts.reasons

    def launch(self, job: str, span: tuple[str, str] | None, keys: list[dg.AssetKey]) -> None:
        """One Dagster run in this process; its events are added to the outcome."""
        tags = {"dinolake/process": f"{socket.gethostname()}:{os.getpid()}"}
        if span is not None:
            partitions = dynamic_keys(self._archive, self._lake.ledger.shards(self._archive.name))
            self._instance.add_dynamic_partitions(shards_of(self._archive.name).name or "", partitions)
            first, last = (key_of(self._archive, shard) for shard in span)
            tags |= {_RANGE_START: first, _RANGE_END: last}
        try:
            result = self._definitions.resolve_job_def(job).execute_in_process(
                instance=self._instance,
                tags=tags,
                asset_selection=keys,
                raise_on_error=False,
                run_config=_QUIET,
            )
        except dg.DagsterExecutionInterruptedError:
            raise KeyboardInterrupt from None
        self._outcome.runs.append(result.run_id)
        self._collect(result)
        if _is_interrupted(result):
            raise KeyboardInterrupt
        if not result.success:
            raise StageFailedError(_failure(result))

    def _collect(self, result: dg.ExecuteInProcessResult) -> None:
        for event in result.get_asset_materialization_events():
            stage = event.asset_key.path[-1] if event.asset_key else ""
            counted = self._outcome.stages.get(stage)
            if counted is None or event.materialization.metadata.get("made") is None:
                continue
            # A range passes over shards that nothing was due of: they are counted as kept already.
            partition = event.materialization.partition
            if partition and shard_of(self._archive, partition) not in self._due_now[stage]:
                continue
            metadata = event.materialization.metadata
            counted.made += int(metadata["made"].value)  # type: ignore[arg-type]
            counted.kept += int(metadata["kept"].value)  # type: ignore[arg-type]
            counted.rejected += int(metadata["rejected"].value)  # type: ignore[arg-type]
            counted.seconds = round(counted.seconds + float(metadata["seconds"].value), 3)  # type: ignore[arg-type]
            if "reasons" in metadata:
                for record in metadata["reasons"].records:  # type: ignore[attr-defined]
                    self._outcome.reasons[str(record.data["file"])] = str(record.data["reason"])
        for evaluation in result.get_asset_check_evaluations():
            if not evaluation.passed:
                name = f"{evaluation.asset_key.to_user_string()}: {evaluation.check_name}"
                self._outcome.warnings[name] = evaluation.description or "did not pass"


def _is_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Whether Ctrl-C ended a step, which Dagster notes as a failure of the step's."""
    return any(
        found.cls_name == dg.DagsterExecutionInterruptedError.__name__
        for event in result.all_events
        if event.is_step_failure
        for found in _causes(event.step_failure_data.error)
    )


def _causes(error: Any) -> Iterator[Any]:
    while error is not None:
        yield error
        error = error.cause


def _failure(result: dg.ExecuteInProcessResult) -> str:
    reasons = []
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            failure = event.step_failure_data.user_failure_data
            if failure is not None and failure.description:
                reasons.append(failure.description)
            elif error is not None:
                *_, first = _causes(error)
                reasons.append(first.message.strip().split(": ", 1)[-1])
    reasons.extend(
        f"check {found.check_name} of {found.asset_key.to_user_string()}: {found.description}"
        for found in result.get_asset_check_evaluations()
        if not found.passed and found.blocking
    )
    return " ".join(reasons) or f"the run {result.run_id} failed; `make dev` shows it in the Dagster UI."
