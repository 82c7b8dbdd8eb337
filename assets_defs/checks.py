"""Asset checks: what must hold of a line's stages.

They are unpartitioned: partitioned ones show as skipped in range runs.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from lib.catalog import Archive
from lib.lake import Lake
from lib.stages.making import Work

if TYPE_CHECKING:
    from lib.stages.published_index import Indexed

WARN_REJECTED_PCT = 5.0


def _few_rejects(archive: Archive) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=dg.AssetKey([archive.name, "items"]),
        name="few_rejects",
        blocking=archive.max_rejected_pct is not None,
    )
    def few_rejects(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        """Few files are refused: a warning from 5 %, a failure above the catalog's own limit."""
        from lib.stages.verify import rejected_share

        files, rejected = rejected_share(Work(lake, archive))
        pct = 100.0 * rejected / files if files else 0.0
        limit = archive.max_rejected_pct
        is_over = limit is not None and pct > limit
        return dg.AssetCheckResult(
            passed=not is_over and pct < WARN_REJECTED_PCT,
            severity=dg.AssetCheckSeverity.ERROR if is_over else dg.AssetCheckSeverity.WARN,
            description=f"{rejected} of {files} files were refused ({pct:.1f} %).",
            metadata={"files": files, "rejected": rejected, "rejected_pct": pct},
        )

    return few_rejects


def _index_is_whole(
    archive: Archive, indexed: "Callable[[], Indexed]", stage: str
) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=dg.AssetKey([archive.name, stage]), name="index_is_whole", blocking=True)
    def index_is_whole(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        """The index holds just what the Parquet files hold, and finds enough of what exact search finds."""
        from lib.stages.verify import index_faults

        faults, facts = index_faults(Work(lake, archive), indexed())
        return dg.AssetCheckResult(
            passed=not faults,
            description="; ".join(faults) or "just the rows that stand",
            metadata=dict(facts),
        )

    return index_is_whole


def video_checks(archive: Archive) -> Sequence[dg.AssetChecksDefinition]:
    """The checks of one video archive."""
    name = archive.name

    @dg.asset_check(asset=dg.AssetKey([name, "frame_embeddings"]), name="one_vector_a_frame", blocking=True)
    def one_vector_a_frame(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        """Every frame has a vector, every vector is finite and has a length."""
        from lib.stages.verify import embedding_faults

        faults = embedding_faults(Work(lake, archive))
        return dg.AssetCheckResult(passed=not faults, description="; ".join(faults[:10]) or "all of them")

    def clips() -> "Indexed":
        from lib.stages.clip_index import CLIPS

        return CLIPS

    return [_few_rejects(archive), one_vector_a_frame, _index_is_whole(archive, clips, "clip_index")]


def scene_checks(archive: Archive) -> Sequence[dg.AssetChecksDefinition]:
    """The checks of one scene archive."""
    name = archive.name

    @dg.asset_check(asset=dg.AssetKey([name, "window_embeddings"]), name="one_vector_a_window", blocking=True)
    def one_vector_a_window(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        """Every window has a vector, every vector is finite and has a length."""
        from lib.stages.verify import window_faults

        faults = window_faults(Work(lake, archive))
        return dg.AssetCheckResult(passed=not faults, description="; ".join(faults[:10]) or "all of them")

    def windows() -> "Indexed":
        from lib.stages.scene_index import WINDOWS

        return WINDOWS

    return [_few_rejects(archive), one_vector_a_window, _index_is_whole(archive, windows, "scene_index")]
