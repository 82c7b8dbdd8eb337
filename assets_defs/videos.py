"""The video line: sources → items → frames → frame_embeddings → clips → clip_index → reports.

Summaries stand beside: they branch off after frame_embeddings.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from assets_defs.assets import about as described
from assets_defs.assets import asset, items_metadata, rate, report_result, sources_result
from assets_defs.checks import video_checks
from assets_defs.partitions import shards_of, shards_policy
from assets_defs.shown import as_metadata, each_shard, picture
from lib.catalog import Archive
from lib.compute import RayCompute
from lib.lake import Lake
from lib.stages.making import Work
from lib.stages.video_line import VIDEO_LINE


def video_line(archive: Archive) -> Sequence[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Every asset and check of one video archive.

    The archive is the group, so the line reads from left to right.
    """
    name = archive.name

    def key(stage: str) -> dg.AssetKey:
        return dg.AssetKey([name, stage])

    about = described(name, VIDEO_LINE)
    sharded: Mapping[str, Any] = {"partitions_def": shards_of(name), "backfill_policy": shards_policy()}

    @asset(**about("sources", "python"))
    def sources(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """Where the videos come from: your folder, or a public dataset, downloaded, unpacked and checked.

        Every file found is registered: it gets an id and a shard, and keeps them for good.
        """
        from lib.stages.acquire import acquire

        found = acquire(archive, lake, say=context.log.info)
        context.instance.add_dynamic_partitions(shards_of(name).name or "", sorted(found.shards))
        return sources_result(found)

    @asset(**about("items", "parquet"), **sharded, deps=[sources])
    def items(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> None:
        """One row a file: content hash, length, size, codec, label, and a verdict: ok, or why not."""
        from lib.stages.items import make_items

        work = Work(lake, archive)
        each_shard(context, work, lambda shard: {key("items"): items_metadata(make_items(work, shard))})

    @dg.multi_asset(
        name=f"{name}__frames",
        specs=[
            dg.AssetSpec(
                **about("frames", "parquet"),
                deps=[items],
                description="Frames sampled by timestamp, upright, with a thumbnail each.",
            ),
            dg.AssetSpec(
                **about("frame_embeddings", "ray", "parquet", "openvino"),
                deps=[key("frames")],
                description="The backbone's vectors of every frame, by Ray workers. "
                "Each video is decoded once for this and for its frames.",
            ),
        ],
        can_subset=True,
        **sharded,
    )
    def frames(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], compute: dg.ResourceParam[RayCompute]
    ) -> Iterator[dg.MaterializeResult[Any]]:
        """Decode and embed."""
        from lib.stages.frames import make_frames
        from lib.stages.pictures import frames_sheet

        work = Work(lake, archive)
        selected = {asset_key.path[-1] for asset_key in context.selected_asset_keys}

        def make(shard: str) -> dict[dg.AssetKey, dict[str, Any]]:
            made = make_frames(
                work, shard, compute, frames="frames" in selected, embeddings="frame_embeddings" in selected
            )
            shown = {key(stage): as_metadata(facts) for stage, facts in made.items()}
            if "frames" in made and (sheet := frames_sheet(work, shard)):
                shown[key("frames")]["sample"] = picture(sheet)
            if "frame_embeddings" in made:
                shown[key("frame_embeddings")] |= {
                    "backbone": work.contract.shown,
                    "contract": work.contract.id,
                    "frames_per_s": rate(made["frame_embeddings"]),
                }
            return shown

        with compute:
            each_shard(context, work, make)
        for stage in ("frames", "frame_embeddings"):
            if stage in selected:
                yield dg.MaterializeResult(asset_key=key(stage))

    @asset(**about("centring", "numpy"), deps=[key("frame_embeddings")])
    def centring(lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """The mean frame vector, fitted once on the training side. New data doesn't move it."""
        from lib.stages.centring import make_centring

        facts = make_centring(Work(lake, archive))
        return dg.MaterializeResult(metadata=as_metadata(facts, **facts.notes))

    @asset(**about("clips", "parquet"), **sharded, deps=[key("frame_embeddings"), centring])
    def clips(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> None:
        """Windows of a few seconds and whole videos, each the mean of its frames' centred vectors."""
        from lib.stages.clips import make_clips

        work = Work(lake, archive)
        each_shard(context, work, lambda shard: {key("clips"): as_metadata(make_clips(work, shard))})

    @asset(**about("summaries", "parquet"), **sharded, deps=[key("frame_embeddings")])
    def summaries(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> None:
        """For every video its shots, a score for every frame, and the segments that sum it up."""
        from lib.stages.pictures import summary_sheet
        from lib.stages.summaries import make_summaries

        work = Work(lake, archive)

        def make(shard: str) -> dict[dg.AssetKey, dict[str, Any]]:
            shown = as_metadata(make_summaries(work, shard))
            if sheet := summary_sheet(work, shard):
                shown["storyboard"] = picture(sheet)
            return {key("summaries"): shown}

        each_shard(context, work, make)

    @asset(**about("clip_index", "faiss"), deps=[clips, items])
    def clip_index(lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """FAISS over all shards' windows; published only when its recall against exact search is good."""
        from lib.stages.clip_index import make_clip_index

        facts = make_clip_index(Work(lake, archive))
        shown = {
            name: facts.notes[name] for name in ("kind", "recall", "clips", "dim") if name in facts.notes
        }
        return dg.MaterializeResult(metadata=as_metadata(facts, **shown))

    @asset(**about("search_report", "html"), deps=[clip_index, clips, items])
    def search_report(lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """How well moments are found: chance, naive and ours, with the best and the worst queries."""
        from lib.stages.search_report import make_search_report

        return report_result(make_search_report(Work(lake, archive)))

    @asset(**about("summary_report", "html"), deps=[summaries, items])
    def summary_report(lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """How well the summaries stand for their videos, beside chance and k-means."""
        from lib.stages.summary_report import make_summary_report

        return report_result(make_summary_report(Work(lake, archive)))

    assets = [
        sources, items, frames, centring, clips, summaries, clip_index, search_report, summary_report,
    ]  # fmt: skip
    return [*assets, *video_checks(archive)]
