"""The health page: every archive's state, what failed and why, rejects over time, freshness, what answers."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.catalog import Archive, Catalog
from lib.charts import line_plot
from lib.errors import DinolakeError
from lib.lake import WHOLE, Lake
from lib.ledger import Failure
from lib.page import render_page, write_whole
from lib.plan import plan_archive
from lib.serving import INDEX_STAGES, read_pointer
from lib.stages.freshness import index_freshness, source_freshness
from lib.stages.line import LINES, line_of
from lib.stages.making import Work

FOLDER = "_health"
_MOST_POINTS = 400
_COUNTS = ("files", "rejected", "due", "failed", "quarantined", "is_whole")


def make_health(lake: Lake, catalog: Catalog, *, now: datetime | None = None) -> tuple[Path, dict[str, int]]:
    """Write `<lake>/_health/health.html` and `health.json`: the page's path, and its counts.

    Each making adds a point to the history that `health.json` keeps.

    Args:
        lake: Where it lies, and what is looked at.
        catalog: The archives to tell of.
        now: When; left out, the clock's.

    Raises:
        LakeError: This user may only read the lake.
    """
    lake.ledger.require_writable()
    at = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
    folder = lake.root / FOLDER
    former = _former(folder / "health.json")
    told = [_archive(lake, archive, former.get(name, {}), at) for name, archive in catalog.archives.items()]
    summary = {
        "archives": len(told),
        "whole": sum(one["is_whole"] for one in told),
        "due_shards": sum(one["due"] for one in told),
        "failed_shards": sum(one["failed"] for one in told),
        "quarantined_shards": sum(one["quarantined"] for one in told),
        "rejected_files": sum(one["rejected"] for one in told),
    }
    page = render_page(
        "health.html.j2", made_at=_shown(at), summary=summary, archives=told,
        charts={one["archive"]: _chart(one["history"]) for one in told}, shown=_shown,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    document = json.dumps({"made_at": at, "summary": summary, "archives": told}, indent=1, ensure_ascii=False)
    write_whole(folder / "health.json", document.encode("utf-8", "backslashreplace") + b"\n")
    write_whole(folder / "health.html", page.encode())
    return folder / "health.html", summary


def _former(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """What the page before this one told, by archive; a damaged one is none, and the history begins anew."""
    try:
        return {one["archive"]: one for one in json.loads(path.read_text(encoding="utf-8"))["archives"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _archive(lake: Lake, archive: Archive, former: Mapping[str, Any], at: str) -> dict[str, Any]:
    failures = lake.ledger.failures(archive.name)
    told: dict[str, Any] = {
        "archive": archive.name, "kind": archive.line, "files": 0, "rejected": 0, "due": 0, "due_stages": [],
        "trouble": "", "serving": None, "freshness": [], "last_made": _last_made(lake, archive),
    }  # fmt: skip
    left_alone: set[str] = set()
    try:
        if archive.line not in (*LINES, "change_set"):
            told["trouble"] = f"archives of kind {archive.kind!r} aren't built yet"
        else:
            work = Work(lake, archive)
            _ = work.contracts.id
            told |= _counted(work) | _freshness(work)
            left_alone = set(work.prints.quarantined)
    except DinolakeError as error:
        # One archive's trouble hides none of the others.
        told["trouble"] = str(error)
    with suppress(DinolakeError):  # a damaged pointer is told by whoever searches, and by the doctor
        told["serving"] = _serving(lake, archive)
    quarantined = [f for f in failures if f.is_quarantined and (f.shard in left_alone or told["trouble"])]
    failed = [failure for failure in failures if failure not in quarantined]
    told["failures"] = [_failure(f, is_quarantined=f in quarantined) for f in (*quarantined, *failed)]
    told |= {"failed": len(failed), "quarantined": len(quarantined)}
    told["is_whole"] = bool(told["files"] and not (told["due"] or failures or told["trouble"]))
    told["history"] = _with_point(former.get("history", []), {"at": at, **{n: told[n] for n in _COUNTS}})
    whole = [point["at"] for point in told["history"] if point.get("is_whole")]
    told["last_success"] = whole[-1] if whole else former.get("last_success")
    return told


def _failure(failure: Failure, *, is_quarantined: bool) -> dict[str, Any]:
    told = asdict(failure)
    return {n: told[n] for n in ("stage", "shard", "count", "reason", "at")} | {
        "is_quarantined": is_quarantined
    }


def _counted(work: Work) -> dict[str, Any]:
    """Files seen and refused, by the footers; shards that a run would make."""
    made = [found[1] for found in work.standing("items").values() if found]
    plans = plan_archive(work, warn=lambda line: None)  # the page says it of each archive itself
    due = set[str]().union(*(plan.due for plan in plans.values()))
    return {
        "files": sum(facts.rows + facts.rejected for facts in made),
        "rejected": sum(facts.rejected for facts in made),
        # What is made over all shards counts as one, where no shard is due itself.
        "due": len(due - {WHOLE}) or len(due),
        "due_stages": [name for name, plan in plans.items() if plan.due],
    }


def _freshness(work: Work) -> dict[str, Any]:
    indexes = [stage.name for stage in line_of(work.archive).stages if stage.name.endswith("_index")]
    asked = [("source", source_freshness(work)), *((name, index_freshness(work, name)) for name in indexes)]
    return {"freshness": [{"of": name} | asdict(found) for name, found in asked]}


def _serving(lake: Lake, archive: Archive) -> dict[str, Any] | None:
    """Which contract answers searches; None where nothing does yet."""
    pointer = read_pointer(lake, archive.name) if archive.line in INDEX_STAGES else None
    one = pointer.of(pointer.now) if pointer else None
    if one is None:
        return None
    backbone = str(one.entry["embedding"]["backbone"])
    return {"contract": one.contract, "backbone": backbone, "since": one.since,
            "is_wanted": backbone == archive.embedding.backbone}  # fmt: skip


def _last_made(lake: Lake, archive: Archive) -> str | None:
    """When a file of the archive was last committed, ISO 8601 in UTC; None where there is none."""
    base = lake.root / archive.name
    newest = max(
        (path.stat().st_mtime for form in ("*/*.parquet", "*/*/*.parquet") for path in base.glob(form)),
        default=None,
    )
    return None if newest is None else datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds")


def _with_point(history: Sequence[Mapping[str, Any]], point: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The history with one more point; of a stretch in which nothing changed, its two ends are kept."""
    kept = [dict(each) for each in history if isinstance(each, Mapping) and isinstance(each.get("at"), str)]
    if len(kept) >= 2 and all(_counts(each) == _counts(point) for each in kept[-2:]):
        kept.pop()
    kept.append(dict(point))
    while len(kept) > _MOST_POINTS:
        # The older half is thinned: what is long ago needs fewer points.
        kept = kept[: len(kept) // 2 : 2] + kept[len(kept) // 2 :]
    return kept


def _counts(point: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(point.get(name) for name in _COUNTS)


def _chart(history: Sequence[Mapping[str, Any]]) -> Any:
    """Share of the files that were refused, over time; None where there aren't two moments to draw."""
    points = [
        (datetime.fromisoformat(p["at"]), p["rejected"] / p["files"]) for p in history if p.get("files")
    ]
    span_s = (points[-1][0] - points[0][0]).total_seconds() if points else 0.0
    if span_s <= 0:
        return None
    unit, length_s = next(
        (unit, length_s)
        for unit, length_s in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0))
        if span_s >= 2 * length_s or unit == "minutes"
    )
    times = [(at - points[-1][0]).total_seconds() / length_s for at, _ in points]
    return line_plot(
        times, {"refused": [share for _, share in points]}, y_label="share of files",
        x_label=f"{unit}; 0 is this page",
    )  # fmt: skip


def _shown(at: str | None) -> str:
    """A time for people: `2026-11-23 21:30 UTC`."""
    return f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at else "never"
