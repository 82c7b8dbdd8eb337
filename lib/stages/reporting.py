"""What every report stage shares: a folder with report.json and report.html, and the fingerprint it was made for."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lib.lake import Facts
from lib.stages.making import Work, as_kept


@dataclass(frozen=True, slots=True)
class MadeReport:
    """A report as it stands: its page, its figures, a table of them for the UI."""

    path: Path
    facts: Facts
    markdown: str
    figures: Mapping[str, float] = field(default_factory=dict)


def report_facts(work: Work, stage: str) -> Facts | None:
    """The facts of a report that is up to date; None when it has to be made."""
    body = _read(work, stage)
    if body is None or body.get("fingerprint") != work.prints.of(stage):
        return None
    return as_kept(Facts(**body["facts"]))


def ensure_report(work: Work, stage: str, write: Callable[[Path, Mapping[str, Any]], int]) -> MadeReport:
    """Make a report unless it is up to date.

    Args:
        work: The archive.
        stage: Of the report.
        write: Given the folder and what to add to report.json, writes both files; returns how many figures.
    """
    with work.lake.lock(work.place(stage)):
        facts = report_facts(work, stage)
        if facts is None:
            import time

            began = time.perf_counter()
            facts = Facts(made=1)
            mark = work.prints.of(stage)
            write(work.lake.folder(work.archive.name, stage), {"fingerprint": mark, "facts": asdict(facts)})
            facts.seconds = round(time.perf_counter() - began, 3)
    body = _read(work, stage) or {}
    return MadeReport(
        work.lake.folder(work.archive.name, stage) / "report.html", facts, _markdown(body), _figures(body)
    )


def _read(work: Work, stage: str) -> dict[str, Any] | None:
    path = work.lake.folder(work.archive.name, stage) / "report.json"
    try:
        body: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return body


def _figures(body: Mapping[str, Any]) -> dict[str, float]:
    return {f"{m['task']}: {m['metric']}": m["ours"] for m in body.get("metrics", []) if m.get("ours") is not None}


def _markdown(body: Mapping[str, Any]) -> str:
    rows = ["| task | metric | chance | naive | ours | n |", "|---|---|---|---|---|---|"]
    for m in body.get("metrics", []):
        shown = ["–" if m[name] is None else f"{m[name]:.3f}" for name in ("chance", "naive", "ours")]
        rows.append(f"| {m['task']} | {m['metric']} | {' | '.join(shown)} | {m['n']} |")
    return "\n".join(rows)
