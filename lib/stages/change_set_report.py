"""change_report of a change set: the recipe against labels, beside chance, naive ways and its own parts."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from lib.report import Metric, Picture, Published, Report, Section, Table
from lib.score_counts import auroc_of, best_f1_of
from lib.stages.change_set_figures import (
    PairFigures,
    auroc_best,
    damage_of,
    f1_iou,
    f1_of,
    gain_interval,
    iou_of,
    read_pairs,
)
from lib.stages.making import Work
from lib.stages.pictures import thumbnail_pixels
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
from lib.tasks.change_ablation import DISTANCES, MASKS
from lib.tasks.change_benchmark import chance_scores
from lib.tasks.damage import CLASSES
from lib.tasks.damage_scores import chance_damage_score, class_f1s, damage_score

_NAIVE = (
    "The CLS token of a 64 px window, its cosine distance between dates, Otsu's threshold. "
    "The raw difference of pixels with Otsu's threshold stands in the table below."
)
_OURS = (
    "The recipe of `dinolake change`: distances of cells of 16 px over two maps and two scales, a gate from "
    "perturbations of the earlier picture, a threshold of classes, outlines by pixels. Nothing is trained on "
    "the labels, of any split."
)
# F1 on the official test splits, as their authors print them; other weights, so no comparison of methods.
_PUBLISHED = {
    "levir_cd": (
        Published("17.3", "DINOv2 distance, training-free"),
        Published("69.7", "APE + DINO, training-free"),
        Published("83.1", "DirectOVCD, training-free"),
    ),
    "oscd": (Published("54.3", "BTC-B, supervised"),),
}
_SHOWN, _LISTED = 3, 200
_NAMED = {"ours": "ours", "window_cls": "CLS of windows", "raw_difference": "pixel difference"}


def make_change_set_report(work: Work) -> MadeReport:
    """Measure and write the report unless it is up to date."""
    return ensure_report(work, "change_report", lambda: _compose(work))


def _compose(work: Work) -> Report:
    pairs = read_pairs(work)
    sections = []
    if pairs:
        published = _PUBLISHED.get(work.archive.dataset or "", ())
        sections = [_against_labels(pairs, published), _parts_section(pairs), _pairs_section(work, pairs)]
    if damaged := [pair for pair in pairs if pair.damage]:
        sections.insert(1, _damage_section(damaged))
    return Report(
        title="What the change recipe is worth on labelled pairs",
        archive=work.archive.name,
        contract=contract_card(work, runtime_of(work)),
        sections=sections,
        lede="" if pairs else "Nothing could be measured: no pair has two pictures and a mask.",
        facts=archive_facts(work),
        warnings=limits(work),
        rejects=rejects(work),
        versions=versions(),
        made_at=datetime.now(UTC),
    )


def _groups(pairs: Sequence[PairFigures]) -> dict[str, list[PairFigures]]:
    """The pairs by split, test first, then all of them where there are several splits."""
    order = {"test": 0, "hold": 1, "val": 2, "train": 3}
    splits = sorted({pair.split or "" for pair in pairs}, key=lambda split: (order.get(split, 4), split))
    groups = {split or "no split": [p for p in pairs if (p.split or "") == split] for split in splits}
    return groups if len(groups) == 1 else groups | {"all": list(pairs)}


def _against_labels(pairs: Sequence[PairFigures], published: Sequence[Published]) -> Section:
    groups = _groups(pairs)
    shown = [name for name in groups if name in ("test", "all")] or [next(iter(groups))]
    rows = []
    for split, group in groups.items():
        for method, name in _NAMED.items():
            auroc, best = auroc_best(group, method)
            rows.append((split, name, len(group), auroc, *f1_iou(group, method), best))
    changed, judged = sum(p.changed_px for p in pairs), sum(p.judged_px for p in pairs)
    unjudged = sum(p.unjudged_px for p in pairs)
    return Section(
        "Against the labels",
        lead=f"{len(pairs)} labelled pairs; {100 * changed / max(judged, 1):.1f} % of their pixels are "
        "labelled as changed. F1 and IoU are of the changed class, with counts summed over all pairs. "
        f"{unjudged} px that one picture lacks count neither way.",
        metrics=[metric for name in shown for metric in _metrics(groups[name], name, published)],
        naive=_NAIVE,
        ours=_OURS,
        tables=[
            Table(
                "By split and method",
                ("split", "method", "pairs", "pixel AUROC", "F1 as chosen", "IoU", "best F1"),
                rows,
                note="best F1: of the best single threshold on the score; ours may lie above it, for its "
                "mask is drawn by pixels too",
            )
        ],
    )


def _metrics(pairs: Sequence[PairFigures], split: str, published: Sequence[Published]) -> list[Metric]:
    suffix = {"no split": "", "all": ", all pairs"}.get(split, f", {split} split")
    task = f"change detection{suffix}"
    chance = chance_scores(sum(p.changed_px for p in pairs), sum(p.judged_px for p in pairs))
    sides = {"ours": "ours", "naive": "window_cls"}
    counts = {side: np.stack([p.counts[of] for p in pairs]) for side, of in sides.items()}
    bins = {side: np.stack([p.bins[of] for p in pairs]) for side, of in sides.items()}
    (f1, iou), (naive_f1, naive_iou) = (f1_iou(pairs, of) for of in sides.values())
    (auroc, best), (naive_auroc, naive_best) = (auroc_best(pairs, of) for of in sides.values())
    told = (
        ("F1", chance.f1, naive_f1, f1, gain_interval(pairs, f1_of, counts)),
        ("IoU", chance.iou, naive_iou, iou, gain_interval(pairs, iou_of, counts)),
        ("pixel AUROC", chance.auroc, naive_auroc, auroc, gain_interval(pairs, auroc_of, bins)),
        ("best F1", chance.best_f1, naive_best, best, gain_interval(pairs, best_f1_of, bins)),
    )
    return [
        Metric(
            task, name, at_chance, naive, ours, len(pairs), gain_interval=interval,
            published=published if (name, split) == ("F1", "test") else (),
        )
        for name, at_chance, naive, ours, interval in told
    ]  # fmt: skip


def _parts_section(pairs: Sequence[PairFigures]) -> Section:
    f1, iou = f1_iou(pairs, "ours")
    rules = [("the recipe", f1, iou), *((name, *f1_iou(pairs, name)) for name in MASKS)]
    ablated = [pair for pair in pairs if DISTANCES[0] in pair.bins]
    distances = [
        (name, *auroc_best(ablated, of))
        for name, of in (
            ("the recipe", "ours"),
            *((name, name) for name in DISTANCES),
            ("CLS of windows", "window_cls"),
        )
    ]
    moved = sum(pair.is_moved for pair in ablated)
    return Section(
        "What each part gives",
        lead="The same recipe with one part in place of another, or one part alone.",
        tables=[
            Table(
                "Rules on the recipe's own distances",
                ("rule", "F1", "IoU"),
                rules,
                note=f"{len(pairs)} pairs",
            ),
            Table(
                "Distances",
                ("distance", "pixel AUROC", "best F1"),
                distances,
                note=f"{len(ablated)} pairs, the first of each shard; {moved} of them lay shifted",
            ),
        ],
    )


def _pairs_section(work: Work, pairs: Sequence[PairFigures]) -> Section:
    changed = sorted((p for p in pairs if p.changed_px), key=lambda pair: -pair.f1("ours"))
    quiet = [pair for pair in pairs if not pair.changed_px]
    alarmed = [pair for pair in quiet if pair.counts["ours"][1]]
    best = changed[:_SHOWN]
    worst = [pair for pair in changed[::-1] if pair not in best][:_SHOWN]
    loud = sorted(alarmed, key=lambda pair: -pair.counts["ours"][1])[:1]
    columns = ("pair", "split", "changed %", "found %", "F1 ours", "F1 CLS of windows", "F1 pixel difference")
    rows = [
        (
            pair.name, pair.split or "", 100 * pair.changed_px / max(pair.judged_px, 1),
            100 * int(pair.counts["ours"][:2].sum()) / max(pair.judged_px, 1),
            *(_or_none(pair.f1(method)) for method in _NAMED),
        )
        for pair in (*changed, *quiet)
    ]  # fmt: skip
    pictures = [
        _picture(work, pair, f"{kind}: F1 {pair.f1('ours'):.2f}")
        for kind, group in (("one of the best", best), ("one of the worst", worst))
        for pair in group
    ]
    pictures += [_picture(work, pair, "nothing is labelled in it, and something was found") for pair in loud]
    cut = f"the first {_LISTED} of {len(rows)}; `pair_changes` has all" if len(rows) > _LISTED else ""
    silent = (
        f" In {len(alarmed)} of {len(quiet)} pairs without a labelled change something was found."
        if quiet
        else ""
    )
    return Section(
        "Best and worst pairs",
        lead="Right: what is labelled and was found in green, found only in red, labelled only in blue."
        + silent,
        pictures=pictures,
        details=[Table("Pair by pair, the best first", columns, rows[:_LISTED], note=cut)],
    )


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _picture(work: Work, pair: PairFigures, told: str) -> Picture:
    import pyarrow.compute as pc

    from lib.media.image import contact_sheet, png_bytes

    table = work.rows("pair_changes", pair.shard, ["pair", "before", "after", "verdict"])
    row = table.filter(pc.equal(table.column("pair"), pair.name)).to_pylist()[0]
    pictures = [thumbnail_pixels(row[side]) for side in ("before", "after", "verdict")]
    png = png_bytes(
        contact_sheet(pictures, ["before", "after", "found and labelled"], columns=3, tile_px=300)
    )
    return Picture(
        png, f"{pair.name}, {told}.", f"two pictures of {pair.name}, and what was found against labels"
    )


def _damage_section(pairs: Sequence[PairFigures]) -> Section:
    ours, naive = (damage_of(pairs, method) for method in ("ours", "window_cls"))
    each = zip(CLASSES, class_f1s(ours), class_f1s(naive), ours.sum(1), strict=True)
    shares = ours.sum(1) / max(ours.sum(), 1)
    stacked = {
        side: np.stack([pair.damage[of] for pair in pairs])
        for side, of in (("ours", "ours"), ("naive", "window_cls"))
    }
    return Section(
        "Damage",
        lead="xView2's damage score: the harmonic mean of the classes' F1 on the pixels of true buildings, "
        "summed over all pairs. The buildings' outlines are given, so the protocol's localisation, and its "
        "overall score, are not measured. Classes are a change score cut at three levels: nothing was "
        "trained on damage.",
        metrics=[
            Metric(
                "damage of given buildings", "xView2 damage score", chance_damage_score(ours),
                damage_score(naive), damage_score(ours), len(pairs),
                gain_interval=gain_interval(pairs, damage_score, stacked),
            )
        ],
        naive="The CLS distance of a building's 64 px windows, in four classes by Otsu's three thresholds.",
        ours="A high quantile of the change score within each building, cut at the pair's gate, its "
        "threshold, and half as far again.",
        tables=[
            Table(
                "By class",
                ("class", "F1 by chance", "F1 naive", "F1 ours", "px"),
                [
                    (name, float(share), _or_none(other), _or_none(own), int(pixels))
                    for (name, own, other, pixels), share in zip(each, shares, strict=True)
                ],
                note="a class that isn't there and was never told has no F1",
            )
        ],
    )  # fmt: skip
