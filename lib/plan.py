"""What a run would make, told from the ledger, the catalog, and names, sizes and dates of the sources."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lib.errors import CatalogError
from lib.lake import WHOLE
from lib.ledger import LedgerItem
from lib.stages.line import line_of
from lib.stages.making import Work
from lib.stages.sources import UNREAD, foresee

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class StagePlan:
    """A stage's shards by state, and why those that are due are."""

    done: int = 0
    stale: int = 0
    missing: int = 0
    why: dict[str, int] = field(default_factory=dict)
    due: set[str] = field(default_factory=set)

    def as_json(self) -> dict[str, Any]:
        """The shape that `dinolake plan --json` prints."""
        return {"done": self.done, "stale": self.stale, "missing": self.missing, "why": self.why}


def plan_archive(work: Work) -> dict[str, StagePlan]:
    """State of every stage as a run would find it; no source is opened.

    Where the sources can't be looked at, as they were when they were last registered: a warning is logged.
    """
    work, at_source = _ahead(work)
    plans: dict[str, StagePlan] = {}
    for stage in line_of(work.archive).stages:
        plan = plans[stage.name] = StagePlan()
        for shard in work.prints.shards if stage.is_sharded else [WHOLE][: len(work.prints.shards)]:
            if work.is_current(stage.name, shard):
                plan.done += 1
                continue
            plan.due.add(shard)
            if not work.is_made(stage.name, shard):
                plan.missing += 1
                reason = "never made"
            elif not work.is_whole(stage.name, shard):
                plan.missing += 1
                reason = "file damaged"
            else:
                plan.stale += 1
                reason = _reason(plans, stage.upstream, shard)
            if not stage.upstream:
                reason = at_source.get(shard, reason)
            plan.why[reason] = plan.why.get(reason, 0) + 1
    return plans


def _ahead(work: Work) -> tuple[Work, dict[str, str]]:
    """The archive with the items that a run would register, and what is new in each shard."""
    known = work.lake.ledger.items(work.archive.name)
    try:
        items = foresee(work.archive, work.lake)
    except CatalogError as error:
        if work.archive.dataset is None or known:
            _log.warning("%s: planned without its sources: %s", work.archive.name, error)
        else:
            _log.warning("%s: its dataset is downloaded by the first run; until then nothing is known of it.",
                         work.archive.name)  # fmt: skip
        return work, {}
    return replace(work, items=items), _at_source(known, items)


def _at_source(known: Sequence[LedgerItem], items: Sequence[LedgerItem]) -> dict[str, str]:
    """Shard -> why its items are due, the weightiest where there are several."""
    former = {item.path: item for item in known}
    found: dict[str, set[str]] = {}
    for item in items:
        old = former.get(item.path)
        if old is None or (old.removed and not item.removed):
            reason = "new files"
        elif item.removed and not old.removed:
            reason = "files removed"
        elif item.content_hash == UNREAD or item.reason != old.reason:
            reason = "source changed"
        else:
            continue
        found.setdefault(item.shard, set()).add(reason)
    order = ("source changed", "new files", "files removed")
    return {shard: min(reasons, key=order.index) for shard, reasons in found.items()}


def _reason(plans: dict[str, StagePlan], upstream: tuple[str, ...], shard: str) -> str:
    for name in upstream:
        if plans[name].due & {shard, WHOLE} or (shard == WHOLE and plans[name].due):
            return f"{name} changed"
    return "source, parameters or code changed"
