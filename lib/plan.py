"""What a run would make, told from the ledger, the catalog, and names, sizes and dates of the sources."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lib.catalog import Archive
from lib.errors import CatalogError, FetchError
from lib.forget import forgotten_of, is_forgotten
from lib.lake import WHOLE, Facts, Lake, Mark
from lib.ledger import LedgerItem
from lib.stages.line import line_of
from lib.stages.making import Work
from lib.stages.sources import UNREAD, UNREADABLE, foresee, root_of
from lib.stages.stage import Stage

_log = logging.getLogger(__name__)
_UNTOLD = "source, parameters or code changed"
# What a fingerprint is made of, in the order in which a change of it is told.
_TOLD = {
    "version": "code version changed",
    "parameters": "parameters changed",
    "contract": "backbone changed",
    "inputs": "source changed",
}


@dataclass(slots=True)
class StagePlan:
    """A stage's shards by state, why those that are due are, and what they will cost by past runs."""

    done: int = 0
    stale: int = 0
    missing: int = 0
    quarantined: int = 0
    why: dict[str, int] = field(default_factory=dict)
    due: set[str] = field(default_factory=set)
    # Rows of the shards that are done, and about how many those that are due will have.
    samples_done: int = 0
    samples_due: int = 0
    # None where nothing like it was made yet.
    seconds: float | None = None
    bytes: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The shape that `dinolake plan --json` prints."""
        return {
            "done": self.done, "stale": self.stale, "missing": self.missing, "why": self.why,
            "quarantined": self.quarantined,
            "samples": {"done": self.samples_done, "due": self.samples_due},
            "estimate": {"seconds": self.seconds, "bytes": self.bytes},
        }  # fmt: skip


def plan_archive(work: Work, *, warn: Callable[[str], None] = _log.warning) -> dict[str, StagePlan]:
    """State of every stage as a run would find it; no source is opened.

    Where the sources can't be looked at, as they were when they were last registered, and `warn` is told.
    """
    work, at_source = _ahead(work, warn)
    plans: dict[str, StagePlan] = {}
    items = {shard: len(work.prints.items(shard)) for shard in work.prints.shards}
    for stage in line_of(work.archive).stages:
        if stage.is_sharded:
            plans[stage.name] = _sharded(work, stage, plans, at_source, items)
        else:
            plans[stage.name] = _whole(work, stage, plans)
    return plans


def _sharded(
    work: Work, stage: Stage, plans: Mapping[str, StagePlan], at_source: Mapping[str, str],
    items: Mapping[str, int],
) -> StagePlan:  # fmt: skip
    plan, standing = StagePlan(), work.standing(stage.name)
    elsewhere = _under_other_contracts(work, stage)
    quarantined = work.prints.quarantined
    place = work.place(stage.name)
    noted = work.lake.ledger.stage(place.archive, stage.name, place.contract)
    for shard in work.prints.shards:
        wanted, made = work.prints.of(stage.name, shard), standing.get(shard)
        if made is not None and made[0] == wanted:
            plan.done += 1
            plan.samples_done += made[1].rows
            continue
        if shard in quarantined:
            plan.quarantined += 1
            continue
        plan.due.add(shard)
        if made is not None or (shard not in standing and shard in elsewhere):
            plan.stale += 1
            reason = _changed(made[1], wanted, plans, stage, shard) if made else _TOLD["contract"]
        else:
            plan.missing += 1
            was_made = "file gone" if shard in noted else "never made"
            reason = "file damaged" if shard in standing else was_made
        if not stage.upstream:
            reason = at_source.get(shard, reason)
        plan.why[reason] = plan.why.get(reason, 0) + 1
    known = {shard: made[1] for shard, made in standing.items() if made}
    # A file that is gone was as large as it was noted to be.
    lost = {shard: Facts(**facts) for shard, (_, facts) in noted.items() if shard not in known}
    _estimate(plan, known, lost, items)
    if not known and not lost and stage.name.endswith("_embeddings"):
        # Not made yet under this contract: a vector for each sample above.
        above = plans[stage.upstream[0]]
        plan.samples_due = above.samples_done + above.samples_due
    return plan


def _whole(work: Work, stage: Stage, plans: Mapping[str, StagePlan]) -> StagePlan:
    plan = StagePlan()
    if not work.prints.shards:
        return plan
    # By its fingerprint, as a run does: what is above may be due for a lost file, and come out the same.
    if (facts := work.current(stage.name)) is not None:
        plan.done, plan.samples_done = 1, facts.rows
        return plan
    plan.due.add(WHOLE)
    made = work.made(stage.name)
    if made is not None:
        plan.stale = 1
        reason = _changed(made, work.prints.of(stage.name), plans, stage, WHOLE)
        plan.samples_due, plan.seconds, plan.bytes = made.rows, made.seconds or None, made.bytes
    else:
        plan.missing = 1
        reason = "file damaged" if work.is_made(stage.name) else "never made"
    plan.why[reason] = 1
    return plan


def _changed(made: Facts, wanted: Mark, plans: Mapping[str, StagePlan], stage: Stage, shard: str) -> str:
    """Why what was made isn't what is wanted."""
    above = [
        name for name in stage.upstream
        if plans[name].due & {shard, WHOLE} or (shard == WHOLE and plans[name].due)
    ]  # fmt: skip
    if not made.parts:
        # Made before parts were kept.
        return f"upstream changed: {above[0]}" if above else _UNTOLD
    reason = next(
        (told for part, told in _TOLD.items() if made.parts.get(part) != wanted.parts.get(part)), ""
    )
    if reason in ("", _TOLD["inputs"]) and stage.upstream:
        return f"upstream changed: {(above or list(stage.upstream))[0]}"
    return reason or _UNTOLD


def _under_other_contracts(work: Work, stage: Stage) -> set[str]:
    """Shards that stand under another contract than the catalog asks for."""
    if not stage.has_contract:
        return set()
    place = work.place(stage.name)
    return {
        file.stem
        for contract in work.lake.contracts(place.archive, stage.name) if contract != place.contract
        for file in work.lake.folder(place.archive, stage.name, contract).glob("*.parquet")
    }  # fmt: skip


def _estimate(
    plan: StagePlan, known: Mapping[str, Facts], lost: Mapping[str, Facts], items: Mapping[str, int]
) -> None:
    """Rows, seconds and bytes of what is due, by the rows an item, seconds and bytes a row that are known."""
    told = {**lost, **known}
    rows = sum(facts.rows for facts in told.values())
    counted = sum(items.get(shard, 0) for shard in told)
    an_item = rows / counted if counted else 1.0
    for shard in plan.due:
        plan.samples_due += told[shard].rows if shard in told else round(an_item * items[shard])
    timed = [facts for facts in told.values() if facts.made and facts.seconds]
    if timed and (made_rows := sum(facts.made for facts in timed)):
        plan.seconds = round(plan.samples_due * sum(facts.seconds for facts in timed) / made_rows, 1)
    if rows:
        plan.bytes = round(plan.samples_due * sum(facts.bytes for facts in told.values()) / rows)
    if not plan.due:
        plan.seconds, plan.bytes = 0.0, 0


def shards_ahead(archive: Archive, lake: Lake) -> list[str]:
    """The shards that a run would know, in order: also of files not registered yet."""
    try:
        items = foresee(archive, lake)
    except CatalogError:
        items = lake.ledger.items(archive.name)
    return sorted({item.shard for item in items})


def is_source_due(archive: Archive, lake: Lake) -> bool:
    """Whether a run would register anything; an address has to be asked, so that is always due."""
    if archive.stac is not None or archive.is_in_bucket:
        return True
    try:
        items = foresee(archive, lake)
    except CatalogError:
        return True  # the run says what is wrong, or downloads what isn't there yet
    known = lake.ledger.items(archive.name)
    # Leave to read a file changes neither its size nor its date: only trying tells.
    was_refused = any(item.reason.startswith(UNREADABLE) and not item.removed for item in known)
    return was_refused or bool(_at_source(known, items))


def _ahead(work: Work, warn: Callable[[str], None]) -> tuple[Work, dict[str, str]]:
    """The archive with the items that a run would register, and what is new in each shard."""
    known = work.lake.ledger.items(work.archive.name)
    if work.archive.is_in_bucket and not root_of(work.archive, work.lake).is_dir():
        warn(f"{work.archive.name}: the first run fetches its objects; till then nothing is known.")
        return replace(work, items=known), {}
    try:
        items = foresee(work.archive, work.lake)
    except CatalogError as error:
        if work.archive.dataset is None or known:
            warn(f"{work.archive.name}: planned without its sources: {error}")
        else:
            warn(f"{work.archive.name}: the first run downloads its dataset; till then nothing is known.")
        return replace(work, items=known), {}
    return replace(work, items=items), _at_source(known, items)


def warn_of_bucket(work: Work) -> None:
    """Warn that a plan is of what was last fetched, where the bucket holds something else by now.

    No part of the plan itself: what shows many archives asks no store.
    """
    archive = work.archive
    if not archive.is_in_bucket:
        return
    from lib.bucket import look_ahead

    out = forgotten_of(work.lake, archive.name)
    try:
        ahead = look_ahead(archive, root_of(archive, work.lake), skip=lambda key: is_forgotten(key, out))
    except FetchError as error:
        _log.warning("%s: planned as last fetched: %s", archive.name, error)
        return
    if ahead.fetched or ahead.removed:
        _log.warning(
            "%s: planned as last fetched; in %s %d objects are new or changed and %d are gone, which a run "
            "fetches and removes first.", archive.name, archive.root, ahead.fetched, ahead.removed,
        )  # fmt: skip


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
