"""What a run would make, told from the ledger and the catalog alone."""

from dataclasses import dataclass, field
from typing import Any

from lib.lake import WHOLE
from lib.stages.line import LINES
from lib.stages.making import Work


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
    """State of every stage, as the sources were when they were last registered."""
    plans: dict[str, StagePlan] = {}
    for stage in LINES[work.archive.kind]:
        plan = plans[stage.name] = StagePlan()
        for shard in work.prints.shards if stage.is_sharded else [WHOLE][: len(work.prints.shards)]:
            if work.is_current(stage.name, shard):
                plan.done += 1
                continue
            plan.due.add(shard)
            if work.is_made(stage.name, shard):
                plan.stale += 1
                reason = _reason(plans, stage.upstream, shard)
            else:
                plan.missing += 1
                reason = "never made"
            plan.why[reason] = plan.why.get(reason, 0) + 1
    return plans


def _reason(plans: dict[str, StagePlan], upstream: tuple[str, ...], shard: str) -> str:
    for name in upstream:
        if plans[name].due & {shard, WHOLE} or (shard == WHOLE and plans[name].due):
            return f"{name} changed"
    return "source, parameters or code changed"
