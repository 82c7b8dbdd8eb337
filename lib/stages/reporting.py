"""What report stages share: a folder of report.json and report.html, and the fingerprint it was made for."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from lib.embedding.backbones import resolve
from lib.lake import Facts, write_whole
from lib.report import ContractCard, Reject, Report, write_report
from lib.stages.making import REPORT_MADE, Work

# Stages whose rows a report counts: items, samples, vectors, and what is made of them.
_COUNTED = {
    "video": ("items", "frames", "frame_embeddings", "clips"),
    "scene": ("items", "windows", "window_embeddings"),
    "change_set": ("items", "pair_changes"),
    "pair": ("items", "left_embeddings", "right_embeddings"),
}
_REFUSING = {
    "video": ("items", "frames"),
    "scene": ("items", "windows", "window_embeddings", "changes"),
    "change_set": ("items", "pair_changes"),
    "pair": ("items", "left_embeddings", "right_embeddings"),
}
# The stage that runs the backbone.
_EMBEDDED = {
    "video": "frame_embeddings",
    "scene": "window_embeddings",
    "change_set": "pair_changes",
    "pair": "right_embeddings",
}


@dataclass(frozen=True, slots=True)
class MadeReport:
    """A report as it stands: its page, its figures, a table of them for the UI."""

    path: Path
    facts: Facts
    markdown: str
    figures: Mapping[str, float] = field(default_factory=dict)


def ensure_report(work: Work, stage: str, compose: Callable[[], Report]) -> MadeReport:
    """Make a report unless it is up to date; `compose` measures."""
    folder = work.lake.folder(work.archive.name, stage)
    with work.lake.lock(work.place(stage)):
        facts = work.current(stage)
        if facts is None:
            began = time.perf_counter()
            write_report(compose(), folder)
            facts = Facts(made=1, seconds=round(time.perf_counter() - began, 3))
            # Last, so that a report cut short by a kill is made again.
            mark = work.mark(stage)
            note = {"fingerprint": mark, "facts": asdict(replace(facts, parts=dict(mark.parts)))}
            write_whole(folder / REPORT_MADE, json.dumps(note))
    body = _read(folder) or {}
    return MadeReport(folder / "report.html", facts, _markdown(body), _figures(body))


def contract_card(work: Work, runtime: str) -> ContractCard:
    """What the report says of the vectors behind its figures."""
    told, contract = resolve(work.archive.embedding.backbone), work.contract
    p = contract.preprocessing
    return ContractCard(
        contract_id=contract.id,
        backbone=contract.backbone,
        weights_hash=contract.weights_sha256,
        preprocessing=f"{p.size_px} × {p.size_px} px, {p.resize}, {p.interpolation}",
        runtime=runtime,
        licence=told.licence.name,
        licence_url=told.licence.url,
        licence_asks=told.licence.asks,
    )


def limits(work: Work) -> list[str]:
    """Sentences that every report of figures not made with DINOv3 begins with."""
    told = resolve(work.archive.embedding.backbone)
    if told.is_dinov3:
        return []
    return [f"These figures are of {told.name}. They say nothing about what DINOv3 would reach."]


def archive_facts(work: Work) -> dict[str, float | str]:
    """Counts and seconds of the stages that a report stands on."""
    counted: dict[str, float | str] = {}
    for stage in _COUNTED[work.archive.line]:
        footers = [work.lake.footer(work.place(stage, shard)) for shard in work.prints.shards]
        facts = [footer[1] for footer in footers if footer]
        counted[stage.replace("_", " ")] = sum(f.rows for f in facts)
        if stage == _EMBEDDED[work.archive.line] or stage.endswith("_embeddings"):
            spent = float(counted.get("decode_and_embed_seconds", 0.0)) + sum(f.seconds for f in facts)
            counted["decode_and_embed_seconds"] = round(spent, 1)
        if stage == "items":
            if work.archive.kind == "video":
                counted["video_seconds"] = sum(f.notes.get("duration_s", 0.0) for f in facts)
            counted["source_bytes"] = sum(f.notes.get("source_bytes", 0) for f in facts)
    return counted


def rejects(work: Work) -> list[Reject]:
    """Every file that was refused or cut short, with its reason, over all shards."""
    refused: dict[str, Reject] = {}
    for stage in _REFUSING[work.archive.line]:
        for shard in work.shards(_COUNTED[work.archive.line][1]):
            footer = work.lake.footer(work.place(stage, shard))
            if footer and footer[1].reasons:
                used = _used(work, shard)
                refused |= {
                    file: Reject(file, reason, is_used=file in used)
                    for file, reason in footer[1].reasons.items()
                }
    return list(refused.values())


def _used(work: Work, shard: str) -> set[str]:
    """Files of a shard that samples came out of."""
    samples = _COUNTED[work.archive.line][1]
    sampled = set(work.rows(samples, shard, ["item"]).column("item").to_pylist())
    items = work.rows("items", shard, ["item", "path"]).to_pylist()
    return {row["path"] for row in items if row["item"] in sampled}


def runtime_of(work: Work) -> str:
    """What ran the backbone when the stored vectors were made."""
    for shard in work.prints.shards:
        footer = work.lake.footer(work.place(_EMBEDDED[work.archive.line], shard))
        if footer and "runtime" in footer[1].notes:
            return str(footer[1].notes["runtime"])
    return "not noted"


def versions() -> dict[str, str]:
    """Of the packages that a figure may depend on."""
    names = ("dinolake", "torch", "openvino", "timm", "faiss-cpu", "av", "numpy", "dagster", "ray")
    return {name: metadata.version(name) for name in names}


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        body: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return body


def _figures(body: Mapping[str, Any]) -> dict[str, float]:
    return {
        f"{m['task']}: {m['metric']}": m["ours"] for m in body.get("metrics", []) if m.get("ours") is not None
    }


def _markdown(body: Mapping[str, Any]) -> str:
    rows = ["| task | metric | chance | naive | ours | n |", "|---|---|---|---|---|---|"]
    for m in body.get("metrics", []):
        shown = ["–" if m[name] is None else f"{m[name]:.3f}" for name in ("chance", "naive", "ours")]
        rows.append(f"| {m['task']} | {m['metric']} | {' | '.join(shown)} | {m['n']} |")
    return "\n".join(rows)
