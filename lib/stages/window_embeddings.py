"""window_embeddings: the vectors of every window and of its cells: the scene line is told from these."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lib import schemas
from lib.columns import bytes_column, vectors_column
from lib.compute import Compute, Failed
from lib.lake import Facts, ShardWriter
from lib.ledger import LedgerItem
from lib.stages.acquisitions import tile_of
from lib.stages.changing import Expected, SourcesChangedError, distrust, is_change
from lib.stages.making import Work, ensure
from lib.stages.tiles import Tile, read_tile
from lib.stages.window_worker import (
    WindowChunk,
    WindowTask,
    WindowWorkerFactory,
    measured_windows,
    spoiled_windows,
)
from lib.stages.windows import sample_name

# A row is some 120 kB: so many are a chunk that travels, and a row group that is read at once.
BLOCK = 64
_LIMIT_S = 3600.0
# As `lib.tasks.change.perturbed` makes them.
KINDS = 8
_IDS = ("sample", "item", "row", "column", "sample_hash")


def embeddings_schema(work: Work) -> pa.Schema:
    """The columns under the archive's contract."""
    from lib.tasks.window_views import CELLS

    contract = work.contract
    return schemas.window_embeddings(
        contract.cls_dim, contract.patch_dim, contract.deep[-1], CELLS**2, kinds=KINDS
    )


def make_window_embeddings(work: Work, shard: str, compute: Compute) -> Facts:
    """Embed a cell's windows; those whose vectors stand keep them.

    Raises:
        SourcesChangedError: A scene isn't the file that was registered, or became another meanwhile. The
            ledger has it noted, the next run looks at it again, and what stands of the cell stays.
    """
    schema = embeddings_schema(work)
    changed: dict[str, str] = {}

    def fill(writer: ShardWriter) -> None:
        windows = work.rows("windows", shard, list(_IDS))
        seen = work.rows("items", shard, ["item", "path", "content_hash"]).to_pylist()
        paths = {r["item"]: r["path"] for r in seen}
        hashes = {r["path"]: r["content_hash"] for r in seen}
        known_as = {i.path: i for i in work.lake.ledger.items(work.archive.name, shard)}
        tile = read_tile(work, tile_of(shard))
        # By what a file holds, not by its name: a renamed scene keeps its vectors.
        known = _known(work, shard, schema)
        scenes = [
            (name, windows.filter(pc.equal(windows.column("item"), name)))
            for name in dict.fromkeys(windows.column("item").to_pylist())
        ]
        due = [(n, rows) for n, rows in scenes if not known.keys() >= set(_hashes(rows))]
        tasks = [
            replace(task, expected=_expected(hashes[paths[n]], known_as[paths[n]]))
            for n, rows in due
            for task in _tasks(work, paths[n], tile, rows)
        ]
        entry = work.archive.embedding
        factory = WindowWorkerFactory(entry.backbone, entry.size_px, work.archive.pooling())
        chunks = compute.map(factory, tasks, limit_s=_LIMIT_S)
        renewed = {n for n, _ in due}
        for name, rows in scenes:
            if name in renewed:
                reason = _write_made(writer, name, paths[name], rows, chunks)
                if is_change(reason):
                    changed[paths[name]] = reason
            else:
                for block in work.blocks(
                    "window_embeddings", shard, pc.field("item") == known[_hashes(rows)[0]]
                ):
                    writer.write(_renamed(block, name))
                    writer.facts.kept += block.num_rows
        if changed:
            raise SourcesChangedError(changed, hashes)

    try:
        return ensure(work, "window_embeddings", shard, schema, fill, row_group=BLOCK)
    except SourcesChangedError as error:
        distrust(work, shard, error)
        raise


def _expected(content_hash: str, item: LedgerItem) -> Expected:
    told = {"hash": item.content_hash, "bytes": item.bytes, "mtime_ns": item.mtime_ns}
    return Expected.told(content_hash, told)


def _known(work: Work, shard: str, schema: pa.Schema) -> dict[str, str]:
    """Of windows that stand: hash -> item. None where what stands lacks a column, as older lakes do."""
    former = work.former_rows("window_embeddings", shard, ["sample_hash", "item"])
    path = work.lake.path(work.place("window_embeddings", shard))
    if former is None or pq.read_schema(path).names != schema.names:
        return {}
    return dict(zip(*(column.to_pylist() for column in former.columns), strict=True))


def _hashes(rows: pa.Table) -> list[str]:
    hashes: list[str] = rows.column("sample_hash").to_pylist()
    return hashes


def _renamed(block: pa.Table, item: str) -> pa.Table:
    """Rows under another item's name."""
    places = zip(block.column("row").to_pylist(), block.column("column").to_pylist(), strict=True)
    samples = [sample_name(item, row, column) for row, column in places]
    for name, values in (("item", [item] * block.num_rows), ("sample", samples)):
        at = block.column_names.index(name)
        block = block.set_column(at, block.schema.field(at), pa.array(values, pa.string()))
    return block


def _tasks(work: Work, path: str, tile: Tile | None, rows: pa.Table) -> Iterator[WindowTask]:
    if tile is None:
        raise AssertionError("windows stand in a tile without a fit")  # pragma: no cover
    places = list(zip(rows.column("row").to_pylist(), rows.column("column").to_pylist(), strict=True))
    # By its contents: whatever else stands in the cell, a scene's windows are perturbed alike.
    seed = int(rows.column("sample_hash")[0].as_py()[:8], 16)
    spoiled = spoiled_windows(len(places), KINDS, seed=seed)
    measured = measured_windows(spoiled)
    for first in range(0, len(places), BLOCK):
        block = tuple(places[first : first + BLOCK])
        own = tuple((n - first, kind) for n, kind in spoiled if first <= n < first + len(block))
        at = tuple(n - first for n in measured if first <= n < first + len(block))
        yield WindowTask(str(work.root / path), tile, work.archive.scenes, block, own, at)


def _write_made(
    writer: ShardWriter, item: str, path: str, rows: pa.Table, chunks: Iterator[tuple[int, Any]]
) -> str:
    """A scene's blocks as they come; if one fails, the scene is refused, and what came of it stays valid.

    Returns:
        Why one failed; "" where none did.
    """
    reason = ""
    for first in range(0, rows.num_rows, BLOCK):
        _, chunk = next(chunks)
        if isinstance(chunk, Failed):
            reason = reason or chunk.reason
            continue
        block = rows.slice(first, BLOCK)
        ids = {name: block.column(name).combine_chunks() for name in _IDS}
        writer.write(ids | _columns(chunk))
        writer.facts.made += block.num_rows
        writer.facts.notes["runtime"] = chunk.runtime
    if reason:
        writer.facts.rejected += 1
        writer.facts.reasons[path] = reason
    return reason


def _columns(chunk: WindowChunk) -> dict[str, Any]:
    return {
        "cls": vectors_column(chunk.cls),
        "patch_mean": vectors_column(chunk.patch_mean),
        "patch_grid": bytes_column(chunk.patch_grid),
        "deep_grid": bytes_column(chunk.deep_grid),
        "cell_valid": bytes_column(chunk.cell_valid),
        "perturbed": [
            [{"kind": kind, "distance": d.tobytes()} for kind, d in chunk.perturbed[n]]
            if n in chunk.perturbed
            else None
            for n in range(len(chunk.cls))
        ],
        "pixel_noise": [
            chunk.noise[n].astype(np.uint16).tobytes() if n in chunk.noise else None
            for n in range(len(chunk.cls))
        ],
    }
