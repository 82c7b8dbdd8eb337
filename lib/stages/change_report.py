"""change_report: what changed where and when, and how far that can be believed: chance, naive and ours."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from lib.metrics import paired_interval
from lib.report import Metric, Picture, Report, Section, Table
from lib.stages.acquisitions import tile_of
from lib.stages.making import Work
from lib.stages.planted import PlantedPair, planted_pairs
from lib.stages.reporting import (
    MadeReport,
    archive_facts,
    contract_card,
    ensure_report,
    limits,
    rejects,
    runtime_of,
    versions,
)
from lib.stages.scene_pictures import pair_pictures
from lib.stages.tiles import read_tile

_PAIRS, _SHOWN = 4, 3
_NAIVE = (
    "The CLS token of a 64 px window, its cosine distance between dates, Otsu's threshold. "
    "The raw difference of pixels with Otsu's threshold stands in the table below."
)
_OURS = (
    "Distances of cells of 16 px over two maps and two scales, a gate from perturbations of the earlier "
    "date, three-class Otsu, outlines by pixels."
)


def make_change_report(work: Work) -> MadeReport:
    """Measure and write the report unless it is up to date."""
    return ensure_report(work, "change_report", lambda: _compose(work))


def _compose(work: Work) -> Report:
    scenes = _scenes(work)
    compared = [(shard, scene) for shard, scene in scenes if scene.get("before")]
    sections = []
    if compared:
        sections.append(_found_section(work, compared))
    if planted := list(planted_pairs(work, most=_PAIRS)):
        sections.append(_planted_section(work, planted))
    truth = _truth_section(work)
    if truth is not None:
        sections.insert(0, truth)
    lede = "" if compared else "Nothing could be compared: no tile of this archive has two dates yet."
    return Report(
        title="What changed, and how far to believe it",
        archive=work.archive.name,
        contract=contract_card(work, runtime_of(work)),
        sections=sections,
        lede=lede,
        facts=archive_facts(work),
        warnings=[*limits(work), *_cautions(compared)],
        rejects=rejects(work),
        versions=versions(),
        made_at=datetime.now(UTC),
    )


def _scenes(work: Work) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for shard in work.shards("change_report"):
        footer = work.lake.footer(work.place("changes", shard))
        found += [(shard, scene) for scene in (footer[1].notes["scenes"] if footer else [])]
    return sorted(found, key=lambda pair: (tile_of(pair[0]), pair[1]["acquired"]))


def _cautions(compared: list[tuple[str, dict[str, Any]]]) -> list[str]:
    if any(scene.get("dates", 0) == 1 for _, scene in compared):
        return [
            "Held against one earlier date, another season can look like a change: from four earlier dates "
            "on, a place is held against its own history."
        ]
    return []


def _found_section(work: Work, compared: list[tuple[str, dict[str, Any]]]) -> Section:
    rows = [
        (
            tile_of(shard), scene["acquired"][:10], scene["before_acquired"][:10], scene["dates"],
            scene["polygons"], round(scene["changed_m2"] / 1e4, 3),
            100 * scene["changed_m2"] / scene["judged_m2"] if scene["judged_m2"] else None,
            round(scene["unjudged_m2"] / 1e4, 1), scene.get("threshold"),
        )
        for shard, scene in compared
    ]  # fmt: skip
    columns = (
        "tile", "acquired", "against", "dates", "changes", "ha changed", "% of the judged", "ha without data",
        "threshold",
    )  # fmt: skip
    most = sorted(compared, key=lambda pair: -pair[1]["changed_m2"])[:_SHOWN]
    least = [pair for pair in sorted(compared, key=lambda p: p[1]["changed_m2"]) if pair not in most][:1]
    return Section(
        "What was found",
        lead=f"{len(compared)} acquisitions were held against those before them. Areas are on the ellipsoid; "
        "ground without data on either date is never counted as changed nor as unchanged.",
        pictures=[_pair_picture(work, shard, scene) for shard, scene in (*most, *least)],
        tables=[Table("Acquisitions", columns, rows[:40], note="no threshold: nothing exceeded the gate")],
        details=[Table("All acquisitions", columns, rows)] if len(rows) > 40 else [],
    )


def _pair_picture(work: Work, shard: str, scene: dict[str, Any]) -> Picture:
    from lib.media.image import contact_sheet, png_bytes

    tile = read_tile(work, tile_of(shard))
    if tile is None:
        raise AssertionError("what was compared has a tile")  # pragma: no cover
    before, after = pair_pictures(work, tile, shard, scene)
    captions = [f"{scene['before']}", f"{scene['item']}: {scene['polygons']} changes"]
    png = png_bytes(contact_sheet([before, after], captions, columns=2, tile_px=480))
    told = f"{scene['before_acquired'][:10]} and {scene['acquired'][:10]}"
    return Picture(png, f"{told}; changes outlined.", f"two dates of {tile.name}, {told}")


def _planted_section(work: Work, planted: list[PlantedPair]) -> Section:
    from lib.media.image import contact_sheet, png_bytes
    from lib.tasks.change_benchmark import LabelledPair, evaluate

    with tempfile.TemporaryDirectory(dir=work.lake.temporary("").parent) as folder:
        pairs, quiet = [], []
        for number, pair in enumerate(planted):
            paths = [Path(folder) / f"{number}_{name}.png" for name in ("before", "after", "mask", "spoiled")]
            mask = np.repeat(pair.mask[..., None], 3, -1).astype(np.uint8) * 255
            for path, pixels in zip(paths, (pair.before, pair.after, mask, pair.spoiled), strict=True):
                path.write_bytes(png_bytes(pixels))
            pairs.append(LabelledPair(paths[0], paths[1], paths[2], pair.name))
            quiet.append((paths[0], paths[3]))
        embedder = _embedder(work)
        found = evaluate(pairs, embedder)
        alarms = _alarms(embedder, quiet)
    ours, naive, raw = (found.methods[name] for name in ("ours", "window_cls", "raw_difference"))
    each = [[pair.methods[name].f1 for pair in found.pairs] for name in ("ours", "window_cls")]
    metrics = [
        Metric(
            "planted changes", "pixel AUROC", found.chance.auroc, naive.auroc, ours.auroc, len(found.pairs)
        ),
        Metric(
            "planted changes", "F1", found.chance.f1, naive.f1, ours.f1, len(found.pairs),
            gain_interval=paired_interval(np.array(each[0]), np.array(each[1])) if len(each[0]) > 1 else None,
        ),
        Metric("planted changes", "best F1", found.chance.f1, naive.best_f1, ours.best_f1, len(found.pairs)),
        Metric(
            "nothing changed", "pairs with a false alarm", None, None, float(np.mean(alarms)), len(alarms),
            note="a pair is an alarm when a single region is found in it", higher_is_better=False,
        ),
    ]  # fmt: skip
    shown = planted[0]
    png = png_bytes(
        contact_sheet(
            [shown.before, shown.after, np.repeat(shown.mask[..., None], 3, -1).astype(np.uint8) * 255],
            ["before", "after, with ground planted", "what was planted"], columns=3, tile_px=320,
        )
    )  # fmt: skip
    rows = [
        (name, s.auroc, s.f1, s.best_f1)
        for name, s in (("ours", ours), ("CLS of windows", naive), ("pixel difference", raw))
    ]
    return Section(
        "Planted changes",
        lead=f"{len(found.pairs)} places of this archive, each with squares of 24 to 72 px of other ground "
        "put in, and spoiled by gain, noise or haze; and the same spoiled with nothing put in. Real changes "
        "are harder: another season, another sun.",
        metrics=metrics,
        naive=_NAIVE,
        ours=_OURS,
        pictures=[Picture(png, "One of the pairs.", "a place, the same with planted squares, a mask")],
        tables=[Table("By method", ("method", "pixel AUROC", "F1 as chosen", "best F1"), rows)],
    )


def _embedder(work: Work) -> Any:
    from lib.embedding.embed import Embedder

    entry = work.archive.embedding
    return Embedder(entry.backbone, size_px=entry.size_px, pooling=work.archive.pooling())


def _alarms(embedder: Any, pairs: list[tuple[Path, Path]]) -> list[bool]:
    from lib.tasks.change_pair import find_changes

    return [bool(find_changes(before, after, embedder).mask.any()) for before, after in pairs]


def _truth_section(work: Work) -> Section | None:
    """What was found against what a dataset knows to have changed, where it does."""
    from lib.stages.true_changes import hold_against

    held = hold_against(work)
    if held is None:
        return None
    metrics = [
        Metric("true changes", "found at IoU ≥ .5", 0.0, None, held.found_share, held.n, note=held.note),
        Metric("true changes", "area within 20 %", 0.0, None, held.area_share, held.n, note=held.note),
        Metric(
            "true changes", "regions that are none", None, None, held.false_share, held.regions,
            note="of all regions found; a region is none where it shares no ground with a true change",
            higher_is_better=False,
        ),
    ]  # fmt: skip
    columns = ("change", "first seen", "true ha", "found ha", "IoU", "")
    return Section(
        "Against the truth",
        lead="What the dataset knows to have changed, and when, against the polygons of the acquisition that "
        "first shows it.",
        metrics=metrics,
        ours=_OURS,
        tables=[Table("Every true change", columns, held.rows)],
    )
