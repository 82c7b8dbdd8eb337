"""The lake's Parquet files against what they stand in for: a memmap of the same bytes, and Lance.

Vectors are written as every line writes them (`Lake.writing`: page checksums, synced, noted in the ledger)
and read as every line reads them (`Lake.read`, checksums verified). All sides' files lie in the page cache.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.figures import Figure, paired, seconds
from lib import schemas
from lib.catalog import Archive
from lib.columns import bytes_column, grids_of, vectors_column, vectors_of
from lib.lake import Lake, Mark, Place
from lib.ledger import LedgerItem
from lib.sections import EmbeddingConfig
from lib.stages.by_id import vectors_by_id, vectors_of_item
from lib.stages.making import Work

SHARDS, SHARDS_QUICK = 64, 16
SHARD_ROWS, ITEM_ROWS, DIM = 15_625, 625, 384
GRID_ROWS, GRID_ROWS_QUICK, CELLS, PATCH_DIM = 4096, 2048, 14 * 14, 112
LOOKUPS, LOOKUPS_QUICK = 200, 50
REPEATS, REPEATS_QUICK = 5, 3
WRITES, SQL_LOOKUPS = 4, 20
FLOATS_GOAL, BYTES_GOAL, BY_ID_MS = 0.2, 0.7, 10.0
SPEC = "random:vit_small_patch16_dinov3"
STAGE = "frame_embeddings"


def measure(folder: Path, *, quick: bool) -> Sequence[Figure]:
    """Rows written and read, rows found by id, and grids read."""
    repeats = REPEATS_QUICK if quick else REPEATS
    sides = _Sides(folder, shards=SHARDS_QUICK if quick else SHARDS)
    figures = [*sides.write(), *sides.read(repeats), *sides.look_up(LOOKUPS_QUICK if quick else LOOKUPS)]
    return [*figures, _read_grids(folder, rows=GRID_ROWS_QUICK if quick else GRID_ROWS, repeats=repeats)]


class _Sides:
    """The same rows in the lake, in a memmap and, where it is installed, in Lance."""

    def __init__(self, folder: Path, *, shards: int):
        self._shards = [f"s{number:05d}" for number in range(shards)]
        self._rows = shards * SHARD_ROWS
        archive = Archive(
            name="bench", kind="video", root=str(folder), embedding=EmbeddingConfig(backbone=SPEC)
        )
        self._work = Work(Lake(folder / "lake"), archive)
        self._memmap, self._lance = folder / "vectors.f16", folder / "vectors.lance"
        draw = np.random.default_rng(0)
        self._base = draw.standard_normal((SHARD_ROWS, DIM), np.float32).astype(np.float16)
        self._lance_name = f"Lance {version}" if (version := _version("pylance")) else ""
        self._of = f"{self._rows:,} rows"

    def write(self) -> list[Figure]:
        """All rows on each side, a quarter of them in turn."""
        self._register()
        names = ["cls", "patch_mean"]
        whole = np.lib.format.open_memmap(self._memmap, "w+", np.float16, (2, self._rows, DIM))
        took: dict[str, list[float]] = {"lake": [], "memmap": [], "lance": []}
        step = len(self._shards) // WRITES
        for start in range(0, len(self._shards), step):
            numbers = range(start, start + step)
            tables = {number: self._table(number) for number in numbers}
            vectors = {n: np.stack([vectors_of(tables[n], name) for name in names]) for n in numbers}

            took["memmap"].append(self._memmap_s(whole, vectors))
            took["lake"].append(self._lake_s(tables))
            if self._lance_name:
                took["lance"].append(self._lance_s(tables))
        size_mb = 2 * 2 * self._rows * DIM / 1e6
        rates = {name: size_mb / sum(times) for name, times in took.items() if times}
        detail = f"{self._of} of id, item, time, hash and 2 x {DIM} float16 at {_told(rates)}"
        name = "write vectors, speed as a share"
        figures = [
            Figure(
                name, "numpy memmap, vectors alone, flushed", _ratios(took["memmap"], took["lake"]),
                detail=f"{detail}; ours with page checksums, each shard synced and noted in the ledger",
            )
        ]  # fmt: skip
        if self._lance_name:
            figures.append(
                Figure(name, self._lance_name, _ratios(took["lance"], took["lake"]), detail=detail)
            )
        return figures

    def read(self, repeats: int) -> list[Figure]:
        """One vector column of all rows, shard by shard."""
        mapped = np.load(self._memmap, mmap_mode="r")[0]

        def from_lake() -> None:
            for shard in self._shards:
                vectors_of(self._work.rows(STAGE, shard, ["cls"]), "cls")

        def from_memmap(known: np.ndarray | None = None) -> None:
            # Opened anew, as the lake's files are: its pages have to be mapped, too.
            vectors = np.load(self._memmap, mmap_mode="r")[0] if known is None else known
            for start in range(0, self._rows, SHARD_ROWS):
                np.array(vectors[start : start + SHARD_ROWS])

        first = vectors_of(self._work.rows(STAGE, self._shards[-1], ["cls"]), "cls")
        if not np.array_equal(first, mapped[-SHARD_ROWS:]):
            raise AssertionError("the lake and the memmap hold different vectors")
        from_memmap()
        pairs = paired(lambda: seconds(from_lake), lambda: seconds(from_memmap), repeats=repeats)
        size_mb = 2 * self._rows * DIM / 1e6
        rates = {
            "lake": size_mb / pairs.ours_s, "memmap": size_mb / pairs.theirs_s,
            "memmap that stays open": size_mb / _median_s(lambda: from_memmap(mapped)),
        }  # fmt: skip
        name = f"read {self._rows:,} vectors x {DIM} that SQL reads as FLOAT[], speed as a share"
        figures = [
            Figure(
                name, "numpy memmap, opened and copied to memory", pairs.speedups, FLOATS_GOAL,
                detail=f"{_told(rates)}, {len(self._shards)} shards, one thread, page cache; ours with every "
                f"page's checksum verified; {self._sql_told()}; {pairs.calm}",
            )
        ]  # fmt: skip
        if self._lance_name:
            import lance

            stored = lance.dataset(str(self._lance))

            def from_lance() -> None:
                for batch in stored.to_batches(columns=["cls"], batch_size=SHARD_ROWS):
                    batch.column(0).flatten().to_numpy(zero_copy_only=False).reshape(-1, DIM)

            from_lance()
            pairs = paired(lambda: seconds(from_lake), lambda: seconds(from_lance), repeats=repeats)
            rates = {"lake": size_mb / pairs.ours_s, "lance": size_mb / pairs.theirs_s}
            detail = f"{_told(rates)}; Lance with all its threads, ours with one; {pairs.calm}"
            figures.append(Figure(name, self._lance_name, pairs.speedups, detail=detail))
        return figures

    def look_up(self, count: int) -> list[Figure]:
        """One vector by its id, and all vectors of one item, drawn at random."""
        draw = np.random.default_rng(1)
        rows = draw.permutation(self._rows)[:count].tolist()
        vectors = np.load(self._memmap, mmap_mode="r")[0]
        files = f"{self._work.lake.path(self._work.place(STAGE, self._shards[0])).parent}/*.parquet"

        def by_id(row: int) -> np.ndarray:
            return np.asarray(vectors_by_id(self._work, [_sample(row)])[0])

        def of_item(row: int) -> np.ndarray:
            return vectors_of_item(self._work, _item(row))[1]

        def one(row: int) -> np.ndarray:
            return np.asarray(vectors[row])

        def of_its_item(row: int) -> np.ndarray:
            return np.asarray(vectors[_item_rows(row)])

        one_ms, item_ms = _each_ms(by_id, rows, one), _each_ms(of_item, rows, of_its_item)
        sql_ms = _each_ms(lambda row: _by_sql(files, _sample(row)), rows[:SQL_LOOKUPS], one)
        one_told = f"; DuckDB over the {len(self._shards)} files, no ledger, {np.median(sql_ms):.0f} ms"
        item_told = ""
        if self._lance_name:
            built_s, find = self._lance_finder()
            lance_ms = _each_ms(lambda row: find("sample", _sample(row))[0], rows, one)
            found_ms = _each_ms(lambda row: find("item", _item(row)), rows, of_its_item)
            index = f"{self._lance_name}, its indexes on both columns built in {built_s:.1f} s,"
            one_told += f"; {index} {np.median(lance_ms):.1f} ms"
            item_told = f"; {index} {np.median(found_ms):.1f} ms"
        return [
            Figure(
                f"one vector by its id among {self._rows:,}, ms", "1 ms", tuple(one_ms), BY_ID_MS,
                is_at_most=True, detail=f"p50 of {count}, p99 {np.percentile(one_ms, 99):.1f} ms{one_told}",
            ),
            Figure(
                f"all {ITEM_ROWS} vectors of one item among {self._rows:,} rows, ms", "1 ms", tuple(item_ms),
                detail=f"p50 of {count}, p99 {np.percentile(item_ms, 99):.1f} ms{item_told}",
            ),
        ]  # fmt: skip

    def _register(self) -> None:
        items = [
            LedgerItem(f"{name}.mp4", name, self._shards[row // SHARD_ROWS], row, 1, 1, name, "")
            for row in range(0, self._rows, ITEM_ROWS)
            for name in [_item(row)]
        ]
        self._work.lake.ledger.write_items("bench", items)

    def _table(self, number: int) -> pa.Table:
        rows = range(number * SHARD_ROWS, (number + 1) * SHARD_ROWS)
        # Other values in each shard, without drawing a million times 768 numbers.
        cls = np.roll(self._base, number, axis=1)
        columns = {
            "sample": [_sample(row) for row in rows], "item": [_item(row) for row in rows],
            "t_s": [float(row % ITEM_ROWS) for row in rows],
            "sample_hash": [f"{row:032x}@{row}" for row in rows],
            "cls": vectors_column(cls), "patch_mean": vectors_column(cls[:, ::-1]),
        }  # fmt: skip
        return pa.table(columns, schema=schemas.frame_embeddings(DIM, DIM))

    def _memmap_s(self, whole: np.memmap, vectors: Mapping[int, np.ndarray]) -> float:
        began = time.perf_counter()
        for number, both in vectors.items():
            whole[:, number * SHARD_ROWS : (number + 1) * SHARD_ROWS] = both
        whole.flush()
        return time.perf_counter() - began

    def _lake_s(self, tables: Mapping[int, pa.Table]) -> float:
        began = time.perf_counter()
        for number, table in tables.items():
            place = self._work.place(STAGE, self._shards[number])
            with self._work.lake.writing(place, table.schema, Mark(f"{number}")) as writer:
                writer.write(table)
                writer.facts.made = table.num_rows
        return time.perf_counter() - began

    def _lance_s(self, tables: Mapping[int, pa.Table]) -> float:
        import lance

        mode = "append" if self._lance.exists() else "create"
        table = pa.concat_tables(tables.values())
        return seconds(lambda: lance.write_dataset(table, str(self._lance), mode=mode))

    def _lance_finder(self) -> tuple[float, Callable[[str, str], np.ndarray]]:
        import lance

        stored = lance.dataset(str(self._lance))
        began = time.perf_counter()
        for column in ("sample", "item"):
            stored.create_scalar_index(column, "BTREE")
        took_s = time.perf_counter() - began
        stored = lance.dataset(str(self._lance))

        def find(column: str, name: str) -> np.ndarray:
            found = stored.to_table(columns=["cls"], filter=f"{column} = '{name}'")
            return np.asarray(vectors_of(found, "cls"))

        return took_s, find

    def _sql_told(self) -> str:
        import duckdb

        place = self._work.place(STAGE, self._shards[0])
        files = str(self._work.lake.path(place).parent / "*.parquet")
        with duckdb.connect() as connection:
            kind = connection.execute(f"SELECT typeof(cls) FROM '{files}' LIMIT 1").fetchall()[0][0]
            took_s = min(
                seconds(lambda: connection.execute(f"SELECT sum(list_sum(cls)) FROM '{files}'").fetchall())
                for _ in range(2)
            )
        return f"DuckDB {duckdb.__version__} sums all of them, as {kind}, in {took_s:.1f} s"


def _read_grids(folder: Path, *, rows: int, repeats: int) -> Figure:
    """Patch grids, which lie as bytes of a fixed size."""
    draw = np.random.default_rng(2)
    grids = draw.standard_normal((rows, CELLS, PATCH_DIM), np.float32).astype(np.float16)
    np.save(folder / "grids.npy", grids)
    lake, place = Lake(folder / "grids"), Place("bench", STAGE, "s00000", "grids")
    column = bytes_column(grids)
    schema = pa.schema([pa.field("patch_grid", column.type, nullable=False)])
    with lake.writing(place, schema, Mark("grids")) as writer:
        writer.write({"patch_grid": column})
    stored = np.load(folder / "grids.npy", mmap_mode="r")

    def from_lake() -> np.ndarray:
        table = lake.read(place, ["patch_grid"])
        return grids_of(table.column("patch_grid"), CELLS, PATCH_DIM)

    if not np.array_equal(from_lake(), stored):
        raise AssertionError("the lake and the memmap hold different grids")

    def from_memmap() -> np.ndarray:
        return np.array(np.load(folder / "grids.npy", mmap_mode="r"))

    from_memmap()
    pairs = paired(lambda: seconds(from_lake), lambda: seconds(from_memmap), repeats=repeats)
    size_mb = grids.nbytes / 1e6
    rates = {
        "lake": size_mb / pairs.ours_s, "memmap": size_mb / pairs.theirs_s,
        "memmap that stays open": size_mb / _median_s(lambda: np.array(stored)),
    }  # fmt: skip
    return Figure(
        f"read {rows:,} patch grids of {CELLS} x {PATCH_DIM} as bytes, speed as a share",
        "numpy memmap, opened and copied to memory", pairs.speedups, BYTES_GOAL,
        detail=f"{_told(rates)}, one thread, page cache; ours with checksums verified; {pairs.calm}",
    )  # fmt: skip


def _each_ms(
    find: Callable[[int], np.ndarray], rows: Sequence[int], truth: Callable[[int], np.ndarray]
) -> list[float]:
    """Milliseconds of each look-up after a first one; what is found is what was written."""
    find(rows[0])
    took = []
    for row in rows:
        began = time.perf_counter()
        found = find(row)
        took.append(1e3 * (time.perf_counter() - began))
        if not np.array_equal(found, truth(row)):
            raise AssertionError(f"another vector was found for row {row}")
    return took


def _by_sql(files: str, sample: str) -> np.ndarray:
    import duckdb

    query = f"SELECT cls FROM '{files}' WHERE sample = ?"
    return np.array(duckdb.execute(query, [sample]).fetchall()[0][0], np.float16)


def _median_s(work: Callable[[], Any]) -> float:
    return float(np.median([seconds(work) for _ in range(3)]))


def _item(row: int) -> str:
    return f"film{row // ITEM_ROWS:06d}"


def _item_rows(row: int) -> slice:
    first = row // ITEM_ROWS * ITEM_ROWS
    return slice(first, first + ITEM_ROWS)


def _sample(row: int) -> str:
    return f"{_item(row)}#t={float(row % ITEM_ROWS)}"


def _ratios(theirs_s: Sequence[float], ours_s: Sequence[float]) -> tuple[float, ...]:
    return tuple(one / other for one, other in zip(theirs_s, ours_s, strict=True))


def _told(mb_a_second: dict[str, float]) -> str:
    return ", ".join(f"{name} {rate:,.0f} MB/s" for name, rate in mb_a_second.items())


def _version(package: str) -> str:
    """The version of a rival; "" where it isn't installed, which is said."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        print(f"parquet: {package} isn't installed: not held against it", file=sys.stderr)
        return ""
