"""What `make demo` shows of the scene line: six dates of one place, and what was planted found again."""

import json
from collections.abc import Callable
from pathlib import Path

from lib.stages.making import Work
from orchestration.searching import Request

SCENES = "demo_scenes"
_BEFORE, _AFTER = "saltlake_20230706", "saltlake_20230722"


def show_scenes(work: Work, folder: Path, *, say: Callable[[str], None]) -> None:
    """Tell what changed against what was planted, draw one change map, and search for a place."""
    _tell_changes(work, say)
    _draw_map(work, folder, say)
    _search_place(work, folder, say)


def _tell_changes(work: Work, say: Callable[[str], None]) -> None:
    from lib.stages.true_changes import hold_against

    held = hold_against(work)
    if held is None:
        return
    say(
        f"\nChanges: {held.regions} polygons; of {held.n} that were planted {held.found_share:.0%} are found "
        f"(IoU .5 or more), {held.false_share:.0%} of the polygons are none"
    )
    for kind, date, true_ha, found_ha, iou, remark in held.rows:
        told = f"found {found_ha:7.1f} ha, IoU {iou:.2f}" if found_ha else remark
        say(f"  {date}  {kind:6} planted {true_ha:7.1f} ha  {told}")
    place = work.lake.folder(work.archive.name, "changes", work.contract.id)
    say(f"  as GeoParquet, for QGIS: {place}")


def _draw_map(work: Work, folder: Path, say: Callable[[str], None]) -> None:
    from orchestration.changing import change_files

    out = folder / "change"
    if not (out / "summary.json").is_file():
        before, after = (work.root / f"{name}.tif" for name in (_BEFORE, _AFTER))
        change_files(before, after, out, backbone=work.archive.embedding.backbone, say=lambda line: None)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    say(f"\nChange map of two dates: {summary['polygons']} polygons, {summary['changed_m2'] / 1e4:,.0f} ha")
    say(f"  to look at: {out / 'change.png'}; for QGIS: {out / 'change.tif'}, {out / 'change.geojson'}")


def _search_place(work: Work, folder: Path, say: Callable[[str], None]) -> None:
    from orchestration.searching_places import answer_places

    first = work.rows("windows", work.prints.shards[0]).to_pylist()[0]
    at = f"{first['lon']:.4f},{first['lat']:.4f}"
    geo, sheet = folder / "places.geojson", folder / "places.html"
    request = Request(None, None, None, 5, at=at)
    found = answer_places(work.archive, work.lake, request, sheet=sheet, geo=geo)
    say(f"\nSearch by place: what looks like {at}")
    for hit in found.hits:
        say(f"  {hit.rank}. {hit.item:20} {hit.lon:.4f},{hit.lat:.4f}   score {hit.score:.3f}")
    say(f"  to look at: {sheet}; for QGIS: {geo}")
