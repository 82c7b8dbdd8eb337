"""The same questions to LanceDB and DuckDB, over the same vectors, at equal recall."""

import importlib.metadata
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.figures import Figure, paired, seconds
from bench.index_material import BATCH, DIM, Filter, K, Material, as_unit, recall_of
from bench.index_search import RECALL_GOAL, Asked, Spell, ours_of, recall_by, scores_of
from lib.conditions import matching
from lib.search.index import VectorIndex

GOAL = 10.0
_INSERT_ROWS = 50_000
# Tried from the least on until the recall is reached: for LanceDB under each filter, for ours without one.
_NPROBES, _REFINE = (10, 20, 40, 60, 80, 120, 160, 240, 320), 2
_OUR_NPROBES = (8, 16, 24, 32, 40, 48, 64, 80, 96)
_TRAINING_ROWS_A_PARTITION = 64
Search = Callable[[np.ndarray], np.ndarray]  # (queries, DIM) to (queries, at most K) row numbers


@dataclass(frozen=True, slots=True)
class Effort:
    """How often rivals are asked; they are slow."""

    lance_single: int
    lance_batches: int
    duck_single: int
    duck_batch: int  # queries of a batch that DuckDB is asked
    repeats: int


def measure_rivals(
    material: Material, index: VectorIndex, timed: list[Asked], folder: Path, effort: Effort
) -> list[Figure]:
    """Times of theirs over ours; a rival that isn't installed is left out, and said so."""
    figures: list[Figure] = []
    for name, measured in (("lancedb", _lance), ("duckdb", _duck)):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            print(f"{name} isn't installed: the search isn't held against it.", file=sys.stderr)
            continue
        figures += measured(material, index, timed, folder, effort, version)
    return figures


@contextmanager
def _tuned_too(index: VectorIndex, asked: Asked) -> Iterator[None]:
    """Ours reads no more lists than reach the recall, as LanceDB does; with filters in proportion."""
    default = index.kind
    for nprobe in _OUR_NPROBES:
        index.tune(nprobe=nprobe, refine=default.refine)
        if recall_by(ours_of(index, asked), asked) >= RECALL_GOAL:
            break
    yield
    index.tune(nprobe=default.nprobe, refine=default.refine)


def _condition_s(material: Material, condition: Filter) -> float:
    """Seconds that finding a condition's rows takes ours, which remembers them while an archive is open."""
    table = pa.table({"share": material.share, "cluster": material.cluster})
    return float(np.median([seconds(lambda: matching(table, condition.where)) for _ in range(3)]))


def _lance(
    material: Material, index: VectorIndex, timed: list[Asked], folder: Path, effort: Effort, version: str
) -> list[Figure]:
    import lancedb
    from lancedb.index import IvfSq

    table = lancedb.connect(folder / "lance").create_table(
        "vectors", data=pa.RecordBatchReader.from_batches(_schema(), _batches(material))
    )
    partitions = 1 << round(math.log2(math.sqrt(material.rows)))
    config = IvfSq(distance_type="cosine", num_partitions=partitions, sample_rate=_TRAINING_ROWS_A_PARTITION)
    built_s = seconds(lambda: table.create_index("vector", config=config))
    against = f"LanceDB {version}, IVF_SQ of {partitions} partitions"
    figures = []
    with _tuned_too(index, timed[0]):
        for single, batches in zip(timed[::2], timed[1::2], strict=True):
            search, told = _tuned(material, table, batches)
            told += f"; built in {built_s:.0f} s"
            for asked, count in ((single, effort.lance_single), (batches, effort.lance_batches)):
                some = asked.queries[:count]
                figures.append(_figure(material, index, asked, search, some, effort.repeats, against, told))
    return figures


def _tuned(material: Material, table: Any, asked: Asked) -> tuple[Search, str]:
    """LanceDB at the least effort that reaches the recall, or at the most."""
    known = asked.first
    search, recall, nprobes = _lance_search(table, asked.filter, 1), 0.0, 1
    for nprobes in _NPROBES:
        search = _lance_search(table, asked.filter, nprobes)
        found = np.concatenate([search(known[at : at + BATCH]) for at in range(0, len(known), BATCH)])
        recall = recall_of(scores_of(material, known, found), asked.truth)
        if recall >= RECALL_GOAL:
            break
    return search, f"nprobes {nprobes}, refine_factor {_REFINE}, recall@{K} {recall:.3f}"


def _lance_search(table: Any, condition: Filter | None, nprobes: int) -> Search:
    def search(queries: np.ndarray) -> np.ndarray:
        asked = table.search(queries[0] if len(queries) == 1 else list(queries), vector_column_name="vector")
        asked = asked.distance_type("cosine").nprobes(nprobes).refine_factor(_REFINE).limit(K)
        if condition is not None:
            asked = asked.where(condition.where, prefilter=True)
        found = asked.select(["id", "_distance"]).to_arrow()
        ids = found.column("id").to_numpy()
        if len(queries) == 1:
            return np.asarray(ids[None])
        return _by_query(ids, found.column("query_index").to_numpy(), len(queries))

    return search


def _by_query(ids: np.ndarray, query: np.ndarray, queries: int) -> np.ndarray:
    table = np.full((queries, K), -1, np.int64)
    for at in range(queries):
        mine = ids[query == at][:K]
        table[at, : len(mine)] = mine
    return table


def _duck(
    material: Material, index: VectorIndex, timed: list[Asked], folder: Path, effort: Effort, version: str
) -> list[Figure]:
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"CREATE TABLE vectors (id BIGINT, share FLOAT, cluster INT, vector FLOAT[{DIM}])")
    for batch in _batches(material):
        connection.register("next_rows", pa.table(batch))
        connection.execute("INSERT INTO vectors SELECT * FROM next_rows")
        connection.unregister("next_rows")
    figures = []
    for asked in timed:
        is_single = asked.is_single
        many = asked.queries[: effort.duck_single] if is_single else [asked.queries[0][: effort.duck_batch]]
        told = "exact, in memory as float32" + (
            "" if is_single else f"; {effort.duck_batch} of a batch, one after the other, on both sides"
        )
        search = _duck_search(connection, asked.filter)
        repeats = effort.repeats if is_single else 1
        figure = _figure(material, index, asked, search, many, repeats, f"DuckDB {version}", told)
        figures.append(figure)
        if asked.filter is not None and is_single:
            figures.append(_asked_first(material, index, asked, search, figure))
    connection.close()
    return figures


def _asked_first(
    material: Material, index: VectorIndex, asked: Asked, search: Search, warm: Figure
) -> Figure:
    """A condition that was never asked before: its rows are found, fetched and searched."""
    theirs_s = Spell.of(search, asked.queries[:3])
    condition_s = _condition_s(material, asked.filter) if asked.filter else 0.0
    changed = asked.filter.rows.copy() if asked.filter else None
    times_s = []
    for at in range(3):
        if changed is not None:
            changed[np.flatnonzero(changed)[at]] = False  # another filter, which isn't remembered
        times_s.append(seconds(lambda: index.search(asked.queries[0], k=K, allowed=changed)))
    ours_s = [condition_s + time_s for time_s in times_s]
    return Figure(
        f"{warm.name}, the condition for the first time", warm.against,
        tuple(theirs_s / our_s for our_s in ours_s),
        detail=f"{1e3 * theirs_s:.1f} ms theirs, {1e3 * float(np.median(ours_s)):.1f} ms ours, of which "
        f"{1e3 * condition_s:.1f} ms to find the condition's rows",
    )  # fmt: skip


def _duck_search(connection: Any, condition: Filter | None) -> Search:
    where = "" if condition is None else f"WHERE {condition.where} "
    sql = (
        f"SELECT id FROM vectors {where}"
        f"ORDER BY array_cosine_similarity(vector, ?::FLOAT[{DIM}]) DESC LIMIT {K}"
    )

    def search(queries: np.ndarray) -> np.ndarray:
        return np.array(
            [[row[0] for row in connection.execute(sql, [query.tolist()]).fetchall()] for query in queries]
        )

    return search


def _figure(
    material: Material,
    index: VectorIndex,
    asked: Asked,
    search: Search,
    many: list[np.ndarray],
    repeats: int,
    against: str,
    told: str,
) -> Figure:
    ours = ours_of(index, asked)
    ours(many[0])
    search(many[0])
    pairs = paired(lambda: Spell.of(ours, many), lambda: Spell.of(search, many), repeats=repeats)
    recall = f"recall@{K} {recall_by(ours, asked):.3f}"
    lists = f", nprobe {index.kind.nprobe}" if asked.filter is None else ", the condition's rows remembered"
    return Figure(
        f"search, {material.size}, {asked.name}, p50", against, pairs.speedups, GOAL,
        detail=f"{1e3 * pairs.theirs_s:.1f} ms theirs ({told}), {1e3 * pairs.ours_s:.2f} ms ours "
        f"({recall}{lists}); {pairs.calm}",
    )  # fmt: skip


def _schema() -> pa.Schema:
    return pa.schema(
        {
            "id": pa.int64(),
            "share": pa.float32(),
            "cluster": pa.int32(),
            "vector": pa.list_(pa.float32(), DIM),
        }
    )


def _batches(material: Material) -> Iterator[pa.RecordBatch]:
    for first in range(0, material.rows, _INSERT_ROWS):
        part = slice(first, first + _INSERT_ROWS)
        vectors = as_unit(material.vectors[part])
        yield pa.record_batch(
            [
                pa.array(np.arange(first, first + len(vectors))),
                pa.array(material.share[part]),
                pa.array(material.cluster[part]),
                pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM),
            ],
            schema=_schema(),
        )
