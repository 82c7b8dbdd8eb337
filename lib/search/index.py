"""Cosine search over stored embeddings, for all lines. The only module that imports faiss."""

import dataclasses
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np

from lib.errors import ContractMismatchError, IndexTooSmallError, QueryError
from lib.search import saved
from lib.search.filters import Findable, RecentFilters, clustered_share
from lib.search.kinds import IndexKind, choose_kind, default_memory_bytes, is_outgrown, kind_named
from lib.search.recall import RecallCheck
from lib.search.store import Hits as Hits
from lib.search.store import VectorStore

# So few candidates are compared one by one: exact, and faster than any way through the lists.
EXACT_CANDIDATES = 10_000
TRAINING_ROWS_A_LIST = 64
REBUILD_REMOVED_SHARE = 0.2
_VERSIONS = {"faiss": faiss.__version__, "numpy": np.__version__}
_CODES, _REMOVED = "codes.faiss", "removed.npy"


class VectorIndex:
    """Unit vectors by row number 0..n-1 under one contract. FAISS proposes, the float16 vectors decide.

    `build` or `open` one. Searching changes nothing, so threads may share an index; `add`, `remove` and
    `tune` want it for themselves. FAISS's number of threads ends as the process had it.
    """

    def __init__(self, store: VectorStore, codes: Any, manifest: saved.Manifest, removed: np.ndarray) -> None:
        self.kind = manifest.kind
        self.contract = manifest.contract
        self.recall: RecallCheck | None = manifest.recall
        self.store = store
        self._codes = codes
        self._manifest = manifest
        self._removed = removed
        self._removed_changed()
        # Files on disk that hold just what is here, so that a removal needn't write them out again.
        self._kept: dict[str, saved.KeptFile] = {}

    @classmethod
    def build(
        cls,
        vectors: np.ndarray | Iterable[np.ndarray],
        *,
        contract: str,
        kind: str | None = None,
        seed: int = 0,
        memory_bytes: int | None = None,
    ) -> Self:
        """Index vectors in the order they come. The same input and seed make the same index.

        Args:
            vectors: Unit float16, (rows, dim): an array, a memmap (neither is copied), or blocks of rows.
            contract: Id of the contract that all of them were made under.
            kind: A name of `kinds.KINDS`; by size and memory where left out.
            seed: Of the training.
            memory_bytes: What the index may hold in memory; a quarter of the machine's where left out.

        Raises:
            IndexTooSmallError: No block came, or too few rows for the kind asked for.
            LakeError: A row isn't a unit vector.
        """
        memory_bytes = memory_bytes or default_memory_bytes()
        store = VectorStore.of(vectors)
        store.check_lengths()
        rows, dim = store.rows, store.dim
        laid_out = kind_named(kind, rows, dim) if kind else choose_kind(rows, dim, memory_bytes=memory_bytes)
        codes = _trained(laid_out, store, seed=seed, memory_bytes=memory_bytes)
        _feed(codes, laid_out, store)
        manifest = saved.Manifest(laid_out, rows, dim, contract, trained_rows=rows, seed=seed, parts=(rows,))
        return cls(store, codes, manifest, np.zeros(rows, bool))

    @classmethod
    def open(cls, folder: Path, *, contract: str | None = None, verify: bool = False) -> Self:
        """Read an index that `save` wrote, its codes whole: mapped, they are searched 1.4 to 2.7 x slower.

        Args:
            folder: Where it was saved.
            contract: The one that queries will be made under, if known already.
            verify: Read every vector through, too; without it, a mapped file is only held to its size.

        Raises:
            IndexMissingError: Nothing was saved there.
            LakeError: A file is cut off, damaged, or of another version.
            ContractMismatchError: It holds vectors of another contract.
        """
        index = saved.read_whole(folder, lambda place: cls._read(place, verify=verify))
        if contract is not None and contract != index.contract:
            raise ContractMismatchError(
                f"The index at {folder} holds vectors of contract {index.contract}; asked for is {contract}. "
                "Vectors of two contracts can't be compared: query under the index's, or index this one."
            )
        return index

    @classmethod
    def _read(cls, place: Path, *, verify: bool) -> Self:
        manifest = saved.Manifest.read(place)
        for name, written in manifest.files.items():
            # The vectors of an exact index are its codes.
            if verify or not name.startswith(saved.VECTORS) or not manifest.kind.lists:
                saved.check_content(place / name, written)
        bits = np.load(place / _REMOVED, allow_pickle=False)
        removed = np.unpackbits(bits, count=manifest.rows).astype(bool)
        store = VectorStore.open(*[place / name for name in saved.vector_files(manifest.parts)])
        if manifest.kind.lists:
            codes = faiss.read_index(str(place / _CODES))
        else:
            codes = _untrained(manifest.kind, manifest.dim)
            _feed(codes, manifest.kind, store)
        if {(store.rows, store.dim), (codes.ntotal, codes.d)} != {(manifest.rows, manifest.dim)}:
            raise ValueError(f"{manifest.rows} x {manifest.dim} numbers were written, others are there")
        index = cls(store, codes, manifest, removed)
        index._kept = saved.kept_files(place, manifest.files)
        return index

    @property
    def rows(self) -> int:
        """Rows ever added: the next one's number."""
        return self.store.rows

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return self.store.dim

    @property
    def alive(self) -> int:
        """Rows that can be found."""
        return self._standing.count

    @property
    def rebuild_reason(self) -> str:
        """Why the index would be the better for a rebuild; empty where it wouldn't."""
        if 1 - self.alive / max(1, self.rows) > REBUILD_REMOVED_SHARE:
            return f"{self.rows - self.alive:,} of its {self.rows:,} rows are removed ones"
        laid_out_for = self._manifest.trained_rows
        if is_outgrown(self.kind, laid_out_for, rows=self.rows, dim=self.dim):
            return f"it was laid out for {laid_out_for:,} rows and holds {self.rows:,}"
        return ""

    @property
    def needs_rebuild(self) -> bool:
        """Whether there is a reason for a rebuild."""
        return bool(self.rebuild_reason)

    def search(self, queries: np.ndarray, *, k: int, allowed: np.ndarray | None = None) -> Hits:
        """Find the k nearest rows for each query; fewer where fewer are allowed. Removed rows stay away.

        Args:
            queries: Unit float32, (queries, dim).
            k: Matches a query.
            allowed: Booleans, one a row: only these may be found. Leave it out where nothing is filtered: a
                filter, even one that lets all through, reads more lists.

        Raises:
            IndexTooSmallError: The index is empty.
            ContractMismatchError: The queries have another dimension.
            QueryError: k below 1, a query of no length, or a filter of another length.
        """
        queries = self._checked(queries, k)
        among = self._standing if allowed is None else self._findable(allowed)
        width = min(k, among.count)
        if among.few is not None:
            return self._among(queries, width, among)
        nprobe, refine = self._effort(among, is_filtered=allowed is not None)
        fetch = min(among.count, width * refine)
        ids = _find(self._codes, queries, fetch, _parameters(self.kind, nprobe, among.selector))
        # FAISS fills up with -1 from behind.
        short = np.flatnonzero(ids[:, width - 1] < 0)
        if short.size:  # the lists that were read held too few allowed rows
            params = _parameters(self.kind, self.kind.lists, among.selector)
            ids[short] = _find(self._codes, queries[short], fetch, params)
        return self.store.rescored(queries, ids, width)

    def search_exactly(self, queries: np.ndarray, *, k: int) -> Hits:
        """What `search` would find if it missed nothing: a slow scan of every vector, to measure against."""
        queries = self._checked(queries, k)
        rows = np.flatnonzero(~self._removed) if self._removed.any() else None
        return self.store.nearest(queries, min(k, self.alive), rows)

    def add(self, vectors: np.ndarray) -> None:
        """Add rows behind the last, without training again.

        Args:
            vectors: Unit float16, (rows, dim).

        Raises:
            LakeError: Another dimension, or a row that isn't a unit vector; nothing is added.
        """
        VectorStore.of(vectors).check_lengths()
        first = self.rows
        self.store.append(vectors)
        _feed(self._codes, self.kind, self.store, first)
        self._removed = np.append(self._removed, np.zeros(self.rows - first, bool))
        self._removed_changed()
        self._kept.pop(_CODES, None)
        self.__dict__.pop("_lists", None)

    def remove(self, rows: np.ndarray) -> None:
        """Let rows never be found again; they keep their numbers, and a rebuild drops them.

        Raises:
            QueryError: A number that no row has.
        """
        rows = np.asarray(rows, np.int64)
        strange = rows[(rows < 0) | (rows >= self.rows)]
        if strange.size:
            raise QueryError(f"There is no row {strange[0]} to remove: the last one is {self.rows - 1}.")
        self._removed[rows] = True
        self._removed_changed()

    def tune(self, *, nprobe: int, refine: int) -> None:
        """Search with other settings from now on, and once saved."""
        self.kind = dataclasses.replace(self.kind, nprobe=min(nprobe, self.kind.lists), refine=refine)

    def save(self, folder: Path) -> None:
        """Write the index, whole or not at all, in the place of the one before it.

        Raises:
            LakeError: The disk is full, or can't be written to.
        """
        with saved.replaced_whole(folder) as fresh:
            parts, files = saved.write_vectors(self.store, fresh, self._manifest.parts, self._kept)
            if self.kind.lists:
                codes = saved.linked(self._kept, fresh, [_CODES])
                if codes is None:
                    faiss.write_index(self._codes, str(fresh / _CODES))
                files |= codes or {_CODES: saved.record(fresh / _CODES)}
            np.save(fresh / _REMOVED, np.packbits(self._removed))
            self._manifest = dataclasses.replace(
                self._manifest,
                kind=self.kind,
                rows=self.rows,
                recall=self.recall,
                parts=parts,
                files=files | {_REMOVED: saved.record(fresh / _REMOVED)},
                versions=_VERSIONS,
            )
            self._manifest.write(fresh)
        self._kept = saved.kept_files(folder, files)

    def _among(self, queries: np.ndarray, width: int, among: Findable) -> Hits:
        """The nearest of a few rows, each of them looked at."""
        if among.few is None or not among.count:
            return Hits(np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32))
        fetch = min(among.count, width * kind_named("exact", among.count, self.dim).refine)
        return self.store.rescored(queries, among.few[_find(among.few_codes, queries, fetch, None)], width)

    def _removed_changed(self) -> None:
        """Make ready what an unfiltered search looks among; filters from before let removed rows through."""
        self._recent = RecentFilters()
        count = self.rows - int(np.count_nonzero(self._removed))
        bits = None if count == self.rows else np.packbits(~self._removed, bitorder="little")
        self._standing = Findable(count, bits, None if bits is None else faiss.IDSelectorBitmap(bits))

    def _findable(self, allowed: np.ndarray) -> Findable:
        """The rows that a filter lets through, as they were made ready of late, if they were."""
        if allowed.shape != (self.rows,) or allowed.dtype != bool:
            seen = f"{allowed.dtype} of shape {allowed.shape}"
            raise QueryError(f"A filter is {self.rows} booleans, one a row; this one is {seen}.")
        bits = np.packbits(allowed, bitorder="little")
        if self._standing.bits is not None:
            bits &= self._standing.bits
        return self._recent.of(bits, self._made_findable)

    def _effort(self, among: Findable, *, is_filtered: bool) -> tuple[int, int]:
        return self.kind.effort(among.count / self.rows, is_filtered=is_filtered, clustered=among.clustered)

    @cached_property
    def _lists(self) -> np.ndarray:
        """Each row's list."""
        lists = np.empty(self.rows, np.int32)
        stored = self._codes.invlists
        for number in range(self.kind.lists):
            if size := stored.list_size(number):
                lists[faiss.rev_swig_ptr(stored.get_ids(number), size)] = number
        return lists

    def _made_findable(self, bits: np.ndarray) -> Findable:
        mask = np.unpackbits(bits, count=self.rows, bitorder="little").view(bool)
        count = int(np.count_nonzero(mask))
        if count and (not self.kind.lists or count > EXACT_CANDIDATES):
            is_some = self.kind.lists > 0 and count < self.rows
            clustered = clustered_share(mask, self._lists) if is_some else 0.0
            return Findable(count, bits, faiss.IDSelectorBitmap(bits), clustered=clustered)
        few = np.flatnonzero(mask)
        codes = _untrained(kind_named("exact", count, self.dim), self.dim)
        codes.add_sa_codes(self.store.raw(few).view(np.uint8))
        return Findable(count, bits, few=few, few_codes=codes)

    def _checked(self, queries: np.ndarray, k: int) -> np.ndarray:
        if k < 1:
            raise QueryError(f"k is {k}; ask for at least one match.")
        if not self.alive:
            raise IndexTooSmallError("The index is empty: it never had a vector, or all were removed.")
        return self.store.checked_queries(queries)


def _untrained(kind: IndexKind, dim: int) -> Any:
    return faiss.index_factory(dim, kind.factory, faiss.METRIC_INNER_PRODUCT)


def _trained(kind: IndexKind, store: VectorStore, *, seed: int, memory_bytes: int) -> Any:
    codes = _untrained(kind, store.dim)
    if not kind.lists:
        return codes
    # The sample is held as float32; it mustn't be what breaks an index that was to be small.
    affordable = max(kind.lists, memory_bytes // (4 * store.dim))
    count = min(store.rows, TRAINING_ROWS_A_LIST * kind.lists, affordable)
    sample = np.random.default_rng(seed).choice(store.rows, count, replace=False)
    clusterings = [codes.cp] + ([codes.pq.cp] if hasattr(codes, "pq") else [])
    for clustering in clusterings:
        clustering.seed = seed
        clustering.min_points_per_centroid = 1  # FAISS warns on standard error below 39
    codes.train(store.take(np.sort(sample)))
    return codes


def _feed(codes: Any, kind: IndexKind, store: VectorStore, first: int = 0) -> None:
    if kind.lists:
        for block in store.unit_blocks(first):
            codes.add(block)
    else:
        # The codes of SQfp16 are the float16 numbers themselves.
        for raw in store.raw_blocks(first):
            codes.add_sa_codes(np.ascontiguousarray(raw).view(np.uint8))


def _parameters(kind: IndexKind, nprobe: int, selector: Any) -> Any:
    if kind.lists:
        return faiss.SearchParametersIVF(nprobe=nprobe, sel=selector)
    return faiss.SearchParameters(sel=selector)


def _find(codes: Any, queries: np.ndarray, count: int, params: Any) -> np.ndarray:
    """Row numbers by the codes alone, -1 for what FAISS didn't find."""
    before = faiss.omp_get_max_threads()
    # One query is no quicker on more threads, and 2 to 3 times slower where they wait for a busy core.
    faiss.omp_set_num_threads(1 if len(queries) == 1 else before)
    try:
        return np.asarray(codes.search(queries, count, params=params)[1])
    finally:
        faiss.omp_set_num_threads(before)
