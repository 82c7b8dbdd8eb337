"""The jobs of a line: one for each of its steps."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from assets_defs.reports import HEALTH, SCOREBOARD
from lib.catalog import Archive
from lib.stages.line import line_of
from lib.stages.stage import Step

if TYPE_CHECKING:
    # What dg.define_asset_job returns; Dagster doesn't export its name.
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

SCOREBOARD_JOB = "scoreboard_job"


def job_name(archive: str, step: Step) -> str:
    """The job that makes a step of an archive."""
    # Not just archive__step: Dagster names an asset's op that way, and a job may not share it.
    return f"{archive}__run_{step.name}"


def jobs_of(archive: Archive) -> "Iterator[UnresolvedAssetJobDefinition]":
    """The jobs of one archive."""
    for step in line_of(archive).steps:
        yield dg.define_asset_job(
            job_name(archive.name, step),
            selection=dg.AssetSelection.assets(
                *(dg.AssetKey([archive.name, stage]) for stage in step.stages)
            ),
            description=f"{', '.join(step.stages)} of {archive.name}",
        )


def scoreboard_job() -> "UnresolvedAssetJobDefinition":
    """The job of the pages on all archives: their figures, and how they are."""
    return dg.define_asset_job(SCOREBOARD_JOB, selection=dg.AssetSelection.assets(SCOREBOARD, HEALTH))
