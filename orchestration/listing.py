"""`dinolake archives` and `dinolake plan`: what stands in the lake, and what would be made."""

import logging
from typing import Any

from lib.catalog import Archive
from lib.errors import BackboneUnavailableError, DinolakeError, UsageError
from lib.lake import WHOLE, Lake, Place
from lib.plan import StagePlan, plan_archive, warn_of_bucket
from lib.serving import standing_note
from lib.stages.line import LINES
from lib.stages.making import Work
from lib.stages.verify import rejected_share
from orchestration.access import open_lake, the_catalog

_log = logging.getLogger(__name__)


def list_archives() -> list[dict[str, Any]]:
    """A row an archive: kind, items, rejects, shards that a run would make; what is wrong, as its state."""
    lake, rows = open_lake(), []
    for archive in the_catalog().archives.values():
        work = Work(lake, archive)
        standing = [item for item in lake.ledger.items(archive.name) if not item.removed]
        try:
            stages = _planned(work)
            files, rejected = rejected_share(work)
        except DinolakeError as error:
            # One archive's trouble hides none of the others.
            rejected, stale, state = _noted_rejects(lake, archive), 0, str(error)
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


def list_plans(name: str | None) -> list[dict[str, Any]]:
    """For one archive, or for all: done, stale and missing shards of each stage; among all, maybe an `error`.

    Raises:
        DinolakeError: The one archive can't be planned.
    """
    lake, catalog = open_lake(), the_catalog()
    if name:
        return [_plan(Work(lake, catalog.archive(name)))]
    plans = []
    for archive in catalog.archives.values():
        try:
            plans.append(_plan(Work(lake, archive)))
        except DinolakeError as error:
            plans.append({"archive": archive.name, "stages": {}, "error": str(error)})
    return plans


def _plan(work: Work) -> dict[str, Any]:
    warn_of_bucket(work)
    if note := standing_note(work.lake, work.archive):
        _log.warning(note)
    stages = {stage: counted.as_json() for stage, counted in _planned(work).items()}
    return {"archive": work.archive.name, "stages": stages}


def _planned(work: Work) -> dict[str, StagePlan]:
    if work.archive.kind not in LINES:
        raise UsageError(f"archives of kind {work.archive.kind!r} aren't built yet")
    try:
        _ = work.contract
    except (BackboneUnavailableError, UsageError) as error:
        raise BackboneUnavailableError(f"its backbone can't be had: {error}") from error
    return plan_archive(work)


def _noted_rejects(lake: Lake, archive: Archive) -> int:
    """Files refused when the items were last made, told without the backbone's contract."""
    footers = (lake.footer(Place(archive.name, "items", s)) for s in lake.ledger.shards(archive.name))
    return sum(footer[1].rejected for footer in footers if footer)


def _state(files: int, stale: int, stages: dict[str, StagePlan]) -> str:
    if not files:
        return "nothing made yet"
    if not stale:
        return "up to date"
    return "due: " + ", ".join(name for name, counted in stages.items() if counted.due)
