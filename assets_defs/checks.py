"""Asset checks: what must hold of a line's stages.

They are unpartitioned: partitioned ones show as skipped in range runs.
"""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from assets_defs.partitions import shard_of
from lib.catalog import Archive
from lib.lake import Lake
from lib.stages.making import Work

if TYPE_CHECKING:
    from lib.stages.published_index import Indexed

WARN_REJECTED_PCT = 5.0
_FaultsOf = Callable[[Work, Collection[str] | None], Sequence[str]]


def few_rejects_of(archive: Archive) -> dg.AssetChecksDefinition:
    """Whether few of an archive's files are refused; blocking where its entry sets a limit."""

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


def _of_shards(
    context: dg.AssetCheckExecutionContext, work: Work, stage: str, faults_of: "_FaultsOf"
) -> dg.AssetCheckResult:
    """The outcome of a check that names shards at fault: those are made again by the next run."""
    from lib.stages.faulty import drop_faulty

    # Of the run's own shards alone: all of them after each batch would take the square of their number.
    in_run = context.partition_keys if context.has_partition_key_range or context.has_partition_key else None
    shards = None if in_run is None else {shard_of(work.archive, key) for key in in_run}
    faults = faults_of(work, shards)
    dropped = drop_faulty(work, stage, faults)
    again = f". The next run makes {len(dropped)} of its shards again" if dropped else ""
    return dg.AssetCheckResult(
        passed=not faults, description="; ".join(faults[:10]) + again if faults else "all of them"
    )


def _index_is_whole(
    archive: Archive, indexed: "Callable[[], Indexed]", stage: str
) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=dg.AssetKey([archive.name, stage]), name="index_is_whole", blocking=True)
    def index_is_whole(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        """The index holds just what the Parquet files hold, and finds enough of what exact search finds."""
        from lib.serving import publish
        from lib.stages.faulty import drop_whole
        from lib.stages.verify import index_faults

        work = Work(lake, archive)
        faults, facts = index_faults(work, indexed())
        if faults:
            # Else the next run would take it for done, and publish what stands on it.
            drop_whole(work, stage)
        else:
            publish(work)
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
    def one_vector_a_frame(
        context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
    ) -> dg.AssetCheckResult:
        """Every frame has a vector, every vector is finite and has a length."""
        from lib.stages.verify import embedding_faults

        return _of_shards(context, Work(lake, archive), "frame_embeddings", embedding_faults)

    def clips() -> "Indexed":
        from lib.stages.clip_index import CLIPS

        return CLIPS

    return [few_rejects_of(archive), one_vector_a_frame, _index_is_whole(archive, clips, "clip_index")]


def scene_checks(archive: Archive) -> Sequence[dg.AssetChecksDefinition]:
    """The checks of one scene archive."""
    name = archive.name

    @dg.asset_check(asset=dg.AssetKey([name, "window_embeddings"]), name="one_vector_a_window", blocking=True)
    def one_vector_a_window(
        context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
    ) -> dg.AssetCheckResult:
        """Every window has a vector, every vector is finite and has a length."""
        from lib.stages.verify import window_faults

        return _of_shards(context, Work(lake, archive), "window_embeddings", window_faults)

    def windows() -> "Indexed":
        from lib.stages.scene_index import WINDOWS

        return WINDOWS

    return [few_rejects_of(archive), one_vector_a_window, _index_is_whole(archive, windows, "scene_index")]


def pair_checks(archive: Archive) -> Sequence[dg.AssetChecksDefinition]:
    """The checks of one archive of pairs."""
    name = archive.name

    @dg.asset_check(asset=dg.AssetKey([name, "aligner"]), name="tells_apart", blocking=True)
    def tells_apart(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        """The heads tell contents apart: those that map everything to one point are not published."""
        from lib.stages.verify import aligner_faults

        fault, doubt, facts = aligner_faults(Work(lake, archive))
        return dg.AssetCheckResult(
            passed=not fault and not doubt,
            severity=dg.AssetCheckSeverity.ERROR if fault else dg.AssetCheckSeverity.WARN,
            description=fault or doubt or "they do",
            metadata=dict(facts),
        )

    def sides() -> "Indexed":
        from lib.stages.gallery_index import SIDES_INDEXED

        return SIDES_INDEXED

    return [few_rejects_of(archive), tells_apart, _index_is_whole(archive, sides, "gallery_index")]
