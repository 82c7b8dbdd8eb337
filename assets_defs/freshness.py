"""Freshness as asset checks: they are evaluated by a sensor too, for what went quiet launches no run."""

from collections.abc import Callable, Iterator

import dagster as dg

from lib.catalog import Archive
from lib.lake import Lake
from lib.stages.freshness import Freshness, index_freshness, source_freshness
from lib.stages.line import line_of
from lib.stages.making import Work

Ask = Callable[[Work], Freshness]


def questions_of(archive: Archive) -> Iterator[tuple[dg.AssetCheckKey, Ask]]:
    """What is asked of an archive, by the check that it is shown as."""
    yield dg.AssetCheckKey(dg.AssetKey([archive.name, "sources"]), "source_is_fresh"), source_freshness
    for stage in line_of(archive).stages:
        if stage.name.endswith("_index"):
            name = stage.name
            key = dg.AssetCheckKey(dg.AssetKey([archive.name, name]), "index_is_fresh")
            yield key, lambda work, name=name: index_freshness(work, name)  # type: ignore[misc]


def freshness_checks(archive: Archive) -> Iterator[dg.AssetChecksDefinition]:
    """The checks of one archive."""
    for key, ask in questions_of(archive):
        yield _check(archive, key, ask)


def _check(archive: Archive, key: dg.AssetCheckKey, ask: Ask) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=key.asset_key,
        name=key.name,
        description="Something came within watch.quiet_after_days, and the source is there."
        if key.name == "source_is_fresh"
        else "What stands in the shards is in the index within watch.index_lag_hours.",
    )
    def is_fresh(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        found = ask(Work(lake, archive))
        return dg.AssetCheckResult(
            passed=found.is_fresh, description=found.told, metadata=shown(found),
            severity=dg.AssetCheckSeverity.WARN,
        )  # fmt: skip

    return is_fresh


def shown(found: Freshness) -> dict[str, float]:
    """Figures of a check, which the UI plots over time."""
    return {} if found.age_s is None else {"age_h": round(found.age_s / 3600, 2)}


def evaluation_of(key: dg.AssetCheckKey, found: Freshness) -> dg.AssetCheckEvaluation:
    """The outcome as an event, for a sensor to report."""
    return dg.AssetCheckEvaluation(
        asset_key=key.asset_key, check_name=key.name, passed=found.is_fresh, description=found.told,
        metadata=shown(found), severity=dg.AssetCheckSeverity.WARN,
    )  # fmt: skip
