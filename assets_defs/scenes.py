"""The scene line: sources → items → tiles → windows → window_embeddings → changes → change_report.

The index of places branches off after window_embeddings. A partition is a cell of tile and period.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from assets_defs.assets import about as described
from assets_defs.assets import asset, items_metadata, rate, report_result, sources_result
from assets_defs.checks import scene_checks
from assets_defs.partitions import cells_of, dynamic_keys, looks_back, shards_of, shards_policy
from assets_defs.shown import as_metadata, each_shard, picture
from lib.catalog import Archive
from lib.compute import RayCompute
from lib.lake import Lake
from lib.stages.making import Work
from lib.stages.scene_line import SCENE_LINE


def scene_line(archive: Archive) -> Sequence[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Every asset and check of one scene archive.

    The archive is the group, so the line reads from left to right.
    """
    name = archive.name

    def key(stage: str) -> dg.AssetKey:
        return dg.AssetKey([name, stage])

    about = described(name, SCENE_LINE)
    sharded: Mapping[str, Any] = {"partitions_def": cells_of(archive), "backfill_policy": shards_policy()}

    @asset(**about("sources", "python"))
    def sources(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """Where the scenes come from: your folder, a STAC catalogue, or a public dataset.

        Every file found is registered: its date and its tile decide its cell, or it is a row with the reason.
        """
        from lib.stages.acquire import acquire

        found = acquire(archive, lake, say=context.log.info)
        tiles = dynamic_keys(archive, found.shards)
        context.instance.add_dynamic_partitions(shards_of(name).name or "", tiles)
        return sources_result(found)

    @asset(**about("items", "parquet"), **sharded, deps=[sources])
    def items(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> None:
        """One row a scene: when, where, CRS, bands, footprint, cloud cover, and a verdict: ok, or why not."""
        from lib.stages.scene_items import make_scene_items

        work = Work(lake, archive)
        each_shard(context, work, lambda s: {key("items"): items_metadata(make_scene_items(work, s))})

    @asset(**about("tiles", "rasterio"), deps=[items])
    def tiles(lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """Each tile's pixel lattice and scaling to 8 bits, fitted once on its first scene."""
        from lib.stages.tiles import make_tiles

        return dg.MaterializeResult(metadata=as_metadata(make_tiles(Work(lake, archive))))

    @asset(**about("windows", "parquet", "rasterio"), **sharded, deps=[items, tiles])
    def windows(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> None:
        """The grid of windows on each scene: where they are, what share of each has data, a thumbnail."""
        from lib.stages.scene_pictures import windows_sheet
        from lib.stages.windows import make_windows

        work = Work(lake, archive)

        def make(shard: str) -> dict[dg.AssetKey, dict[str, Any]]:
            shown = as_metadata(make_windows(work, shard))
            if sheet := windows_sheet(work, shard):
                shown["sample"] = picture(sheet)
            return {key("windows"): shown}

        each_shard(context, work, make)

    @asset(**about("window_embeddings", "ray", "parquet", "openvino"), **sharded, deps=[windows])
    def window_embeddings(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], compute: dg.ResourceParam[RayCompute]
    ) -> None:
        """The backbone's vectors of every window and its cells, by Ray workers; nothing below runs it."""
        from lib.stages.window_embeddings import make_window_embeddings

        work = Work(lake, archive)

        def make(shard: str) -> dict[dg.AssetKey, dict[str, Any]]:
            facts = make_window_embeddings(work, shard, compute)
            told = {
                "backbone": work.contract.shown,
                "contract": work.contract.id,
                "windows_per_s": rate(facts),
            }
            return {key("window_embeddings"): as_metadata(facts, **told)}

        with compute:
            each_shard(context, work, make)

    @asset(**about("centring", "numpy"), deps=[window_embeddings])
    def centring(lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """The mean window vector, fitted once on the training side. New data doesn't move it."""
        from lib.stages.centring import make_centring

        facts = make_centring(Work(lake, archive))
        return dg.MaterializeResult(metadata=as_metadata(facts, **facts.notes))

    @asset(
        **about("changes", "parquet"),
        **sharded,
        deps=[dg.AssetDep(window_embeddings, partition_mapping=looks_back(archive))],
    )
    def changes(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> None:
        """What changed since the tile's acquisition before, or against its own history: polygons in m²."""
        from lib.stages.changes import make_changes
        from lib.stages.scene_pictures import changes_sheet

        work = Work(lake, archive)

        def make(shard: str) -> dict[dg.AssetKey, dict[str, Any]]:
            facts = make_changes(work, shard)
            shown = as_metadata(facts, **facts.notes.get("totals", {}))
            if sheet := changes_sheet(work, shard):
                shown["changes"] = picture(sheet)
            return {key("changes"): shown}

        each_shard(context, work, make)

    @asset(**about("scene_index", "faiss"), deps=[window_embeddings, centring, items])
    def scene_index(lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """FAISS over all windows; published only when its recall against exact search is good."""
        from lib.stages.scene_index import make_scene_index

        facts = make_scene_index(Work(lake, archive))
        shown = {n: facts.notes[n] for n in ("kind", "recall", "windows", "dim") if n in facts.notes}
        return dg.MaterializeResult(metadata=as_metadata(facts, **shown))

    @asset(**about("change_report", "html"), deps=[changes, items])
    def change_report(lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """What changed where and when, and how far that can be believed."""
        from lib.stages.change_report import make_change_report

        return report_result(make_change_report(Work(lake, archive)))

    @asset(**about("land_cover", "scikitlearn"), deps=[window_embeddings])
    def land_cover(lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """A class for every cell of 16 px, by the labels that the catalog entry names; a COG a tile."""
        from lib.stages.land_cover import make_land_cover

        facts = make_land_cover(Work(lake, archive))
        shown = {side: (facts.notes.get(side) or {}).get("accuracy") for side in ("random", "spatial")}
        told = {f"accuracy_{side}": value for side, value in shown.items() if value is not None}
        return dg.MaterializeResult(metadata=as_metadata(facts, **told))

    @asset(**about("landcover_report", "html"), deps=[land_cover, items])
    def landcover_report(lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        """What the ground is, by class, and how good that is on ground that wasn't labelled."""
        from lib.stages.landcover_report import make_landcover_report

        return report_result(make_landcover_report(Work(lake, archive)))

    assets = [
        sources, items, tiles, windows, window_embeddings, centring, changes, scene_index, land_cover,
        change_report, landcover_report,
    ]  # fmt: skip
    return [*assets, *scene_checks(archive)]
