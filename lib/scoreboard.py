"""The scoreboard: every report's figures on one page, grouped by contract, as weights differ between them."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lib.page import file_link, render_page, write_page
from lib.report import Metric, Published, Reject, figure_rows, standing


@dataclass(frozen=True, slots=True)
class Scores:
    """What one report measured; `page` is its HTML, to be linked."""

    archive: str
    stage: str
    contract: str
    backbone: str
    metrics: Sequence[Metric]
    page: Path
    made_at: str = ""


def read_scores(report_json: Path) -> Scores:
    """Read `<lake>/<archive>/<stage>/report.json` back.

    Raises:
        OSError: It isn't there, or can't be read.
        ValueError: It is no report: no JSON, or fields are missing.
    """
    try:
        data = json.loads(report_json.read_text("utf-8"))
        return Scores(
            archive=data["archive"],
            stage=report_json.parent.name,
            contract=data["contract"],
            backbone=data.get("embedding", {}).get("backbone", ""),
            metrics=[_metric(row) for row in data["metrics"]],
            page=report_json.with_name("report.html"),
            made_at=data.get("made_at") or "",
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{report_json} is no report of Dinolake ({error!r}): make it again") from error


def write_scoreboard(reports: Sequence[Path], folder: Path, *, made_at: datetime | None = None) -> Path:
    """Gather these `report.json` files into one report; what can't be read is named there, not fatal."""
    read: list[Scores] = []
    unread: list[Reject] = []
    for path in reports:
        try:
            read.append(read_scores(path))
        except (OSError, ValueError) as error:
            unread.append(Reject(str(path), str(error)))
    contracts = sorted({scores.contract for scores in read})
    groups = []
    for contract in contracts:
        members = sorted((s for s in read if s.contract == contract), key=lambda s: (s.archive, s.stage))
        groups.append(
            {
                "contract": contract,
                "backbone": next((s.backbone for s in members if s.backbone), ""),
                "standing": standing([(s.archive, m) for s in members for m in s.metrics]),
                "boards": [(s, figure_rows(s.metrics), _link(s.page, folder)) for s in members],
            }
        )
    page = render_page(
        "scoreboard.html.j2",
        groups=groups,
        reports=len(read),
        unread=unread,
        made_at=f"{made_at:%Y-%m-%d %H:%M %Z}".strip() if made_at else "",
    )
    data: dict[str, object] = {
        "contract": contracts[0] if len(contracts) == 1 else None,
        "contracts": contracts,
        "metrics": [
            {**m.as_json(), "archive": s.archive, "stage": s.stage, "contract": s.contract}
            for s in read
            for m in s.metrics
        ],
        "unread": [{"file": r.file, "reason": r.reason} for r in unread],
        "made_at": None if made_at is None else made_at.isoformat(timespec="seconds"),
    }
    return write_page(folder, data, page)


def _metric(row: dict[str, Any]) -> Metric:
    low_high = row.get("gain_interval")
    return Metric(
        row["task"],
        row["metric"],
        chance=row["chance"],
        naive=row["naive"],
        ours=row["ours"],
        n=row["n"],
        note=row.get("note", ""),
        higher_is_better=row.get("higher_is_better", True),
        gain_interval=None if low_high is None else (low_high[0], low_high[1]),
        published=[Published(p["figure"], p["whose"]) for p in row.get("published", ())],
    )


def _link(page: Path, folder: Path) -> str:
    # Relative, so that a copied lake keeps its links.
    return file_link(Path(os.path.relpath(page, folder)))
