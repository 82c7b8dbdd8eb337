"""The line of labelled pairs: sources → items → pair_changes → change_report.

For public change sets, whose pictures have neither place nor date. A partition is a shard of pairs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from assets_defs.assets import about as described
from assets_defs.assets import asset, items_metadata, rate, report_result, sources_result
from assets_defs.checks import few_rejects_of
from assets_defs.partitions import shards_of, shards_policy
from assets_defs.shown import as_metadata, each_shard, picture
from lib.catalog import Archive
from lib.compute import RayCompute
from lib.lake import Lake
from lib.stages.change_set_line import CHANGE_SET_LINE
from lib.stages.making import Work


def change_set_line(archive: Archive) -> Sequence[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Every asset and check of one archive of labelled pairs.

    The archive is the group, so the line reads from left to right.
    """
    name = archive.name

    def key(stage: str) -> dg.AssetKey:
        return dg.AssetKey([name, stage])

    about = described(name, CHANGE_SET_LINE)
    sharded: Mapping[str, Any] = {"partitions_def": shards_of(name), "backfill_policy": shards_policy()}

    @asset(**about("sources", "python"))
    def sources(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """Where the pairs come from. Every file found is registered, the files of a pair in one shard."""
        from lib.stages.acquire import acquire

        found = acquire(archive, lake, say=context.log.info)
        context.instance.add_dynamic_partitions(shards_of(name).name or "", list(found.shards))
        return sources_result(found)

    @asset(**about("items", "parquet"), **sharded, deps=[sources])
    def items(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> None:
        """One row a file: which side of which pair it is, or why it is none."""
        from lib.stages.change_set_items import make_change_set_items

        work = Work(lake, archive)
        each_shard(context, work, lambda s: {key("items"): items_metadata(make_change_set_items(work, s))})

    @asset(**about("pair_changes", "ray", "parquet", "openvino"), **sharded, deps=[items])
    def pair_changes(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], compute: dg.ResourceParam[RayCompute]
    ) -> None:
        """Each pair through the change recipe, naive ways and the recipe's parts, held against its labels."""
        from lib.stages.change_set_pictures import pairs_sheet
        from lib.stages.pair_changes import make_pair_changes

        work = Work(lake, archive)

        def make(shard: str) -> dict[dg.AssetKey, dict[str, Any]]:
            facts = make_pair_changes(work, shard, compute)
            told = {
                "backbone": work.contract.shown, "contract": work.contract.id, "pairs_per_s": rate(facts),
            }  # fmt: skip
            shown = as_metadata(facts, **told)
            if sheet := pairs_sheet(work, shard):
                shown["pairs"] = picture(sheet)
            return {key("pair_changes"): shown}

        with compute:
            each_shard(context, work, make)

    @asset(**about("change_report", "html"), deps=[pair_changes, items])
    def change_report(lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """What the recipe is worth: F1, IoU and AUROC against chance and naive ways, and by its parts."""
        from lib.stages.change_set_report import make_change_set_report

        return report_result(make_change_set_report(Work(lake, archive)))

    return [sources, items, pair_changes, change_report, few_rejects_of(archive)]
