"""The scoreboard: every archive's reports on one page."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from lib.catalog import Catalog
from lib.lake import Lake
from lib.stages.line import LINES, line_of

SCOREBOARD = dg.AssetKey(["lake", "scoreboard"])
HEALTH = dg.AssetKey(["lake", "health"])
# Not `eager()`: that never fires while one archive has no report yet.
_AFTER_A_REPORT = (
    dg.AutomationCondition.any_deps_updated().since_last_handled()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
)


def scoreboard(catalog: Catalog) -> dg.AssetsDefinition:
    """The one asset that reads the reports of all lines."""
    reports: Sequence[dg.AssetKey] = [
        dg.AssetKey([name, stage.name])
        for name, archive in catalog.archives.items()
        if archive.kind in LINES
        for stage in line_of(archive).stages
        if stage.name.endswith("_report")
    ]

    @dg.asset(
        key=SCOREBOARD, group_name="scoreboard", kinds={"html"}, deps=reports,
        automation_condition=_AFTER_A_REPORT,
    )  # fmt: skip
    def scoreboard_page(lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """All reports' figures side by side: chance, naive, ours."""
        from lib.stages.scoreboard import make_scoreboard

        path, rows = make_scoreboard(lake, catalog)
        return dg.MaterializeResult(
            metadata={"page": dg.MetadataValue.path(str(path)), "dagster/row_count": rows}
        )

    return scoreboard_page


def health(catalog: Catalog) -> dg.AssetsDefinition:
    """The page on how every archive is."""

    @dg.asset(
        key=HEALTH, group_name="scoreboard", kinds={"html"}, deps=[SCOREBOARD],
        automation_condition=_AFTER_A_REPORT,
    )  # fmt: skip
    def health_page(lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """Every archive: last success, refused files, what is due, what failed, what is quarantined."""
        from lib.health import make_health

        path, counted = make_health(lake, catalog)
        return dg.MaterializeResult(metadata={"page": dg.MetadataValue.path(str(path)), **counted})

    return health_page
