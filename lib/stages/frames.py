"""frames and frame_embeddings: one decode feeds both; a second contract reuses the sampling.

The two files are written in one pass when both are missing. A frame's `sample_hash` is its video's content
hash and its timestamp: where that stands in the former file under the same contract, the vector is kept.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib import schemas
from lib.columns import vectors_of
from lib.compute import Compute, Failed
from lib.errors import UnreadableMediaError
from lib.lake import Facts, ShardWriter, fingerprint
from lib.stages.changing import Expected, SourcesChangedError, Watch, distrust, is_change
from lib.stages.frame_columns import Kept, columns_of, embedding_schema, ids_of, merged
from lib.stages.frame_worker import FrameChunk, FrameTask, FrameWorkerFactory
from lib.stages.items import OK, make_items
from lib.stages.making import Work


@dataclass(frozen=True, slots=True)
class _Item:
    item: str
    path: str
    expected: Expected

    @property
    def content_hash(self) -> str:
        return self.expected.content_hash

    def sample_hash(self, pts: int) -> str:
        return f"{self.content_hash}@{pts}"


def make_frames(
    work: Work, shard: str, compute: Compute, *, frames: bool = True, embeddings: bool = True
) -> dict[str, Facts]:
    """Make what is asked for and missing of a shard's `frames` and `frame_embeddings`.

    A file that isn't the one that was registered, or becomes another while it is decoded, is noted as such in
    the ledger and in `items`, and the shard is made without it: the next run looks at it again.

    Raises:
        CatalogError: The folder of the sources went away meanwhile.
    """
    wanted = [name for name, asked in (("frames", frames), ("frame_embeddings", embeddings)) if asked]
    refused: dict[str, str] = {}
    with ExitStack() as held:
        for name in wanted:
            held.enter_context(work.lake.lock(work.place(name, shard)))
        while True:
            # What the ledger says by now, and not what it said when the run began: `items` may be newer.
            work, items = _at_one(work, shard, wanted)
            done = {name: facts for name in wanted if (facts := work.done(name, shard))}
            missing = [name for name in wanted if name not in done]
            try:
                made = _Making(work, shard, missing, items).run(compute) if missing else {}
            except SourcesChangedError as changed:
                distrust(work, shard, changed)
                refused |= changed.reasons
                continue
            for facts in made.values():
                # Of this time only: what is committed says nothing of files that `items` refuses.
                facts.reasons |= refused
                facts.rejected += len(refused)
            return done | made


def _at_one(work: Work, shard: str, stages: list[str]) -> tuple[Work, list[_Item]]:
    """The stages' fingerprints and the items to be read, told from one state of the ledger."""
    ledger, archive = work.lake.ledger, work.archive.name
    while True:
        before, fresh = ledger.items(archive, shard), Work(work.lake, work.archive)
        for name in stages:
            fresh.prints.of(name, shard)
        rows = fresh.rows("items", shard, ["item", "path", "content_hash", "verdict", "removed"]).to_pylist()
        written = {r["item"]: r["content_hash"] for r in rows if not r["removed"]}
        if written != {i.item: i.content_hash for i in before if not i.removed}:
            make_items(fresh, shard)
        elif ledger.items(archive, shard) == before:
            expected = {i.item: Expected.of(i) for i in before}
            good = [r for r in rows if r["verdict"] == OK and not r["removed"]]
            return fresh, [_Item(r["item"], r["path"], expected[r["item"]]) for r in good]


class _Making:
    def __init__(self, work: Work, shard: str, missing: list[str], items: list[_Item]):
        self._work, self._shard, self._missing, self._items = work, shard, missing, items
        self._sampling = work.archive.frames.sampling()
        self._changed: dict[str, str] = {}  # path -> that it isn't the file that was registered
        self._mark = fingerprint(work.archive.frames.model_dump(exclude={"limit_s"}))
        self._reasons: dict[str, str] = {}  # path -> why a known item has no frames, or not all
        self._frames = self._known_frames()
        self._vectors = self._known_vectors() if "frame_embeddings" in missing else {}

    def _known_frames(self) -> dict[str, pa.Table]:
        """The frames of each item that are as they should be already, by item."""
        former = self._work.former("frames", self._shard)
        if former is None or former[1].notes.get("sampling") != self._mark:
            return {}
        table, facts = former
        self._reasons = facts.reasons
        hashes = {item.item: item.content_hash for item in self._items}
        known: dict[str, pa.Table] = {}
        for name, start, length in _runs(table.column("item").to_pylist()):
            rows = table.slice(start, length)
            is_same = rows.column("sample_hash")[0].as_py().split("@")[0] == hashes.get(name)
            # Version 1 of this stage could lose thumbnails; such frames are taken from their video again.
            if is_same and pc.min(pc.binary_length(rows.column("thumbnail"))).as_py() > 0:
                known[name] = rows
        for name, content_hash in facts.notes.get("failed", {}).items():
            if name not in known and hashes.get(name) == content_hash:
                known[name] = table.slice(0, 0)
        return known

    def _known_vectors(self) -> Kept:
        """Vectors of the former file under this contract, by sample hash."""
        former = self._work.former("frame_embeddings", self._shard)
        if former is None:
            return {}
        table, _ = former
        columns = {name: vectors_of(table, name) for name in ("cls", "patch_mean")}
        if "patch_grid" in table.column_names:
            columns["patch_grid"] = np.stack(
                [np.frombuffer(cell.as_py(), np.float16) for cell in table.column("patch_grid")]
            )
        hashes = table.column("sample_hash").to_pylist()
        return {h: {name: rows[at] for name, rows in columns.items()} for at, h in enumerate(hashes)}

    def run(self, compute: Compute) -> dict[str, Facts]:
        work, shard = self._work, self._shard
        schema = {"frames": schemas.FRAMES, "frame_embeddings": embedding_schema(work)}
        with ExitStack() as open_files:
            writers = {
                name: open_files.enter_context(
                    work.lake.writing(work.place(name, shard), schema[name], work.prints.of(name, shard))
                )
                # Embeddings are moved into place before frames: the inner block ends first. Frames without
                # vectors are harmless, and so are vectors without frames: their sample hash finds both again.
                for name in self._missing
            }
            self._fill(compute, writers)
        return {name: writer.facts for name, writer in writers.items()}

    def _fill(self, compute: Compute, writers: dict[str, ShardWriter]) -> None:
        work = self._work
        tasks = {item.item: task for item in self._items if (task := self._task(item))}
        self._look_at(item for item in self._items if item.item in tasks)
        factory = FrameWorkerFactory(
            work.archive.embedding.backbone if "frame_embeddings" in self._missing else None,
            work.archive.embedding.size_px,
            work.archive.embedding.pooling(),
        )
        chunks = _InOrder(compute.map(factory, list(tasks.values()), limit_s=work.archive.frames.limit_s))
        if "frames" in writers:
            writers["frames"].facts.notes = {"sampling": self._mark, "failed": {}}
        number = 0
        for item in self._items:
            if item.item in tasks:
                self._write_made(item, tasks[item.item], chunks.of(number), writers)
                number += 1
            else:
                self._write_kept(item, writers)
        # Only now: chunks that nobody takes would keep their worker waiting.
        self._require_unchanged()

    def _look_at(self, items: Iterable[_Item]) -> None:
        """Look whether files are what they were registered as, before hours go into those beside them."""
        for item in items:
            try:
                Watch(self._work.root / item.path, item.expected)
            except UnreadableMediaError as error:
                self._note_change(item, str(error))
        self._require_unchanged()

    def _note_change(self, item: _Item, reason: str) -> None:
        if is_change(reason):
            self._changed[item.path] = reason

    def _require_unchanged(self) -> None:
        if self._changed:
            raise SourcesChangedError(self._changed, {i.path: i.content_hash for i in self._items})

    def _task(self, item: _Item) -> FrameTask | None:
        """What has to be decoded of an item; None when all of it is known."""
        path, limit_s = str(self._work.root / item.path), self._work.archive.frames.limit_s
        needs_vectors = "frame_embeddings" in self._missing
        rows = self._frames.get(item.item)
        if rows is None:
            known = frozenset(
                int(h.split("@")[1]) for h in self._vectors if h.startswith(f"{item.content_hash}@")
            )
            return FrameTask(path, limit_s, sampling=self._sampling, known_pts=known, expected=item.expected)
        if not needs_vectors:
            return None
        missing = tuple(
            pts for pts in rows.column("pts").to_pylist() if item.sample_hash(pts) not in self._vectors
        )
        return FrameTask(path, limit_s, pts=missing, expected=item.expected) if missing else None

    def _write_made(
        self,
        item: _Item,
        task: FrameTask,
        chunks: Iterator[FrameChunk | Failed],
        writers: dict[str, ShardWriter],
    ) -> None:
        if task.sampling is None and len(task.pts) < self._frames[item.item].num_rows:
            # Some frames of the item are known: what is new is merged among them, by time.
            made = 0
            for chunk in chunks:
                if isinstance(chunk, Failed):
                    self._note_change(item, chunk.reason)
                    _note_failure(item, chunk, writers)
                else:
                    made += len(chunk.pts)
                    for at, pts in enumerate(chunk.pts):
                        vectors = {name: rows[at].reshape(-1) for name, rows in chunk.vectors.items()}
                        self._vectors[item.sample_hash(pts)] = vectors
            self._write_kept(item, writers, made=made)
            return
        if task.sampling is None:
            # All its frames are known and no vector is. Its chunks have vectors only, and pass through: a
            # long video's never stand in memory together.
            self._write_frames(item, writers)
            writers = {name: writer for name, writer in writers.items() if name != "frames"}
        for chunk in chunks:
            if isinstance(chunk, Failed):
                self._note_change(item, chunk.reason)
            if isinstance(chunk, Failed) or chunk.note:
                _note_failure(item, chunk, writers)
            if isinstance(chunk, FrameChunk) and len(chunk.pts):
                self._write_chunk(item, chunk, writers)

    def _write_chunk(self, item: _Item, chunk: FrameChunk, writers: dict[str, ShardWriter]) -> None:
        hashes = [item.sample_hash(pts) for pts in chunk.pts]
        ids = ids_of(item.item, chunk.t_s)
        if "frames" in writers:
            writers["frames"].write(
                ids | {"pts": chunk.pts, "sample_hash": hashes, "thumbnail": chunk.thumbnails}
            )
            writers["frames"].facts.made += len(hashes)
        if "frame_embeddings" in writers:
            writers["frame_embeddings"].facts.notes["runtime"] = chunk.runtime
            vectors = columns_of(merged(chunk, hashes, self._vectors))
            writers["frame_embeddings"].write(ids | {"sample_hash": hashes} | vectors)
            writers["frame_embeddings"].facts.made += sum(chunk.is_new)
            writers["frame_embeddings"].facts.kept += len(hashes) - sum(chunk.is_new)

    def _write_kept(self, item: _Item, writers: dict[str, ShardWriter], *, made: int = 0) -> None:
        rows = self._frames[item.item]
        self._write_frames(item, writers)
        if "frame_embeddings" in writers and rows.num_rows:
            found = [self._vectors.get(h) for h in rows.column("sample_hash").to_pylist()]
            keep = [at for at, vectors in enumerate(found) if vectors is not None]
            known = [vectors for vectors in found if vectors is not None]
            if known:
                ids = rows.take(keep).select(["sample", "item", "t_s", "sample_hash"]).combine_chunks()
                merged = {name: np.stack([vectors[name] for vectors in known]) for name in known[0]}
                named = {name: ids.column(name).combine_chunks() for name in ids.column_names}
                writers["frame_embeddings"].write(named | columns_of(merged))
            writers["frame_embeddings"].facts.made += made
            writers["frame_embeddings"].facts.kept += len(keep) - made

    def _write_frames(self, item: _Item, writers: dict[str, ShardWriter]) -> None:
        """An item's known frames as they are, with what is known to be wrong with it."""
        rows = self._frames[item.item]
        for writer in writers.values():
            if item.path in self._reasons:
                writer.facts.reasons.setdefault(item.path, self._reasons[item.path])
                writer.facts.rejected += not rows.num_rows
        if "frames" in writers:
            if not rows.num_rows:
                writers["frames"].facts.notes["failed"][item.item] = item.content_hash
            writers["frames"].write(rows)
            writers["frames"].facts.kept += rows.num_rows


def _note_failure(item: _Item, chunk: FrameChunk | Failed, writers: dict[str, ShardWriter]) -> None:
    reason = chunk.reason if isinstance(chunk, Failed) else chunk.note
    for name, writer in writers.items():
        writer.facts.reasons[item.path] = reason
        if isinstance(chunk, Failed):
            writer.facts.rejected += 1
            if name == "frames":
                writer.facts.notes["failed"][item.item] = item.content_hash


def _runs(names: list[str]) -> Iterator[tuple[str, int, int]]:
    start = 0
    for at in range(1, len(names) + 1):
        if at == len(names) or names[at] != names[start]:
            yield names[start], start, at - start
            start = at


class _InOrder:
    """Chunks of numbered tasks, taken task by task; a task may have none."""

    def __init__(self, stream: Iterator[tuple[int, Any]]):
        self._stream = stream
        self._ahead: tuple[int, Any] | None = None

    def of(self, number: int) -> Iterator[Any]:
        while True:
            if self._ahead is None:
                self._ahead = next(self._stream, None)
            if self._ahead is None or self._ahead[0] != number:
                return
            _, chunk = self._ahead
            self._ahead = None
            yield chunk
