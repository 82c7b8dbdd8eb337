"""Reprocessing by the clock: what is stale is made again, and nothing else."""

import dagster as dg

from lib.catalog import Archive
from lib.errors import DinolakeError
from lib.lake import Lake
from orchestration.sensors import MAX_RUNTIME_S


def reprocessing_of(archive: Archive) -> tuple[dg.JobDefinition, dg.ScheduleDefinition] | None:
    """The job and the schedule of an archive whose catalog entry has `reprocess`."""
    if archive.reprocess is None:
        return None
    name = f"{archive.name}__reprocess"

    @dg.op(name=f"{name}_stale", description="What `dinolake run` does: each step is a run of its own.")
    def reprocess_stale(context: dg.OpExecutionContext, lake: dg.ResourceParam[Lake]) -> None:
        from orchestration.runs import run_archive

        try:
            outcome = run_archive(archive, lake, say=context.log.info)
        except DinolakeError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from None
        for stage, counted in outcome.stages.items():
            context.log.info(
                f"{stage}: {counted.made} made, {counted.kept} kept, {counted.rejected} rejected, "
                f"{counted.seconds:.1f} s"
            )

    @dg.job(
        name=name,
        description=f"Makes again what is stale of {archive.name}.",
        tags={"dagster/max_runtime": str(MAX_RUNTIME_S), "dinolake/archive": archive.name},
    )
    def reprocess() -> None:
        reprocess_stale()

    @dg.schedule(
        name=name,
        cron_schedule=archive.reprocess,
        job=reprocess,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"`reprocess` of the catalog entry [archives.{archive.name}], in UTC: launches a run "
        "only where `dinolake plan` has something due.",
    )
    def by_the_clock(
        context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake]
    ) -> dg.RunRequest | dg.SkipReason:
        from lib.plan import plan_archive
        from lib.stages.making import Work

        try:
            plans = plan_archive(Work(lake, archive))
        except DinolakeError as error:
            # The run will say the same, and be told of where nobody looks at a schedule's ticks.
            context.log.warning(str(error))
            return dg.RunRequest()
        due = {stage: len(plan.due) for stage, plan in plans.items() if plan.due}
        if not due:
            return dg.SkipReason("nothing is stale")
        return dg.RunRequest(tags={"dinolake/due": ", ".join(f"{stage} {n}" for stage, n in due.items())})

    return reprocess, by_the_clock
