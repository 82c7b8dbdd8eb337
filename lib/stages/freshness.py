"""Whether an archive is up to date with the world: a source that fell silent, an index left behind."""

import time
from dataclasses import dataclass

from lib.errors import DinolakeError
from lib.stages.arrivals import look
from lib.stages.line import line_of
from lib.stages.making import Work

_DAY_S, _HOUR_S = 86400.0, 3600.0


@dataclass(frozen=True, slots=True)
class Freshness:
    """What a check found, in a sentence; `age_s` is how long it has been so, where that can be told."""

    is_fresh: bool
    told: str
    age_s: float | None = None


def source_freshness(work: Work) -> Freshness:
    """Whether the source can be looked at, and something came within `watch.quiet_after_days`."""
    archive = work.archive
    if archive.root is not None and not archive.is_in_bucket:
        try:
            look(archive, work.lake, {})
        except DinolakeError as error:
            return Freshness(False, str(error))
    dates = [i.mtime_ns for i in work.lake.ledger.items(archive.name) if not i.removed and i.mtime_ns > 0]
    if not dates:
        return Freshness(True, "no item yet")
    age_s = time.time() - max(dates) / 1e9
    told = f"the newest source is {_in_words(age_s)} old"
    limit = archive.watch.quiet_after_days
    if limit is None or age_s <= limit * _DAY_S:
        return Freshness(True, told, age_s)
    return Freshness(
        False,
        f"{told}: nothing came for longer than the {limit:g} days of watch.quiet_after_days. See to what "
        "writes there, or raise the limit in the catalog entry.",
        age_s,
    )


def index_freshness(work: Work, stage: str) -> Freshness:
    """Whether an index holds what its shards do, or these haven't stood for longer than `index_lag_hours`."""
    if not work.prints.shards or work.is_current(stage):
        return Freshness(True, "it holds what its shards do")
    upstream = next(each for each in line_of(work.archive).stages if each.name == stage).upstream
    newest = 0.0
    for name in upstream:
        place = work.place(name)
        folder = work.lake.folder(place.archive, place.stage, place.contract)
        newest = max([newest, *(file.stat().st_mtime for file in folder.glob("*.parquet"))])
    if not newest:
        return Freshness(True, "none of its shards is made yet")
    age_s, limit = time.time() - newest, work.archive.watch.index_lag_hours
    told = f"its shards changed {_in_words(age_s)} ago and it doesn't hold that"
    if age_s <= limit * _HOUR_S:
        return Freshness(True, f"{told} yet", age_s)
    return Freshness(
        False,
        f"{told}, for longer than the {limit:g} h of watch.index_lag_hours. "
        f"`dinolake plan {work.archive.name}` says what it waits for; "
        f"`dinolake run {work.archive.name}` makes it.",
        age_s,
    )


def _in_words(age_s: float) -> str:
    for unit, length_s in (("days", _DAY_S), ("h", _HOUR_S), ("min", 60.0)):
        if age_s >= 2 * length_s:
            return f"{age_s / length_s:.0f} {unit}"
    return f"{max(age_s, 0):.0f} s"
