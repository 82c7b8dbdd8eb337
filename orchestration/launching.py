"""Dagster runs in this process: what they are told, and what they came to."""

import os
import socket
from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets_defs.partitions import dynamic_keys, key_of, shard_of, shards_of
from assets_defs.shown import FAILED
from lib import errors
from lib.catalog import Archive
from lib.errors import StageFailedError
from lib.lake import Lake
from orchestration.outcome import RunOutcome

_RANGE_START, _RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
_OURS = {
    name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, Exception)
}
# The events go to the instance, where the UI shows them; a terminal has the outcome.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Launcher:
    """Launches an archive's jobs and adds their events to an outcome."""

    def __init__(
        self, definitions: dg.Definitions, instance: dg.DagsterInstance, archive: Archive, lake: Lake,
        outcome: RunOutcome,
    ):  # fmt: skip
        self._definitions, self.instance = definitions, instance
        self._archive, self._lake, self._outcome = archive, lake, outcome

    def materialized(self, key: dg.AssetKey) -> set[str | None]:
        """Partitions of an asset that Dagster's history knows; None among them for the asset itself."""
        partitions: set[str | None] = set(self.instance.get_materialized_partitions(key))
        if self.instance.get_latest_materialization_event(key) is not None:
            partitions.add(None)
        return partitions

    def launch(
        self, job: str, keys: list[dg.AssetKey], *, span: tuple[str, str] | None = None,
        due: dict[str, set[str]] | None = None,
    ) -> dict[str, str]:  # fmt: skip
        """One run over a range of shards; shards that failed, and why.

        Args:
            job: Its name.
            keys: The assets of it that are wanted.
            span: First and last shard.
            due: By stage, the shards that are counted: a range passes over others, which are counted already.

        Raises:
            StageFailedError: It failed by something else than single shards.
        """
        tags = {"dinolake/process": f"{socket.gethostname()}:{os.getpid()}"}
        if span is not None:
            partitions = dynamic_keys(self._archive, self._lake.ledger.shards(self._archive.name))
            self.instance.add_dynamic_partitions(shards_of(self._archive.name).name or "", partitions)
            first, last = (key_of(self._archive, shard) for shard in span)
            tags |= {_RANGE_START: first, _RANGE_END: last}
        try:
            result = self._definitions.resolve_job_def(job).execute_in_process(
                instance=self.instance, tags=tags, asset_selection=keys, raise_on_error=False,
                run_config=_QUIET,
            )  # fmt: skip
        except dg.DagsterExecutionInterruptedError:
            raise KeyboardInterrupt from None
        self._outcome.runs.append(result.run_id)
        self._collect(result, due or {})
        if _is_interrupted(result):
            raise KeyboardInterrupt
        if result.success:
            return {}
        failed = _failed_shards(result)
        if failed is None or _blocked(result):
            raise StageFailedError(_failure(result))
        return failed

    def _collect(self, result: dg.ExecuteInProcessResult, due: dict[str, set[str]]) -> None:
        for event in result.get_asset_materialization_events():
            stage = event.asset_key.path[-1] if event.asset_key else ""
            if stage == "sources":
                told = event.materialization.metadata
                counts = ((name, told[name].value) for name in ("new", "changed", "removed") if name in told)
                self._outcome.sources = {name: int(count) for name, count in counts}  # type: ignore[arg-type]
            counted = self._outcome.stages.get(stage)
            if counted is None or event.materialization.metadata.get("made") is None:
                continue
            partition = event.materialization.partition
            if partition and shard_of(self._archive, partition) not in due.get(stage, ()):
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


def _failed_shards(result: dg.ExecuteInProcessResult) -> dict[str, str] | None:
    """Shards that failed, where that is all that failed; else None."""
    failed: dict[str, str] = {}
    for event in result.all_events:
        if event.is_step_failure:
            told = event.step_failure_data.user_failure_data
            named = told.metadata.get(FAILED) if told is not None else None
            if named is None:
                return None
            failed |= {str(shard): str(reason) for shard, reason in dict(named.value).items()}  # type: ignore[arg-type]
    return failed or None


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


def _blocked(result: dg.ExecuteInProcessResult) -> list[str]:
    """Blocking checks that didn't pass."""
    return [
        f"check {found.check_name} of {found.asset_key.to_user_string()}: {found.description}"
        for found in result.get_asset_check_evaluations()
        if not found.passed and found.blocking
    ]


def _failure(result: dg.ExecuteInProcessResult) -> str:
    reasons = []
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            failure = event.step_failure_data.user_failure_data
            if failure is not None and failure.description:
                reasons.append(failure.description)
            elif error is not None:
                reasons.append(_told(error))
    reasons.extend(_blocked(result))
    return (
        " ".join(reasons)
        or _failure_to_start(result)
        or f"the run {result.run_id} failed; `make dev` shows it in the Dagster UI."
    )


def _failure_to_start(result: dg.ExecuteInProcessResult) -> str:
    """Why no step ran: a resource, as a lake's store, that can't be had; "" where that isn't told."""
    for event in result.all_events:
        if event.event_type_value == "RESOURCE_INIT_FAILURE":
            error = event.engine_event_data.error
        elif event.is_job_failure:
            error = event.job_failure_data.error
        else:
            continue
        if error is not None:
            return _told(error)
    return ""


def _told(error: Any) -> str:
    """The message of ours among what led to an error, for it has the remedy; else of what was there first."""
    causes = list(_causes(error))
    first = next((each for each in causes if each.cls_name in _OURS), causes[-1])
    return str(first.message).strip().split(": ", 1)[-1]
