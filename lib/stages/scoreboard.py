"""scoreboard: the reports of all archives on one page."""

from datetime import UTC, datetime
from pathlib import Path

from lib.catalog import Catalog
from lib.lake import Lake
from lib.scoreboard import write_scoreboard
from lib.stages.line import LINES, line_of


def make_scoreboard(lake: Lake, catalog: Catalog) -> tuple[Path, int]:
    """Gather every report that stands; the page's path and how many reports are on it."""
    reports = [
        path
        for name, archive in sorted(catalog.archives.items())
        for stage in (line_of(archive).stages if archive.kind in LINES else ())
        if stage.name.endswith("_report")
        if (path := lake.folder(name, stage.name) / "report.json").is_file()
    ]
    return write_scoreboard(reports, lake.root / "_scoreboard", made_at=datetime.now(UTC)), len(reports)
