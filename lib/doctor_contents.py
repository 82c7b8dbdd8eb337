"""The doctor on what the files hold: samples against items, indexes against their shards, reports."""

import json
from collections.abc import Iterator
from importlib import import_module

from lib.catalog import Archive
from lib.doctor_lake import put_aside
from lib.errors import DinolakeError
from lib.findings import Examination
from lib.lake import WHOLE, Lake, Place
from lib.scoreboard import read_scores
from lib.serving import standing_note
from lib.shard_files import BROKEN, aside
from lib.stages.items import OK
from lib.stages.line import LINES, line_of
from lib.stages.making import Work, artifact_fault
from lib.stages.published_index import Indexed
from lib.stages.verify import aligner_faults, embedding_faults, index_faults, window_faults

# Stages in which every usable item has a row, or its reason in one of these.
_SAMPLED = {
    "video": ("frames", "frame_embeddings", "clips", "summaries"),
    "scene": ("windows", "window_embeddings"),
}
_VECTORS = {
    "video": ("frame_embeddings", embedding_faults),
    "scene": ("window_embeddings", window_faults),
}
# Modules are brought in when they are looked at: they need numpy and more.
_INDEXES = {
    "video": ("lib.stages.clip_index", "CLIPS"),
    "scene": ("lib.stages.scene_index", "WINDOWS"),
    "pair": ("lib.stages.gallery_index", "SIDES_INDEXED"),
}


def check_contents(exam: Examination, lake: Lake, archive: Archive, broken: set[Place]) -> None:
    """Counts of each stage against the items, vectors, the index against what it was made from, reports."""
    if archive.line not in (*LINES, "change_set"):
        return
    check_reports(exam, lake, archive)
    work = Work(lake, archive)
    try:
        _ = work.contracts.id
    except DinolakeError:
        return  # told with the weights
    again = f"dinolake doctor {archive.name} --repair && dinolake run {archive.name}"
    if note := standing_note(lake, archive):
        exam.find("warning", note, f"dinolake switch {archive.name}")
    _check_artifacts(exam, work, broken, again)
    if exam.is_quick:
        return
    if broken:
        exam.find(
            "info", f"{archive.name}: what its other files hold wasn't compared, for some are damaged.", again
        )
        return
    exam.say("  samples against items")
    for stage, shard, fault in _faults(work):
        place = work.place(stage, shard)
        repaired = put_aside(exam, lake, lake.path(place), place)
        exam.find("error", f"{archive.name}/{stage}/{shard}: {fault}.", again, repaired)
    if archive.line in _INDEXES:
        _check_index(exam, work, again)
    if archive.line == "pair":
        fault, doubt, _ = aligner_faults(work)
        if work.prints.shards and fault and lake.contracts(archive.name, "aligner"):
            exam.find("error", f"{archive.name}: the heads can't be used: {fault}.", again)
        elif doubt:
            exam.find("warning", f"{archive.name}: {doubt}", f"see the report of {archive.name}")


def _check_artifacts(exam: Examination, work: Work, broken: set[Place], again: str) -> None:
    """Folders that a file names beside itself: an aligner's heads (an index's were read with its file)."""
    for stage in line_of(work.archive).stages:
        if stage.name != "aligner":
            continue
        for contract in work.lake.contracts(work.archive.name, stage.name):
            place = Place(work.archive.name, stage.name, WHOLE, contract)
            footer = work.lake.footer(place)
            path = work.lake.path(place)
            if footer and place not in broken and (f := artifact_fault(path.parent, stage.name, footer[1])):
                exam.find("error", f"what {path} stands for isn't whole: {f}", again,
                          put_aside(exam, work.lake, path, place))  # fmt: skip


def _faults(work: Work) -> Iterator[tuple[str, str, str]]:
    """(stage, shard, what) of every shard that is up to date and doesn't hold what its items ask for."""
    for shard in work.prints.shards:
        if not work.is_current("items", shard):
            continue
        columns = ["item", "path", "verdict", "removed"]
        rows = work.rows("items", shard, columns).to_pylist()
        known = len(work.prints.items(shard))
        if len(rows) != known:
            yield "items", shard, f"{len(rows)} items stand in it, and the ledger has {known}"
        usable = {r["item"]: r["path"] for r in rows if r["verdict"] == OK and not r["removed"]}
        yield from _without_samples(work, shard, usable)
        if work.archive.line == "pair":
            yield from _without_contents(work, shard)
    stage, find = _VECTORS.get(work.archive.line, ("", None))
    for fault in find(work) if find else ():
        shard, _, what = fault.partition(": ")
        yield stage, shard, what


def _without_samples(work: Work, shard: str, usable: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    told: set[str] = set()
    for stage in _SAMPLED.get(work.archive.line, ()):
        facts = work.done(stage, shard)
        if facts is None:
            return
        told |= set(facts.reasons)
        held = set(work.rows(stage, shard, ["item"]).column("item").to_pylist())
        without = [item for item, path in usable.items() if item not in held and path not in told]
        if without:
            yield (
                stage,
                shard,
                f"{len(without)} of {len(usable)} usable items have no row in it and no reason",
            )


def _without_contents(work: Work, shard: str) -> Iterator[tuple[str, str, str]]:
    for side in ("left", "right"):
        stage = f"{side}_embeddings"
        facts = work.done(stage, shard)
        if facts is None:
            continue
        rows = work.rows("items", shard, ["item", f"{side}_hash", "verdict", "removed"]).to_pylist()
        wanted = {
            r[f"{side}_hash"] for r in rows if r["verdict"] == OK and not r["removed"] and r[f"{side}_hash"]
        }
        refused = {r[f"{side}_hash"] for r in rows if r["item"] in facts.reasons}
        held = set(work.rows(stage, shard, ["sample_hash"]).column("sample_hash").to_pylist())
        if without := wanted - held - refused:
            yield stage, shard, f"{len(without)} of {len(wanted)} contents have no vector in it and no reason"


def _check_index(exam: Examination, work: Work, again: str) -> None:
    module, name = _INDEXES[work.archive.line]
    indexed: Indexed = getattr(import_module(module), name)
    # One that is behind its shards differs from them for a good reason: the plan's, not the doctor's.
    if not work.is_current(indexed.stage) or not work.lake.path(work.place(indexed.stage)).is_file():
        return
    exam.say(f"  {indexed.stage} against {indexed.source}")
    place = work.place(indexed.stage)
    for fault in index_faults(work, indexed)[0]:
        repaired = put_aside(exam, work.lake, work.lake.path(place), place)
        exam.find("error", f"{work.archive.name}/{indexed.stage}: {fault}.", again, repaired)


def check_reports(exam: Examination, lake: Lake, archive: Archive) -> None:
    """Each report's pair of files: there, and readable."""
    for stage in line_of(archive).stages:
        folder = lake.folder(archive.name, stage.name)
        told = folder / "report.json"
        if not stage.name.endswith("_report") or not folder.is_dir():
            continue
        fault = ""
        try:
            read_scores(told)
        except FileNotFoundError:
            fault = f"{told} is gone"
        except (OSError, ValueError, json.JSONDecodeError) as error:
            fault = f"{told} can't be read: {error}"
        if not fault and not (folder / "report.html").is_file():
            fault = f"{folder / 'report.html'} is gone"
        if not fault:
            continue
        repaired = ""
        if exam.is_repairing and not lake.ledger.is_read_only:
            # Without its note, the next run takes the report for one that was never made.
            with lake.lock(Place(archive.name, stage.name)):
                for each in (told, folder / "made.json"):
                    if each.exists():
                        aside(lake.root, each)
            repaired = f"put aside in {lake.root / BROKEN}; the next run makes it again"
        exam.find("error", f"{fault}.", f"dinolake doctor {archive.name} --repair && "
                  f"dinolake run {archive.name}", repaired)  # fmt: skip
