"""retrieval_report: how well one side finds the other, both ways: chance, naive, every rung, and ours."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from lib.charts import line_plot
from lib.embedding.backbones import resolve
from lib.published_figures import published_figures
from lib.report import ContractCard, Metric, Plot, Report, Section, Table
from lib.retrieval import Figures, Retrieval, grouped_interval, retrieval
from lib.stages.aligner import RUNGS, aligner_folder
from lib.stages.making import Work
from lib.stages.pair_contract import SideContract
from lib.stages.reporting import (
    MadeReport,
    archive_facts,
    ensure_report,
    limits,
    rejects,
    runtime_of,
    versions,
)
from lib.stages.retrieval import DIRECTIONS, Found, Held, Way, group_of_rows, held_pairs, measure
from lib.stages.retrieval_pictures import sheets
from lib.stages.verify import aligner_faults

NAIVE = "naive"
# Similarities of the baseline without a network, which is worked out whole.
_MOST_CELLS = 1 << 24
_NAIVE = (
    "The original design: one linear-ReLU-linear head a side, InfoNCE at temperature .07, Adam 1e-4, "
    "batches of 64, 20 epochs; on the stored CLS of the picture as it is (a text's own vector), where it ran "
    "the backbone again on every batch."
)


def make_retrieval_report(work: Work) -> MadeReport:
    """Measure and write the report unless it is up to date."""
    return ensure_report(work, "retrieval_report", lambda: _compose(work))


def _compose(work: Work) -> Report:
    folder, told = _told(work)
    held = held_pairs(work)
    sections: list[Section] = []
    lede = ""
    if held is None:
        lede = (
            "No pair is held back, so nothing can be said of how well this does: every pair is of one group, "
            "or its table puts all in train. A column `split` with `test` in it, or pairs of further groups, "
            "mends that."
        )
    else:
        found = {name: measure(work, held, folder, name) for name in told["rungs"]}
        sections = [_direction(work, held, found, told, way) for way in DIRECTIONS]
    sections.append(_ladder(work, held, told, {} if held is None else found))
    return Report(
        title="How well one side finds the other",
        archive=work.archive.name,
        contract=_card(work),
        sections=sections,
        lede=lede,
        facts=archive_facts(work),
        warnings=[*limits(work), *_doubts(work, held)],
        rejects=rejects(work),
        versions=versions(),
        made_at=datetime.now(UTC),
    )


def _doubts(work: Work, held: Held | None) -> list[str]:
    """What limits the figures, a sentence each."""
    _, doubt, _ = aligner_faults(work)
    told = [f"The heads may have learned nothing: {doubt}"] if doubt else []
    if held is not None and held.trained:
        told.append(
            f"{held.trained} pairs held back now were trained on, or share a picture with such; they "
            f"are left out of the figures. `dinolake run {work.archive.name} --refit` trains without them."
        )
    return told


def _direction(
    work: Work, held: Held, found: Mapping[str, Found], told: Mapping[str, Any], way: Way
) -> Section:
    one, other = way
    ours, naive = found[told["chosen"]].ways[way], found[NAIVE].ways[way] if NAIVE in found else None
    task = f"{one} → {other}"
    kinds = {side: work.archive.pair_sides().side(side).kind for side in way}
    return Section(
        f"{one.capitalize()} finds {other}",
        lead=(
            f"{ours.figures().queries} {kinds[one]}s of {len(np.unique(held.groups))} places held back, "
            f"against {ours.gallery} {kinds[other]}s. "
            "What stands equally high counts against us; identical contents count as right."
        ),
        metrics=_metrics(work, task, group_of_rows(held, one), way, ours, naive),
        naive=_NAIVE if naive is not None else "It couldn't be fitted; the ladder below says why.",
        ours=f"{told['chosen']}: the rung that was best on pairs held out of training.",
        pictures=sheets(work, held, found[told["chosen"]], way),
    )


def _metrics(
    work: Work, task: str, groups: np.ndarray, way: Way, ours: Retrieval, naive: Retrieval | None
) -> list[Metric]:
    chance, mine = ours.chance(), ours.figures()
    theirs = None if naive is None else naive.figures()
    made = []
    for name, shown, is_higher in (
        ("recall_1", "R@1", True), ("recall_5", "R@5", True), ("recall_10", "R@10", True),
        ("recall_1pct", "R@1%", True), ("hit_rate", "hit rate", True), ("mrr", "MRR", True),
        ("median_rank", "median rank", False),
    ):  # fmt: skip
        if getattr(mine, name) is None:
            continue
        interval, note = None, ""
        if name in ("recall_1", "recall_5", "recall_10"):
            k = int(name.removeprefix("recall_"))
            if k >= ours.gallery:
                continue
            asked = ours.relevant > 0
            found = (ours.ranks[asked] < k).astype(float)
            if naive is not None:
                interval = grouped_interval(found - (naive.ranks[asked] < k), groups[asked])
            own = grouped_interval(found, groups[asked])
            if own is None or own[0] <= getattr(chance, name) <= own[1]:
                note = "not told from chance"
        made.append(
            Metric(
                task, shown, getattr(chance, name), None if theirs is None else getattr(theirs, name),
                getattr(mine, name), mine.queries, higher_is_better=is_higher, gain_interval=interval,
                note=note,
                published=published_figures(work.archive.dataset, asks=way[0], metric=shown),
            )
        )  # fmt: skip
    return made


def ladder_rows(work: Work) -> list[list[object]]:
    """Every rung: name, R@1 and MRR in validation, seconds, R@1 and R@10 to the right, and to the left."""
    held = held_pairs(work)
    folder, told = _told(work)
    found = {} if held is None else {name: measure(work, held, folder, name) for name in told["rungs"]}
    return _rows(work, held, told, found)


def _told(work: Work) -> tuple[Path, dict[str, Any]]:
    """The aligner's folder, and what is written there of its ladder."""
    folder = aligner_folder(work)
    told: dict[str, Any] = json.loads((folder / RUNGS).read_text(encoding="utf-8"))
    return folder, told


def _rows(
    work: Work, held: Held | None, told: Mapping[str, Any], found: Mapping[str, Found]
) -> list[list[object]]:
    rows: list[list[object]] = []
    for name, rung in told["rungs"].items():
        row: list[object] = [name, rung["validation"], rung["mrr"], rung["seconds"]]
        if name in found:
            figures: list[Figures] = [found[name].ways[way].figures() for way in DIRECTIONS]
            row += [value for f in figures for value in (f.recall_1, f.recall_10)]
        else:
            row += [None] * 4
        rows.append(row)
    return rows + (_gradients(work, held) if held is not None and _is_small(held) else [])


def _is_small(held: Held) -> bool:
    """Whether all similarities may stand in memory at once."""
    return len(held.left.hashes) * len(held.right.hashes) <= _MOST_CELLS


def _ladder(work: Work, held: Held | None, told: Mapping[str, Any], found: Mapping[str, Found]) -> Section:
    """Every rung on validation and on the pairs held back, and how training went."""
    columns = ("rung", "validation R@1", "MRR both ways", "seconds", "→ R@1", "→ R@10", "← R@1", "← R@10")
    note = "".join(f" {name}: {reason}." for name, reason in told.get("left_out", {}).items())
    return Section(
        "The ladder",
        lead=(
            f"Every rung fitted on {told['pairs']} training pairs. Published: {told['chosen']}, chosen by "
            "its MRR on pairs held out of these, by group; the pairs held back chose nothing."
        ),
        plots=_curves(work),
        tables=[
            Table("Rungs", columns, _rows(work, held, told, found), note=f"Left out:{note}" if note else "")
        ],
    )


def _gradients(work: Work, held: Held) -> list[list[object]]:
    """R@1 and R@10 both ways of maps of gradients, where both sides are pictures: what needs no network."""
    sides = {side: work.archive.pair_sides().side(side) for side in ("left", "right")}
    if {side.kind for side in sides.values()} != {"picture"}:
        return []
    from lib.stages.pictures import thumbnail_pixels
    from lib.tasks.gradient_baseline import best_turn_similarity, gradient_vectors

    vectors = {}
    for side in sides:
        stored = thumbnails(work, side)
        vectors[side] = gradient_vectors(thumbnail_pixels(stored[d]) for d in held.side(side).hashes)
    similarity = {"gradients, no network": vectors["left"] @ vectors["right"].T}
    is_turned = any(side.views == "turned" for side in sides.values())
    if is_turned:
        similarity["gradients, best of 8 turns"] = best_turn_similarity(vectors["left"], vectors["right"])
    rows: list[list[object]] = []
    for name, cells in similarity.items():
        ways = retrieval(cells, held.pairs).figures(), retrieval(cells.T, held.pairs[:, ::-1]).figures()
        rows.append([name, None, None, None, *(value for f in ways for value in (f.recall_1, f.recall_10))])
    return rows


def thumbnails(work: Work, side: str) -> dict[str, bytes]:
    """Content hash -> the stored JPEG, over all shards."""
    found: dict[str, bytes] = {}
    for shard in work.shards("retrieval_report"):
        for block in work.blocks(f"{side}_embeddings", shard, None, ["sample_hash", "thumbnail"]):
            found |= zip(*(column.to_pylist() for column in block.columns), strict=True)
    return found


def _curves(work: Work) -> list[Plot]:
    """Loss over epochs of every rung that was trained, each drawn of its first seed."""
    rows = work.rows("aligner").to_pylist()
    rungs = list(dict.fromkeys(r["rung"] for r in rows))
    plots = []
    for rung in rungs:
        seed = min(r["seed"] for r in rows if r["rung"] == rung)
        mine = sorted((r for r in rows if r["rung"] == rung and r["seed"] == seed), key=lambda r: r["epoch"])
        epochs = [float(r["epoch"]) for r in mine]
        series = {"loss": [np.nan if r["loss"] is None else float(r["loss"]) for r in mine]}
        if any(r["validation"] is not None and np.isfinite(r["validation"]) for r in mine):
            series["R@1 in validation"] = [
                np.nan if r["validation"] is None else float(r["validation"]) for r in mine
            ]
        if len(epochs) > 1:
            plots.append(
                Plot(line_plot(epochs, series, y_label="loss, R@1", x_label="epoch"), f"Training of {rung}")
            )
    return plots


def _card(work: Work) -> ContractCard:
    """What the report says of the vectors of both sides."""
    sides = {side: work.pair.side(side) for side in ("left", "right")}
    told = resolve(work.archive.embedding.backbone)
    seen = [contract.core for contract in sides.values() if contract.core is not None]
    return ContractCard(
        contract_id=work.pair.id,
        backbone="; ".join(f"{side}: {contract.shown}" for side, contract in sides.items()),
        weights_hash=", ".join(dict.fromkeys(core.weights_sha256 for core in seen)),
        preprocessing="; ".join(_preprocessing(side) for side in sides.values()),
        runtime=runtime_of(work),
        licence=told.licence.name,
        licence_url=told.licence.url,
        licence_asks=told.licence.asks,
    )


def _preprocessing(side: SideContract) -> str:
    """What happens to one side before its network sees it, and under which contract."""
    if side.core is None:
        return f"text ({side.id})"
    told = side.core.preprocessing
    return f"{told.size_px} × {told.size_px} px, {told.resize} ({side.id})"
