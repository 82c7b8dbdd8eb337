"""How a stage's outcome is shown in the Dagster UI: counts, seconds, bytes, reasons, pictures."""

import base64
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import dagster as dg

from assets_defs.partitions import shard_of
from lib.errors import DinolakeError
from lib.lake import Facts
from lib.retrying import with_retries
from lib.stages.failing import note_failure, require_above
from lib.stages.making import Work

# The shards that failed, shard -> why, in a failure's metadata.
FAILED = "failed_shards"
_SHOWN_REASONS = 50


def as_metadata(facts: Facts, **more: Any) -> dict[str, Any]:
    """What a materialization says: made, kept, rejected, seconds, bytes, and why files were refused."""
    metadata: dict[str, Any] = {
        "dagster/row_count": facts.rows,
        "made": facts.made,
        "kept": facts.kept,
        "rejected": facts.rejected,
        "seconds": dg.MetadataValue.float(float(facts.seconds)),
        "bytes": facts.bytes,
    }
    if facts.reasons:
        shown = list(facts.reasons.items())[:_SHOWN_REASONS]
        metadata["reasons"] = dg.MetadataValue.table(
            [dg.TableRecord({"file": file, "reason": reason}) for file, reason in shown]
        )
    return metadata | more


def picture(png: bytes) -> dg.MarkdownMetadataValue:
    """A PNG as metadata; the UI shows it behind [Show Markdown]."""
    return dg.MetadataValue.md(f"![picture](data:image/png;base64,{base64.b64encode(png).decode()})")


def each_shard(
    context: dg.AssetExecutionContext,
    work: Work,
    make: Callable[[str], Mapping[dg.AssetKey, dict[str, Any]]],
) -> None:
    """Make each shard of the run; one that fails stops no other, and all that failed are named at the end.

    Cells that hold no scene are passed over. What may pass is tried again after a pause; what failed is noted
    in the ledger, and isn't tried for ever.
    """
    stages = [key.path[-1] for key in context.selected_asset_keys]
    made: dict[str, Mapping[dg.AssetKey, dict[str, Any]]] = {}
    failed: dict[str, str] = {}
    known = set(work.prints.shards)
    for partition in context.partition_keys:
        shard = shard_of(work.archive, partition)
        if shard not in known:
            continue
        if shard in work.prints.quarantined:
            context.log.warning(f"shard {shard} is quarantined: {work.prints.quarantined[shard]}")
            continue
        try:
            require_above(work, stages, shard)
            made[partition] = with_retries(partial(make, shard), say=context.log.warning)
        except DinolakeError as error:
            failed[partition] = note_failure(work, stages, shard, error)
            context.log.error(f"shard {shard}: {error}")
        except Exception as error:  # noqa: BLE001 - the other shards of the run must not be lost to one's bug
            failed[partition] = note_failure(work, stages, shard, error)
            context.log.error(f"shard {shard}: {traceback.format_exc()}")
        else:
            for key, metadata in made[partition].items():
                context.add_asset_metadata(metadata, asset_key=key, partition_key=partition)
    if failed:
        # A step that fails materializes nothing in Dagster's eyes: what the others made is told by hand, so
        # that the UI shows just those red that are.
        for partition, told in made.items():
            for key, metadata in told.items():
                context.log_event(dg.AssetMaterialization(key, partition=partition, metadata=metadata))
        names = "; ".join(f"{shard_of(work.archive, p)}: {r.rstrip('.')}" for p, r in failed.items())
        raise dg.Failure(
            description=f"{len(failed)} of {len(context.partition_keys)} shards failed: {names}. "
            "What the others made is committed, and isn't made again.",
            metadata={
                FAILED: dg.MetadataValue.json({shard_of(work.archive, p): r for p, r in failed.items()})
            },
            allow_retries=False,
        )
