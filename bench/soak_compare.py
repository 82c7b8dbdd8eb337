"""A lake held against one made from scratch of the same files: nothing lost, nothing double."""

import hashlib
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

import numpy as np

# Stage -> what names a row of it.
KEYS = {
    "items": "item",
    "frames": "sample",
    "frame_embeddings": "sample",
    "clips": "clip",
    "summaries": "item",
}


def differences(
    lake: Path, scratch: Path, archive: Any, videos: Path, *, without: frozenset[str] = frozenset()
) -> list[str]:
    """What a lake has otherwise than one made from scratch, a line each; [] where they say the same.

    Args:
        lake: The one that was disturbed.
        scratch: The one that wasn't.
        archive: The catalog entry.
        videos: The archive's folder.
        without: Stages that weren't asked for.
    """
    stages = KEYS.keys() - without
    made = stages | {"centring", "clip_index"}
    return [
        *_of_rows(lake, scratch, archive, stages),
        *_of_items(lake, archive, videos),
        *_of_index(lake, archive),
        *_left_over(lake, archive, made),
    ]


def _of_rows(lake: Path, scratch: Path, archive: Any, stages: Set[str]) -> Iterator[str]:
    for stage in sorted(stages):
        key = KEYS[stage]
        one, other = _rows(lake, archive, stage, key), _rows(scratch, archive, stage, key)
        doubles = {
            name for name, rows in one.items() if len(rows) > 1 and len(rows) > len(other.get(name, []))
        }
        for told, names in (
            ("is lost", other.keys() - one.keys()),
            ("is too much", one.keys() - other.keys()),
            ("is double", doubles),
            ("differs", {n for n in one.keys() & other.keys() if n not in doubles and one[n] != other[n]}),
        ):
            if names:
                shown = ", ".join(map(str, sorted(names)[:5]))
                yield f"{stage}: {len(names)} {'row' if len(names) == 1 else 'rows'} {told}: {shown}"


def _rows(lake: Path, archive: Any, stage: str, key: str) -> dict[Any, list[str]]:
    """Key -> digests of the rows that have it, over all shards; items that are removed are none."""
    from lib.lake import Lake
    from lib.stages.making import Work

    work = Work(Lake(lake), archive)
    found: dict[Any, list[str]] = {}
    for shard in work.prints.shards:
        for row in work.rows(stage, shard).to_pylist():
            if row.get("removed"):
                continue
            digest = hashlib.sha256(repr(row).encode()).hexdigest()
            found.setdefault(row[key], []).append(digest)
    return {name: sorted(rows) for name, rows in found.items()}


def _of_items(lake: Path, archive: Any, videos: Path) -> Iterator[str]:
    """The ledger against the folder: a row a file, under its own hash."""
    from lib.lake import Lake
    from lib.stages.scan import content_hash

    there = {path.name: content_hash(path) if path.stat().st_size else "" for path in videos.iterdir()}
    noted = {
        item.path: item.content_hash for item in Lake(lake).ledger.items(archive.name) if not item.removed
    }
    for path in sorted(there.keys() | noted.keys()):
        if there.get(path) != noted.get(path):
            yield f"ledger: {path} is {noted.get(path)}, its file {there.get(path)}"


def _of_index(lake: Path, archive: Any) -> Iterator[str]:
    """Each clip stands once in the index, with the vector of its shard."""
    from lib.columns import vectors_of
    from lib.lake import Lake
    from lib.search.index import VectorIndex
    from lib.stages.clip_index import CLIPS
    from lib.stages.making import Work
    from lib.stages.published_index import index_folder

    work = Work(Lake(lake), archive)
    folder = index_folder(work, "clip_index")
    wanted: dict[str, np.ndarray] = {}
    for shard in work.prints.shards:
        table = CLIPS.rows(work, shard, True)
        wanted |= dict(zip(table.column("clip").to_pylist(), vectors_of(table, "vector"), strict=True))
    if folder is None:
        if wanted:
            yield f"index: there is none, of {len(wanted)} clips"
        return
    rows = work.rows("clip_index")
    alive = np.flatnonzero(~np.array(rows.column("is_gone").to_pylist(), bool))
    names = [rows.column("clip")[int(at)].as_py() for at in alive]
    if len(names) != len(set(names)):
        yield f"index: {len(names) - len(set(names))} clips are double"
    if set(names) != set(wanted):
        yield f"index: {sorted(set(names) ^ set(wanted))[:5]} are in the index or in the shards only"
        return
    stored = VectorIndex.open(folder, contract=work.contracts.id).store.take(alive)
    for name, vector in zip(names, stored, strict=True):
        if not np.allclose(vector, wanted[name].astype(np.float32), atol=1e-3):
            yield f"index: {name} has another vector than its shard"


def _left_over(lake: Path, archive: Any, stages: Set[str]) -> Iterator[str]:
    """Nothing is due, and nothing half done is left."""
    from lib.lake import Lake
    from lib.plan import plan_archive
    from lib.stages.making import Work

    opened = Lake(lake)
    opened.sweep()
    left = [path.name for path in (lake / "_tmp").glob("*")]
    if left:
        yield f"_tmp: {len(left)} left: {left[:5]}"
    for stage, plan in plan_archive(Work(opened, archive)).items():
        told = plan.as_json()
        if stage in stages and (told["stale"] or told["missing"]):
            yield f"plan: {stage} is due: {told}"
