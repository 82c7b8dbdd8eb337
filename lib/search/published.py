"""An archive's published index, opened: what every kind of search stands on."""

import re
import shutil
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.errors import ContractMismatchError, IndexMissingError, LakeError, QueryError
from lib.forget import forgotten_since, is_forgotten, purged_shards
from lib.search.index import VectorIndex
from lib.search.saved import REMEDY
from lib.stages.centring import centred, frame_features, read_centre
from lib.stages.making import Work
from lib.stages.published_index import index_folder

# A writer replaces an index in milliseconds, and seldom twice while one search opens it.
_TRIES = 5
# Conditions whose rows are remembered: over a million rows, finding them takes longer than the search.
_REMEMBERED = 8
# What tells the time makes another mask tomorrow. In a column's name it only costs the remembering.
_TIMELY = re.compile("now|today|current|local|age", re.IGNORECASE)


class Published:
    """One archive's published index, opened once, asked often.

    Raises:
        IndexMissingError: Nothing was indexed yet.
        ContractMismatchError: It was indexed under another contract than the catalog asks for now.
    """

    def __init__(self, work: Work, stage: str):
        name = work.archive.name
        opened = self._open(work, stage)
        if opened is None:
            others = [c for c in work.lake.contracts(name, stage) if c != work.contracts.id]
            if others:
                raise ContractMismatchError(
                    f"archive {name!r} was indexed under {', '.join(others)}, but its catalog entry asks for "
                    f"{work.contracts.id}; vectors of two contracts can't be compared. `dinolake run {name}` "
                    "indexes it under the new one, or set the entry back."
                )
            raise IndexMissingError(
                f"archive {name!r} has no index yet: nothing in it was embedded. `dinolake run {name}`."
            )
        self.rows, self.index = opened
        self._work, self._stage = work, stage
        gone = self.rows.column("is_gone").to_numpy(zero_copy_only=False).astype(bool)
        self.names = self.rows.column("item").to_numpy(zero_copy_only=False)
        self._remembered = lru_cache(_REMEMBERED)(self._matching)
        # Removed at the source, or forgotten, means gone from the answers at once, before any index is made
        # again.
        self.alive: np.ndarray = ~gone & self._is_standing(name)
        # Rows marked in the index itself are skipped by it; a filter would make it search wider.
        self.needs_filter = bool((~gone & ~self.alive).any())

    def _is_standing(self, name: str) -> np.ndarray:
        """Mask of the rows whose items are at their source, as far as the ledger knows."""
        ledger, column = self._work.lake.ledger, self.rows.column("item")
        if purged_shards(self._work.lake, name):
            # The ledger doesn't know of items any more that this index may still hold.
            known = [item.item for item in ledger.items(name) if not item.removed]
            found = pc.is_in(column, value_set=pa.array(known, pa.string()))
        else:
            gone = sorted(ledger.removed(name))
            found = pc.invert(pc.is_in(column, value_set=pa.array(gone, pa.string())))
        standing = np.asarray(found.to_numpy(zero_copy_only=False))
        digests = forgotten_since(self._work.lake, self._work.place(self._stage))
        if digests:
            # Another machine may have forgotten them, of a lake that both have on S3.
            told = pc.dictionary_encode(self.rows.column("path").combine_chunks())
            out = [path is not None and is_forgotten(path, digests) for path in told.dictionary.to_pylist()]
            if any(out):
                codes = told.indices.fill_null(-1).to_numpy(zero_copy_only=False)
                standing = standing & ~np.array([*out, False])[codes]
        return standing

    @staticmethod
    def _open(work: Work, stage: str) -> tuple[pa.Table, VectorIndex] | None:
        """The rows and the vectors of one state of the index; None where there is none.

        Raises:
            LakeError: It isn't whole, or was replaced again and again.
        """
        for _ in range(_TRIES):
            before = work.lake.footer(work.place(stage))
            folder = index_folder(work, stage)
            if folder is None:
                return None
            rows = work.rows(stage)
            try:
                index = VectorIndex.open(folder, contract=work.contracts.id)
            except LakeError as error:
                raise _put_aside(work, folder, error) from error
            if work.lake.footer(work.place(stage)) == before and index.rows == rows.num_rows:
                return rows, index
        name = work.archive.name
        raise LakeError(
            f"the index of archive {name!r} doesn't agree with itself, or was replaced again and again while "
            f"it was opened. Try again; if that is no help, `dinolake run {name}` makes it again."
        )

    @cached_property
    def _centre(self) -> np.ndarray:
        return read_centre(self._work)

    def features(self, cls: np.ndarray, patch_mean: np.ndarray) -> np.ndarray:
        """Raw vectors of this archive's contract as centred unit features, (n, d) float32."""
        return centred(frame_features(cls, patch_mean), self._centre)

    def allowed(
        self, where: str | None, columns: tuple[str, ...], left_out: np.ndarray | None
    ) -> np.ndarray | None:
        """Mask of the rows that may answer; None where all that stand may.

        Args:
            where: SQL condition over `columns`.
            columns: What it may ask for.
            left_out: Mask of rows that may not.

        Raises:
            QueryError: `where` is empty or no such condition.
        """
        if where is not None and not where.strip():
            raise QueryError("--where is empty: give a condition, or leave it out.")
        if where is None and left_out is None and not self.needs_filter:
            return None
        allowed = self.alive.copy()
        if left_out is not None:
            allowed &= ~left_out
        if where is not None:
            matching = self._matching if _TIMELY.search(where) else self._remembered
            allowed &= matching(where, columns)
        return allowed

    def _matching(self, where: str, columns: tuple[str, ...]) -> np.ndarray:
        return self._work.lake.matching(self.rows.select(list(columns)), where)


def _put_aside(work: Work, folder: Path, error: LakeError) -> LakeError:
    """What to raise for an index that can't be opened; out of its place, it counts as missing."""
    lake, name = work.lake, work.archive.name
    told = f"the index of archive {name!r} can't answer: {str(error).removesuffix(REMEDY).strip()}"
    if isinstance(error.__cause__, OSError):
        return LakeError(f"{told} See to its disk and its permissions, then ask again.")
    if lake.ledger.is_read_only:
        return LakeError(f"{told} `dinolake run {name}` by its owner makes it again.")
    aside = lake.root / "_broken" / folder.relative_to(lake.root)
    with suppress(OSError):  # another reader was quicker
        aside.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    return LakeError(f"{told} It was put aside; `dinolake run {name}` makes it again.")
