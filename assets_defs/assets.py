"""What the assets of all lines have in common."""

from collections.abc import Callable
from typing import Any

import dagster as dg

from assets_defs.shown import as_metadata
from lib.lake import Facts
from lib.stages.stage import Line

# The data version of `sources`, whatever it found: another would show all shards as outdated by a new file.
REGISTERED = "registered"


def asset(**told: Any) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """`dg.asset`: through `**`, mypy can't tell its overloads apart; said here once, for every line."""
    made: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(**told)
    return made


def about(archive: str, line: Line) -> Callable[..., dict[str, Any]]:
    """Key, group, kinds and code version of an archive's assets, by stage."""
    versions = {stage.name: str(stage.version) for stage in line.stages}

    def told(stage: str, *kinds: str) -> dict[str, Any]:
        return {
            "key": dg.AssetKey([archive, stage]),
            "group_name": archive,
            "kinds": set(kinds),
            "code_version": versions.get(stage, "1"),
        }

    return told


def items_metadata(facts: Facts) -> dict[str, Any]:
    """What a shard's items came to."""
    return as_metadata(facts, **facts.notes)


def rate(facts: Facts) -> float:
    """Samples made a second."""
    return round(facts.made / facts.seconds, 1) if facts.seconds else 0.0


def report_result(made: Any) -> dg.MaterializeResult[Any]:
    """A report's place and figures."""
    shown: dict[str, Any] = as_metadata(made.facts)
    shown["report"] = dg.MetadataValue.path(str(made.path))
    shown["figures"] = dg.MetadataValue.md(made.markdown)
    for name, value in made.figures.items():
        shown[name] = dg.MetadataValue.float(float(value))
    return dg.MaterializeResult(metadata=shown)


def sources_result(found: Any) -> dg.MaterializeResult[Any]:
    """What stands at an archive's source."""
    return dg.MaterializeResult(
        data_version=dg.DataVersion(REGISTERED),
        metadata={
            "root": dg.MetadataValue.path(str(found.root)),
            "files": found.files,
            "new": found.new,
            "changed": found.changed,
            "removed": found.removed,
            "shards": len(found.shards),
            "bytes": found.bytes,
            "seconds": found.seconds,
        },
    )
