"""Asset checks: what must hold of a line's stages.

They are unpartitioned: partitioned ones show as skipped in range runs.
"""

from collections.abc import Sequence

import dagster as dg

from lib.catalog import Archive
from lib.lake import Lake
from lib.stages.making import Work

WARN_REJECTED_PCT = 5.0


def video_checks(archive: Archive) -> Sequence[dg.AssetChecksDefinition]:
    """The checks of one video archive."""
    name = archive.name

    @dg.asset_check(
        asset=dg.AssetKey([name, "items"]), name="few_rejects", blocking=archive.max_rejected_pct is not None
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

    @dg.asset_check(asset=dg.AssetKey([name, "frame_embeddings"]), name="one_vector_a_frame", blocking=True)
    def one_vector_a_frame(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        """Every frame has a vector, every vector is finite and has a length."""
        from lib.stages.verify import embedding_faults

        faults = embedding_faults(Work(lake, archive))
        return dg.AssetCheckResult(passed=not faults, description="; ".join(faults[:10]) or "all of them")

    @dg.asset_check(asset=dg.AssetKey([name, "clip_index"]), name="index_is_whole", blocking=True)
    def index_is_whole(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        """The index holds just the Parquet files' clips, and finds enough of what exact search finds."""
        from lib.stages.verify import index_faults

        faults, facts = index_faults(Work(lake, archive))
        return dg.AssetCheckResult(
            passed=not faults,
            description="; ".join(faults) or "just the clips that stand",
            metadata=dict(facts),
        )

    return [few_rejects, one_vector_a_frame, index_is_whole]
