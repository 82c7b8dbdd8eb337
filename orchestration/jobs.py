"""The jobs of a line. A job has one partitions definition, so a line is made by several, in this order."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from assets_defs.reports import SCOREBOARD
from lib.catalog import Archive

if TYPE_CHECKING:
    # What dg.define_asset_job returns; Dagster doesn't export its name.
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

SCOREBOARD_JOB = "scoreboard_job"


@dataclass(frozen=True, slots=True)
class Step:
    """Some stages of a line that one job makes."""

    name: str
    stages: tuple[str, ...]
    is_sharded: bool


# `centring` stands alone: it is fitted over all shards, so it waits for all of them, and clips wait for it.
VIDEO_STEPS = (
    Step("sources", ("sources",), False),
    Step("embed", ("items", "frames", "frame_embeddings"), True),
    Step("centre", ("centring",), False),
    Step("cut", ("clips", "summaries"), True),
    Step("publish", ("clip_index", "search_report", "summary_report"), False),
)


def job_name(archive: str, step: Step) -> str:
    """The job that makes a step of an archive."""
    # Not just archive__step: Dagster names an asset's op that way, and a job may not share it.
    return f"{archive}__run_{step.name}"


def jobs_of(archive: Archive) -> "Iterator[UnresolvedAssetJobDefinition]":
    """The jobs of one archive."""
    for step in VIDEO_STEPS:
        yield dg.define_asset_job(
            job_name(archive.name, step),
            selection=dg.AssetSelection.assets(
                *(dg.AssetKey([archive.name, stage]) for stage in step.stages)
            ),
            description=f"{', '.join(step.stages)} of {archive.name}",
        )


def scoreboard_job() -> "UnresolvedAssetJobDefinition":
    """The job of the page that reads all reports."""
    return dg.define_asset_job(SCOREBOARD_JOB, selection=dg.AssetSelection.assets(SCOREBOARD))
