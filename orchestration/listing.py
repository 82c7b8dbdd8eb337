"""`dinolake archives` and `dinolake plan`: what stands in the lake, and what would be made."""

from typing import Any

from lib.errors import BackboneUnavailableError
from lib.lake import WHOLE
from lib.plan import StagePlan, plan_archive
from lib.stages.making import Work
from lib.stages.verify import rejected_share
from orchestration.access import open_lake, the_catalog


def list_archives() -> list[dict[str, Any]]:
    """A row an archive: kind, items, rejects, shards that a run would make."""
    lake, rows = open_lake(), []
    for archive in the_catalog().archives.values():
        work = Work(lake, archive)
        standing = [item for item in lake.ledger.items(archive.name) if not item.removed]
        files, rejected = rejected_share(work)
        try:
            stages = plan_archive(work)
        except BackboneUnavailableError as error:
            stale, state = 0, f"its backbone can't be had: {error}"
        else:
            due = [counted.due for counted in stages.values()]
            shards = set().union(*due)
            # What is made over all shards counts as one, where no shard is due itself.
            stale = len(shards - {WHOLE}) or len(shards)
            state = _state(files, stale, stages)
        rows.append(
            {
                "archive": archive.name, "kind": archive.kind, "items": len(standing) - rejected,
                "rejected": rejected, "stale_shards": stale, "state": state,
            }
        )  # fmt: skip
    return rows


def _state(files: int, stale: int, stages: dict[str, StagePlan]) -> str:
    if not files:
        return "nothing made yet"
    if not stale:
        return "up to date"
    return "due: " + ", ".join(name for name, counted in stages.items() if counted.due)


def list_plans(name: str | None) -> list[dict[str, Any]]:
    """For one archive, or for all: done, stale and missing shards of each stage."""
    lake, catalog = open_lake(), the_catalog()
    chosen = [catalog.archive(name)] if name else list(catalog.archives.values())
    return [
        {
            "archive": archive.name,
            "stages": {
                stage: counted.as_json() for stage, counted in plan_archive(Work(lake, archive)).items()
            },
        }
        for archive in chosen
    ]
