"""What a dataset knows to have changed, held against what was found."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.stages.making import Work

_FOUND_IOU, _AREA_TOLERANCE = 0.5, 0.2


@dataclass(frozen=True, slots=True)
class HeldAgainst:
    """How what was found stands to the truth.

    Attributes:
        n: True changes.
        found_share: Of them, those that the regions on their ground cover at IoU .5 or more.
        area_share: Of them, those whose found area is within 20 % of the true one.
        regions: Regions found on the dates that show a new change, and on all others.
        false_share: Of the regions, those that share no ground with a true change.
        rows: kind, date, true ha, found ha, IoU, remark, of each.
        note: What limits the figures.
    """

    n: int
    found_share: float
    area_share: float
    regions: int
    false_share: float
    rows: list[tuple[Any, ...]]
    note: str


def hold_against(work: Work) -> HeldAgainst | None:
    """None where the archive's dataset knows of no changes."""
    from shapely.geometry import shape

    path = _truth_of(work)
    if path is None or not path.is_file():
        return None
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    truths = [(shape(f["geometry"]), f["properties"]) for f in features]
    found = _found(work)
    rows, ious, areas = [], [], []
    for outline, told in truths:
        regions = [r for r in found if r["after"] == told["date"] and r["outline"].intersects(outline)]
        iou, area_m2 = _overlap(outline, regions)
        ious.append(iou)
        areas.append(abs(area_m2 - told["area_m2"]) <= _AREA_TOLERANCE * told["area_m2"])
        remark = "" if regions else "not found"
        rows.append(
            (told["kind"], told["date"], told["area_m2"] / 1e4, area_m2 / 1e4 or None, iou or None, remark)
        )
    strays = [r for r in found if not any(r["outline"].intersects(outline) for outline, _ in truths)]
    return HeldAgainst(
        n=len(truths),
        found_share=float(np.mean([iou >= _FOUND_IOU for iou in ious])),
        area_share=float(np.mean(areas)),
        regions=len(found),
        false_share=len(strays) / len(found) if found else 0.0,
        rows=rows,
        note=f"{len(truths)} changes: few",
    )


def _truth_of(work: Work) -> Path | None:
    from lib.datasets import dataset

    if work.archive.dataset is None:
        return None
    known = dataset(work.archive.dataset)
    return known.true_changes(work.root) if known.true_changes else None


def _found(work: Work) -> list[dict[str, Any]]:
    from shapely import from_wkb

    regions = []
    for shard in work.shards("change_report"):
        for row in work.rows("changes", shard, ["after", "area_m2", "geometry"]).to_pylist():
            told = {"after": row["after"].strftime("%Y-%m-%d"), "area_m2": row["area_m2"]}
            regions.append(told | {"outline": from_wkb(row["geometry"])})
    return regions


def _overlap(truth: Any, regions: list[dict[str, Any]]) -> tuple[float, float]:
    """IoU of a true outline with all regions on it, and their area in m². Degrees do: it is a ratio."""
    from shapely import union_all

    if not regions:
        return 0.0, 0.0
    found = union_all([region["outline"] for region in regions])
    return float(found.intersection(truth).area / found.union(truth).area), sum(r["area_m2"] for r in regions)
