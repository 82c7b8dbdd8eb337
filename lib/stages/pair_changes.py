"""pair_changes: each labelled pair through the recipe and its alternatives; what the metrics need is kept."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from lib.compute import Compute, Failed
from lib.lake import Facts, ShardWriter, fingerprint
from lib.score_counts import BINS
from lib.stages.change_set_line import (
    AFTER,
    BEFORE,
    LABEL,
    MEASURES_VERSION,
    POLYGONS,
    FoundPair,
    pairs_of,
)
from lib.stages.change_set_worker import ChangePairTask, ChangePairWorkerFactory, MeasuredPair
from lib.stages.making import Work, ensure

# Of each shard, so many pairs go through simpler distances too: for two thirds more forwards each.
ABLATED = 4
_LIMIT_S = 3600.0
_ROWS = 64
_COUNTS = pa.struct(
    [("of", pa.string()), ("hits", pa.int64()), ("false", pa.int64()), ("missed", pa.int64())]
)
# (2, BINS) int32, unchanged and changed pixels by score.
_BINS = pa.struct([("of", pa.string()), ("pixels", pa.binary(2 * BINS * 4))])
# (4, 4) int64, pixels by true and told class.
_DAMAGE = pa.struct([("of", pa.string()), ("pixels", pa.binary(16 * 8))])
SCHEMA = pa.schema(
    [
        pa.field("pair", pa.string(), nullable=False),
        pa.field("item", pa.string(), nullable=False),  # the earlier picture's
        pa.field("split", pa.string()),
        pa.field("sample_hash", pa.string(), nullable=False),
        pa.field("judged_px", pa.int64(), nullable=False),
        pa.field("unjudged_px", pa.int64(), nullable=False),
        pa.field("changed_px", pa.int64(), nullable=False),
        pa.field("gate", pa.float64(), nullable=False),
        pa.field("threshold", pa.float64(), nullable=False),
        pa.field("shift_px", pa.list_(pa.float64()), nullable=False),
        pa.field("counts", pa.list_(_COUNTS), nullable=False),
        pa.field("bins", pa.list_(_BINS), nullable=False),
        pa.field("damage", pa.list_(_DAMAGE), nullable=False),
        pa.field("before", pa.binary(), nullable=False),
        pa.field("after", pa.binary(), nullable=False),
        pa.field("verdict", pa.binary(), nullable=False),
    ]
)


def make_pair_changes(work: Work, shard: str, compute: Compute) -> Facts:
    """Measure a shard's pairs; those whose files and contract stand as they were keep their row."""

    def fill(writer: ShardWriter) -> None:
        pairs = pairs_of(work.prints.items(shard))
        for path, reason in _broken(pairs):
            writer.facts.reasons[path] = reason
            writer.facts.rejected += 1
        whole = [pair for pair in pairs if {BEFORE, AFTER} <= pair.files.keys()]
        former = work.former("pair_changes", shard)
        known = {row["sample_hash"]: row for row in former[0].to_pylist()} if former else {}
        tasks = {pair.name: _task(work, pair, number < ABLATED) for number, pair in enumerate(whole)}
        marks = {pair.name: _mark(work, pair, tasks[pair.name]) for pair in whole}
        due = [pair for pair in whole if marks[pair.name] not in known]
        entry = work.archive.embedding
        factory = ChangePairWorkerFactory(entry.backbone, entry.size_px, work.archive.pooling())
        chunks = compute.map(factory, [tasks[pair.name] for pair in due], limit_s=_LIMIT_S)
        runtime = former[1].notes.get("runtime") if former else None
        writer.facts.notes = {"runtime": runtime} if runtime else {}
        for pair in whole:
            told = {"pair": pair.name, "item": pair.files[BEFORE].item, "split": pair.split}
            if marks[pair.name] in known:
                writer.write(_table(known[marks[pair.name]] | told))
                writer.facts.kept += 1
            else:
                _write_made(writer, pair, told | {"sample_hash": marks[pair.name]}, chunks)

    return ensure(work, "pair_changes", shard, SCHEMA, fill, row_group=_ROWS)


def _broken(pairs: list[FoundPair]) -> Iterator[tuple[str, str]]:
    """Path and reason of files whose pair lacks a picture, because that one can't be opened."""
    for pair in pairs:
        if lacking := sorted({BEFORE, AFTER} - pair.files.keys()):
            for side in sorted(pair.files):
                yield pair.files[side].path, f"its pair's other picture can't be used: {', '.join(lacking)}"


def _task(work: Work, pair: FoundPair, is_ablated: bool) -> ChangePairTask:
    from lib.datasets import dataset

    def path(side: str) -> str | None:
        return str(work.root / pair.files[side].path) if side in pair.files else None

    changed_from = dataset(work.archive.dataset or "").changed_from
    return ChangePairTask(
        path(BEFORE) or "", path(AFTER) or "", path(LABEL), path(POLYGONS), changed_from, is_ablated
    )


def _mark(work: Work, pair: FoundPair, task: ChangePairTask) -> str:
    made_by = MEASURES_VERSION, work.contract.id, task.changed_from, task.is_ablated
    return fingerprint(made_by, pair.contents)


def _write_made(
    writer: ShardWriter, pair: FoundPair, told: dict[str, Any], chunks: Iterator[tuple[int, Any]]
) -> None:
    _, chunk = next(chunks)
    if isinstance(chunk, Failed):
        writer.facts.rejected += 1
        writer.facts.reasons[pair.files[BEFORE].path] = chunk.reason
        return
    made: MeasuredPair = chunk
    writer.facts.notes["runtime"] = made.runtime
    writer.write(_table(_row(made) | told))
    writer.facts.made += 1


def _table(row: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([row], schema=SCHEMA)


def _row(made: MeasuredPair) -> dict[str, Any]:
    found = made.measures
    return {
        "judged_px": found.judged_px, "unjudged_px": found.unjudged_px, "changed_px": found.changed_px,
        "gate": found.gate, "threshold": found.threshold, "shift_px": list(found.shift_px),
        "counts": [
            {"of": name, "hits": hits, "false": false, "missed": missed}
            for name, (hits, false, missed) in found.counts.items()
        ],
        "bins": [
            {"of": name, "pixels": np.ascontiguousarray(bins, np.int32).tobytes()}
            for name, bins in found.bins.items()
        ],
        "damage": [
            {"of": name, "pixels": np.ascontiguousarray(cells, np.int64).tobytes()}
            for name, cells in found.damage.items()
        ],
        "before": found.pictures[0], "after": found.pictures[1], "verdict": found.pictures[2],
    }  # fmt: skip
