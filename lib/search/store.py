"""Unit vectors as float16, mapped from their file or held in memory, read back as float32 of unit length."""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from lib.errors import ContractMismatchError, IndexTooSmallError, LakeError, QueryError

BLOCK_ROWS = 8192
# float16 moves a length by some 1e-4; anything further off was never a unit vector (or holds a NaN).
LENGTH_TOLERANCE = 0.01
# A row this short is sorted in less time than numpy takes to set out on a partition.
_SORTED_WHOLE = 512


@dataclass(frozen=True, slots=True)
class Hits:
    """Best matches first, equals by row number; row i answers query i."""

    ids: np.ndarray  # (queries, at most k) int64, row numbers
    scores: np.ndarray  # (queries, at most k) float32, cosine


class VectorStore:
    """Rows 0..n-1: what an index's candidates are rescored by, and what its recall is measured against."""

    def __init__(self, *parts: np.ndarray) -> None:
        # Plain arrays: np.memmap's own indexing costs more than the rows it brings.
        self._parts = [np.asarray(part) for part in parts]
        self._starts = np.cumsum([0, *[len(part) for part in parts]])

    @classmethod
    def of(cls, vectors: np.ndarray | Iterable[np.ndarray]) -> Self:
        """Take an array as it lies; spool blocks into an unnamed file, so that they needn't fit in memory."""
        if isinstance(vectors, np.ndarray):
            return cls(_as_rows(vectors))
        rows, dim = 0, 0
        # Unlinked from the start: a killed build leaves nothing behind. TMPDIR says where.
        with tempfile.TemporaryFile() as spool:
            for block in vectors:
                part = _as_rows(block, dim or None)
                rows, dim = rows + len(part), part.shape[1]
                spool.write(np.ascontiguousarray(part).data)
            if not rows:
                raise IndexTooSmallError(
                    "There are no vectors to index. Run the stages above the index, see what they rejected."
                )
            spool.flush()
            return cls(np.memmap(spool, dtype=np.float16, mode="r", shape=(rows, dim)))

    @classmethod
    def open(cls, *paths: Path) -> Self:
        """Map files that `write` made: their rows, one file behind the other."""
        return cls(*[np.load(path, mmap_mode="r", allow_pickle=False) for path in paths])

    @property
    def rows(self) -> int:
        """Vectors stored."""
        return int(self._starts[-1])

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return int(self._parts[0].shape[1])

    def append(self, vectors: np.ndarray) -> None:
        """Add rows behind the last."""
        part = _as_rows(vectors, self.dim)
        self._parts.append(part)
        self._starts = np.append(self._starts, self.rows + len(part))

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Unit float32 vectors of these rows, whatever the shape they are asked in: (..., dim)."""
        return _scaled(self.raw(rows.ravel()).astype(np.float32)).reshape(*rows.shape, self.dim)

    def raw(self, rows: np.ndarray) -> np.ndarray:
        """The float16 numbers of these rows, as they lie: (rows, dim)."""
        if len(self._parts) == 1:
            return np.take(self._parts[0], rows, axis=0)
        vectors = np.empty((len(rows), self.dim), np.float16)
        for part, start in zip(self._parts, self._starts, strict=False):
            mine = np.flatnonzero((rows >= start) & (rows < start + len(part)))
            if len(mine):
                vectors[mine] = np.take(part, rows[mine] - start, axis=0)
        return vectors

    def raw_blocks(self, start: int = 0) -> Iterator[np.ndarray]:
        """The float16 rows as they lie, from `start` on, some thousands at a time."""
        for part, offset in zip(self._parts, self._starts, strict=False):
            for first in range(max(0, start - int(offset)), len(part), BLOCK_ROWS):
                yield part[first : first + BLOCK_ROWS]

    def unit_blocks(self, start: int = 0) -> Iterator[np.ndarray]:
        """The rows as unit float32, from `start` on, some thousands at a time."""
        for raw in self.raw_blocks(start):
            yield _scaled(raw.astype(np.float32))

    def check_lengths(self) -> None:
        """See that every row is a unit vector.

        Raises:
            LakeError: One isn't, or holds what is no number.
        """
        first = 0
        for raw in self.raw_blocks():
            lengths = _lengths(raw.astype(np.float32))
            bad = np.flatnonzero(~(np.abs(lengths - 1) <= LENGTH_TOLERANCE))  # a NaN is bad, too
            if bad.size:
                raise LakeError(
                    f"Vector {first + bad[0]} has length {lengths[bad[0]]:.3g} where 1 is due "
                    f"({bad.size} such among {len(raw)}). Make the stage above the index again."
                )
            first += len(raw)

    def checked_queries(self, queries: np.ndarray) -> np.ndarray:
        """The queries, of exactly unit length.

        Raises:
            ContractMismatchError: They have another dimension.
            QueryError: One has no length or no direction.
        """
        if queries.ndim != 2 or queries.shape[1] != self.dim:
            raise ContractMismatchError(
                f"Queries of shape {queries.shape} can't be compared with vectors of {self.dim} numbers. "
                "Embed the query under the contract of what is searched."
            )
        lengths = _lengths(queries)[:, None]
        if not (np.isfinite(lengths) & (lengths > 0)).all():
            raise QueryError(
                "A query vector is all zeros, or holds what is no number. Embed the query again."
            )
        return np.ascontiguousarray(queries / lengths, dtype=np.float32)

    def nearest(self, queries: np.ndarray, k: int, rows: np.ndarray | None = None) -> Hits:
        """The exact answer, by looking at every row.

        Args:
            queries: Unit float32, (queries, dim).
            k: At most as many as there are rows to look at.
            rows: Only these (ascending row numbers); all where left out.
        """
        hits = Hits(np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32))
        for ids, vectors in self._chunks(rows):
            scores = queries @ vectors.T
            if hits.ids.shape[1] == k:
                # Few rows of a block are nearer than the k-th so far: sorting only those halves the scan.
                better = np.flatnonzero((scores > hits.scores[:, -1:]).any(axis=0))
                ids, scores = ids[better], scores[:, better]
            scores = np.hstack([hits.scores, scores])
            hits = best(np.hstack([hits.ids, np.broadcast_to(ids, (len(queries), len(ids)))]), scores, k)
        return hits

    def rescored(self, queries: np.ndarray, ids: np.ndarray, k: int) -> Hits:
        """The k best of each query's candidates, by their exact cosines.

        Args:
            queries: Unit float32, (queries, dim).
            ids: (queries, candidates), at least k of a row's own; -1 stands for none.
            k: Matches a query.
        """
        if len(queries) == 1:
            return self._rescored_one(queries[0], ids[0], k)
        scores = np.empty(ids.shape, np.float32)
        step = max(1, BLOCK_ROWS // ids.shape[1])
        for first in range(0, len(queries), step):
            part = slice(first, first + step)
            scores[part] = (self.take(np.maximum(ids[part], 0)) @ queries[part, :, None])[:, :, 0]
        scores[ids < 0] = -np.inf
        return best(ids, scores, k)

    def _rescored_one(self, query: np.ndarray, ids: np.ndarray, k: int) -> Hits:
        """For one query, where each array operation is felt."""
        ids = ids[ids >= 0]
        vectors = self.raw(ids).astype(np.float32)
        # A row at a time, and so equal vectors have equal scores, wherever they stand; BLAS's needn't.
        scores = np.einsum("ij,j->i", vectors, query) / _lengths(vectors)
        order = np.lexsort((ids, -scores))[:k]
        return Hits(ids[None, order], scores[None, order])

    def write(self, path: Path, *, first: int = 0) -> None:
        """Write the rows from the first on as one .npy file."""
        with path.open("wb") as file:
            header = {"descr": "<f2", "fortran_order": False, "shape": (self.rows - first, self.dim)}
            np.lib.format.write_array_header_1_0(file, header)
            for block in self.raw_blocks(first):
                file.write(np.ascontiguousarray(block).data)

    def _chunks(self, rows: np.ndarray | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        if rows is not None:
            for first in range(0, len(rows), BLOCK_ROWS):
                ids = rows[first : first + BLOCK_ROWS]
                yield ids, self.take(ids)
            return
        first = 0
        for block in self.unit_blocks():
            yield np.arange(first, first + len(block)), block
            first += len(block)


def best(ids: np.ndarray, scores: np.ndarray, k: int) -> Hits:
    """The k best columns of each row."""
    if scores.shape[1] > max(k, _SORTED_WHOLE):
        picked = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        # A partition takes any of those that tie for the last place: give it to the lowest ids.
        last = np.take_along_axis(scores, picked, axis=1).min(axis=1)
        for row in np.flatnonzero((scores >= last[:, None]).sum(axis=1) > k):
            tied = np.flatnonzero(scores[row] >= last[row])
            picked[row] = tied[np.lexsort((ids[row, tied], -scores[row, tied]))[:k]]
        ids, scores = np.take_along_axis(ids, picked, axis=1), np.take_along_axis(scores, picked, axis=1)
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    return Hits(np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1))


def _lengths(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", vectors, vectors)))


def _scaled(vectors: np.ndarray) -> np.ndarray:
    vectors /= _lengths(vectors)[:, None]
    return vectors


def _as_rows(vectors: np.ndarray, dim: int | None = None) -> np.ndarray:
    """Check the shape and hold as float16; an array that already is float16 isn't copied."""
    if vectors.ndim != 2 or (dim is not None and vectors.shape[1] != dim):
        wanted = f"(rows, {dim})" if dim else "(rows, dim)"
        raise LakeError(
            f"Vectors of shape {vectors.shape} where {wanted} is due: are they of another contract?"
        )
    return np.asarray(vectors, dtype=np.float16)
