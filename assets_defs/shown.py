"""How a stage's outcome is shown in the Dagster UI: counts, seconds, bytes, reasons, pictures."""

import base64
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from assets_defs.partitions import shard_of
from lib.errors import DinolakeError
from lib.lake import Facts
from lib.stages.making import Work

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

    Cells that hold no scene are passed over.
    """
    failed: dict[str, str] = {}
    known = set(work.prints.shards)
    for partition in context.partition_keys:
        shard = shard_of(work.archive, partition)
        if shard not in known:
            continue
        try:
            made = make(shard)
        except DinolakeError as error:
            failed[shard] = str(error)
            context.log.error(f"shard {shard}: {error}")
        except Exception as error:  # noqa: BLE001 - the other shards of the run must not be lost to one's bug
            failed[shard] = f"{type(error).__name__}: {error}"
            context.log.error(f"shard {shard}: {traceback.format_exc()}")
        else:
            for key, metadata in made.items():
                context.add_asset_metadata(metadata, asset_key=key, partition_key=partition)
    if failed:
        names = "; ".join(f"{shard}: {reason.rstrip('.')}" for shard, reason in failed.items())
        raise dg.Failure(
            description=f"{len(failed)} of {len(context.partition_keys)} shards failed: {names}. "
            "What the others made is committed, and isn't made again.",
            allow_retries=False,
        )
