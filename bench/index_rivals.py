"""The same questions to LanceDB and DuckDB, over the same vectors, at equal recall."""

import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.figures import Figure, paired, seconds
from bench.index_material import DIM, Filter, K, Material, as_unit, recall_of
from bench.index_search import RECALL_GOAL, Asked, Spell, ours_of, recall_by, scores_of
from lib.conditions import matching
from lib.search.index import VectorIndex

GOAL = 10.0
_INSERT_ROWS = 50_000
# LanceDB's partitions, and how many of them it reads: the fewest of these that reach the recall are taken.
_PARTITIONS, _NPROBES, _REFINES = 1024, (10, 20, 40, 80, 160), (2, 4)
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


def measure_condition(material: Material, where: Filter, *, repeats: int) -> tuple[float, float]:
    """Seconds that our mask of an SQL condition takes, and the share of rows in it."""
    table = pa.table({"share": material.share, "cluster": material.cluster})
    times_s = [seconds(lambda: matching(table, where.where)) for _ in range(repeats)]
    return float(np.median(times_s)), float(matching(table, where.where).mean())


def _lance(
    material: Material, index: VectorIndex, timed: list[Asked], folder: Path, effort: Effort, version: str
) -> list[Figure]:
    import lancedb
    from lancedb.index import IvfSq

    table = lancedb.connect(folder / "lance").create_table(
        "vectors", data=pa.RecordBatchReader.from_batches(_schema(), _batches(material))
    )
    config = IvfSq(distance_type="cosine", num_partitions=_PARTITIONS, sample_rate=_TRAINING_ROWS_A_PARTITION)
    built_s = seconds(lambda: table.create_index("vector", config=config))
    figures = []
    for asked in timed:
        known = asked.first[: len(asked.first)]
        search, told = _tuned(material, table, asked, known)
        count = effort.lance_single if len(asked.queries[0]) == 1 else effort.lance_batches
        figures.append(
            _figure(
                material, index, asked, search, asked.queries[:count], effort.repeats,
                f"LanceDB {version}, IVF_SQ of {_PARTITIONS} partitions", f"{told}; built in {built_s:.0f} s",
            )
        )  # fmt: skip
    return figures


def _tuned(material: Material, table: Any, asked: Asked, known: np.ndarray) -> tuple[Search, str]:
    """LanceDB at the least effort that reaches the recall, or at the most."""
    best = (0.0, "", lambda queries: np.empty((len(queries), 0), np.int64))
    for refine in _REFINES:
        for nprobes in _NPROBES:
            search = _lance_search(table, asked.filter, nprobes, refine)
            recall = recall_of(scores_of(material, known, search(known)), asked.truth)
            if recall > best[0]:
                best = (recall, f"nprobes {nprobes}, refine_factor {refine}, recall@{K} {recall:.3f}", search)
            if recall >= RECALL_GOAL:
                return best[2], best[1]
    return best[2], best[1]


def _lance_search(table: Any, condition: Filter | None, nprobes: int, refine: int) -> Search:
    def search(queries: np.ndarray) -> np.ndarray:
        asked = table.search(queries[0] if len(queries) == 1 else list(queries), vector_column_name="vector")
        asked = asked.distance_type("cosine").nprobes(nprobes).refine_factor(refine).limit(K)
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
        is_single = len(asked.queries[0]) == 1
        many = asked.queries[: effort.duck_single] if is_single else [asked.queries[0][: effort.duck_batch]]
        told = "exact, in memory as float32" + (
            "" if is_single else f"; {effort.duck_batch} of a batch, one after the other, on both sides"
        )
        search = _duck_search(connection, asked.filter)
        repeats = effort.repeats if is_single else 1
        figures.append(_figure(material, index, asked, search, many, repeats, f"DuckDB {version}", told))
    connection.close()
    return figures


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
    return Figure(
        f"search, {material.size}, {asked.name}, p50",
        against,
        pairs.speedups,
        GOAL,
        detail=f"{1e3 * pairs.theirs_s:.1f} ms theirs, {1e3 * pairs.ours_s:.2f} ms ours (recall@{K} "
        f"{recall_by(ours, asked):.3f}); {told}; {pairs.calm}",
    )


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
