"""The pair line: sources → items → left_embeddings, right_embeddings → aligner → … → retrieval_report."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from assets_defs.assets import about as described
from assets_defs.assets import asset, items_metadata, rate, report_result, sources_result
from assets_defs.checks import pair_checks
from assets_defs.partitions import shards_of, shards_policy
from assets_defs.shown import as_metadata, each_shard
from lib.catalog import Archive
from lib.compute import RayCompute
from lib.lake import Lake
from lib.stages.making import Work
from lib.stages.pair_line import PAIR_LINE


def pair_line(archive: Archive) -> Sequence[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Every asset and check of one archive of pairs.

    The archive is the group, so the line reads from left to right.
    """
    name = archive.name

    def key(stage: str) -> dg.AssetKey:
        return dg.AssetKey([name, stage])

    about = described(name, PAIR_LINE)
    sharded: Mapping[str, Any] = {"partitions_def": shards_of(name), "backfill_policy": shards_policy()}

    @asset(**about("sources", "python"))
    def sources(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """Where the pairs come from: your table, or a public dataset, downloaded, unpacked and checked.

        Every row is registered: it gets a shard and a split, and keeps them for good.
        """
        from lib.stages.acquire import acquire

        found = acquire(archive, lake, say=context.log.info)
        context.instance.add_dynamic_partitions(shards_of(name).name or "", sorted(found.shards))
        return sources_result(found)

    @asset(**about("items", "parquet"), **sharded, deps=[sources])
    def items(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> None:
        """One row a pair: both sides, their hashes, group, split, place, and a verdict: ok, or why not."""
        from lib.stages.pair_items import make_pair_items

        work = Work(lake, archive)
        each_shard(context, work, lambda shard: {key("items"): items_metadata(make_pair_items(work, shard))})

    def embeddings(side: str) -> dg.AssetsDefinition:
        stage = f"{side}_embeddings"

        @asset(
            **about(stage, "ray", "parquet"),
            **sharded,
            deps=[items],
            description=f"The vectors of the pairs' {side} sides, by Ray workers: each content once.",
        )
        def side_embeddings(
            context: dg.AssetExecutionContext,
            lake: dg.ResourceParam[Lake],
            compute: dg.ResourceParam[RayCompute],
        ) -> None:
            from lib.stages.side_embeddings import make_side_embeddings

            work = Work(lake, archive)

            def make(shard: str) -> dict[dg.AssetKey, dict[str, Any]]:
                facts = make_side_embeddings(work, shard, side, compute)
                contract = work.pair.side(side)
                told = {"vectors": contract.shown, "contract": contract.id, "per_s": rate(facts)}
                return {key(stage): as_metadata(facts, **told)}

            with compute:
                each_shard(context, work, make)

        return side_embeddings

    left, right = embeddings("left"), embeddings("right")

    @asset(**about("aligner", "torch", "numpy"), deps=[left, right])
    def aligner(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """Two heads fitted on the stored vectors of the training pairs. New pairs don't move them."""
        from lib.stages.aligner import make_aligner

        facts = make_aligner(Work(lake, archive), say=context.log.info)
        shown = {name: facts.notes[name] for name in ("chosen", "pairs", "dim") if name in facts.notes}
        return dg.MaterializeResult(metadata=as_metadata(facts, **shown))

    @asset(**about("shared_embeddings", "parquet", "numpy"), **sharded, deps=[left, right, aligner])
    def shared_embeddings(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> None:
        """Both sides in the space that they share, which is a contract of its own."""
        from lib.stages.shared_embeddings import make_shared_embeddings

        work = Work(lake, archive)
        each_shard(
            context,
            work,
            lambda shard: {key("shared_embeddings"): as_metadata(make_shared_embeddings(work, shard))},
        )

    @asset(**about("gallery_index", "faiss"), deps=[shared_embeddings, items])
    def gallery_index(lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """FAISS over both sides; published only when its recall against exact search is good."""
        from lib.stages.gallery_index import make_gallery_index

        facts = make_gallery_index(Work(lake, archive))
        shown = {n: facts.notes[n] for n in ("kind", "recall", "sides", "dim") if n in facts.notes}
        return dg.MaterializeResult(metadata=as_metadata(facts, **shown))

    @asset(**about("retrieval_report", "html"), deps=[gallery_index, aligner, shared_embeddings, items])
    def retrieval_report(lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """How well one side finds the other: chance, naive, raw cosine, every rung and ours, both ways."""
        from lib.stages.retrieval_report import make_retrieval_report

        return report_result(make_retrieval_report(Work(lake, archive)))

    assets = [sources, items, left, right, aligner, shared_embeddings, gallery_index, retrieval_report]
    return [*assets, *pair_checks(archive)]
