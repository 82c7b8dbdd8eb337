"""Commands that make things: `run` and `backfill`."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

import typer

from orchestration.cli_queries import ArchiveArgument, JsonOption
from orchestration.outcome import RunOutcome
from orchestration.terminal import print_json, say, show_table, shown


def run(
    archive: ArchiveArgument,
    stage: Annotated[
        str | None, typer.Argument(help="Stop at this stage; what is above it is made too.")
    ] = None,
    as_json: JsonOption = False,
    accept_removed: Annotated[
        bool,
        typer.Option(
            "--accept-removed", "--accept-empty", help="Much is gone from the sources, and that is right."
        ),
    ] = False,
    refit: Annotated[
        bool, typer.Option(help="Fit again what is fitted once: the centring mean, and scenes' tiles.")
    ] = False,
    retry: Annotated[
        bool, typer.Option(help="Try shards again that are quarantined because they failed too often.")
    ] = False,
) -> None:
    """Make what is missing or stale, as Dagster runs."""
    from orchestration.access import open_lake, the_catalog
    from orchestration.runs import run_archive

    chosen = the_catalog().archive(archive)
    outcome = run_archive(
        chosen, open_lake(), until=stage, accept_removed=accept_removed, refit=refit, retries=retry, say=say,
        is_strict=False,
    )  # fmt: skip
    _tell(outcome, as_json=as_json)


def backfill(
    archive: ArchiveArgument,
    shards: Annotated[
        str | None,
        typer.Option(
            help="First and last shard, s00010..s00019, s00010.. to the end; or one. Left out: all."
        ),
    ] = None,
    tiles: Annotated[str | None, typer.Option(help="Scenes: tiles, by commas.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="Scenes: first day, YYYY-MM-DD, of the periods.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", help="Scenes: last day, YYYY-MM-DD, of the periods.")
    ] = None,
    as_json: JsonOption = False,
    retry: Annotated[
        bool, typer.Option(help="Try shards again that are quarantined because they failed too often.")
    ] = False,
) -> None:
    """Make what is missing or stale of some shards, or tiles and periods; interrupted, it goes on later."""
    from orchestration.access import open_lake, the_catalog
    from orchestration.backfilling import backfill_archive

    outcome = backfill_archive(
        the_catalog().archive(archive), open_lake(), shards=shards, tiles=tiles, since=since, until=until,
        retries=retry, say=say,
    )  # fmt: skip
    _tell(outcome, as_json=as_json)


def _tell(outcome: RunOutcome, *, as_json: bool) -> None:
    """What a run came to: a table, or one document; then shards that failed, as the error that they are."""
    if as_json:
        stages = {name: asdict(counted) for name, counted in outcome.stages.items()}
        print_json(
            {
                "archive": outcome.archive, "stages": stages, "runs": outcome.runs,
                "warnings": outcome.warnings, "sources": outcome.sources, "failed": outcome.failed,
                "quarantined": outcome.quarantined,
            }
        )  # fmt: skip
        outcome.require_whole()
        return
    rows = [
        (name, *(f"{n:,}" for n in (counted.made, counted.kept, counted.rejected)), f"{counted.seconds:.1f}")
        for name, counted in outcome.stages.items()
    ]
    show_table(["stage", "made", "kept", "rejected", "seconds"], rows)
    if any(outcome.sources.values()):
        say("sources: " + ", ".join(f"{count:,} {name}" for name, count in outcome.sources.items()))
    for file, reason in outcome.reasons.items():
        say(f"refused or cut short: {shown(file)}: {reason}")
    for check, found in outcome.warnings.items():
        say(f"check {check}: {found}")
    for shard, reason in outcome.quarantined.items():
        say(
            f"quarantined, not tried: shard {shown(shard)}, which failed too often: {reason} "
            f"(`dinolake run {outcome.archive} --retry` tries it again)"
        )
    if outcome.note:
        say(outcome.note)
    outcome.require_whole()
    if outcome.is_all_kept and any(counted.kept for counted in outcome.stages.values()):
        say("nothing to do: everything was up to date.")
    elif outcome.is_all_kept:
        say("nothing could be made: not one source can be used.")


COMMANDS: tuple[Callable[..., Any], ...] = (run, backfill)
