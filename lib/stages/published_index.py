"""What all shards hold in one FAISS index, published only when its recall is good: for every line.

`all.parquet` says which row of the index is which sample, and its footer names the index's folder: moving
that one file into place publishes both. Shards that didn't change are not read again; new rows are added, old
ones marked.
"""

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.columns import vectors_of
from lib.errors import IndexMissingError, LakeError
from lib.lake import Facts, fingerprint
from lib.stages.making import Work, index_fault
from lib.stages.struck_index import struck

_STILL_OPENED_S = 3600


@dataclass(frozen=True, slots=True)
class Indexed:
    """What one line indexes.

    Attributes:
        stage: The index's own.
        source: The stage whose shards are indexed.
        key: Column that names a row; the same name with the same vector stays in its place.
        columns: Columns that are kept beside it, of `rows`; a row that stays has them as they are now.
        rows: A shard's rows: `columns` and, where asked for, `vector`, unit float16.
        about: What `--where` may ask of a row's item: columns of `items`.
        noun: What a row is called in notes: `clips`.
        notes: What else the footer says; where that changes, the index is built anew.
    """

    stage: str
    source: str
    key: str
    columns: tuple[str, ...]
    rows: Callable[[Work, str, bool], pa.Table]
    about: tuple[str, ...]
    noun: str
    notes: Callable[[Work], dict[str, Any]] = lambda work: {}


def index_folder(work: Work, stage: str) -> Path | None:
    """The folder of the published index; None when there is none.

    Raises:
        LakeError: It was published and isn't there, or not all of it.
    """
    footer = work.lake.footer(work.place(stage))
    if footer is None:
        return None
    folder = work.lake.path(work.place(stage)).parent
    if fault := index_fault(folder, footer[1]):
        name = work.archive.name
        raise LakeError(
            f"the index of archive {name!r} isn't whole. {fault} `dinolake run {name}` makes it again."
        )
    return folder / str(footer[1].notes["index"])


def make_index(work: Work, indexed: Indexed) -> Facts:
    """Index every shard; the index before stays in place if the new one isn't good enough.

    Raises:
        IndexRejectedError: Recall below the catalog's `index.min_recall` at every setting.
    """
    place = work.place(indexed.stage)
    with work.lake.lock(place):
        if facts := work.done(indexed.stage):
            return facts
        mark = work.mark(indexed.stage)
        former = work.lake.footer(place)
        update = _Update(work, indexed, former[1] if former else None, mark)
        facts = update.run()
        if facts is None:
            # Nothing is left to be found: what was published before mustn't be found either.
            work.lake.remove(work.lake.path(place))
            return Facts()
        with work.lake.writing(place, update.rows.schema, mark) as writer:
            writer.write(update.rows)
            writer.facts = facts
        _drop_superseded(work.lake.path(place).parent, facts.notes["index"])
        return writer.facts


class _Update:
    """The old index brought up to date where that is possible, else a new one."""

    def __init__(self, work: Work, indexed: Indexed, former: Facts | None, mark: str):
        from lib.search.index import VectorIndex

        self._work, self._indexed_as, self._mark = work, indexed, mark
        self._wanted: dict[str, str] = {
            shard: work.prints.of(indexed.source, shard) for shard in work.shards(indexed.stage)
        }
        told = indexed.notes(work)
        # Vectors of another space stand beside none of the old ones.
        self._settings = fingerprint(work.archive.index.model_dump(), *([told] if told else []))
        self._index: VectorIndex | None = None
        self._old: pa.Table | None = None
        self._indexed: dict[str, str] = {}
        self.rows: pa.Table = pa.table({})
        if former and former.notes["settings"] == self._settings:
            folder = work.lake.path(work.place(indexed.stage)).parent / former.notes["index"]
            # An index that can't be opened is no loss: all that it was made from is in the shards.
            with suppress(LakeError, IndexMissingError):
                self._old = work.rows(indexed.stage)
                self._index = VectorIndex.open(folder, contract=work.contracts.id)
                self._indexed = former.notes["shards"]
                self._strike_unknown()
        # What is behind its source answers as it did, till it is made again.
        for shard in work.behind(indexed.stage) & set(self._indexed):
            self._wanted[shard] = self._indexed[shard]

    def _strike_unknown(self) -> None:
        """Leave out items that were forgotten: a row that is only marked has its vector in the store."""
        if self._old is None or self._index is None:
            raise AssertionError  # pragma: no cover
        items = pa.array([item.item for item in self._work.prints.items()], pa.string())
        known = pc.is_in(self._old.column("item"), value_set=items).to_numpy(zero_copy_only=False)
        if not known.all():
            left = struck(self._index, self._old, known)
            self._index, self._old = left or (None, None)

    def run(self) -> Facts | None:
        """Build or update, check, save; None when there is nothing to index."""
        from lib.search.index import VectorIndex
        from lib.search.recall import check_publishable, held_queries

        if self._index is not None and not self._index.needs_rebuild:
            added, removed = self._update()
        else:
            added, removed = 0, 0
        if self._index is None or self._index.needs_rebuild:
            current = self._work.shards(self._indexed_as.stage)
            self._wanted = {shard: self._wanted[shard] for shard in current}
            fresh = [table for shard in self._wanted if (table := self._rows(shard)).num_rows]
            if not fresh:
                return None
            table = pa.concat_tables(fresh)
            kind = self._work.archive.index.kind
            self._index = VectorIndex.build(
                vectors_of(table, "vector"),
                contract=self._work.contracts.id,
                kind=None if kind == "auto" else kind,
            )
            self.rows = table.drop_columns(["vector"])
            added, removed = table.num_rows, 0
        check = check_publishable(
            self._index,
            held_queries(self._index.store.take(self._alive())),
            floor=self._work.archive.index.min_recall,
        )
        self.rows = _with_items(self._work, self._indexed_as, self.rows)
        name = f"index-{self._mark[:12]}"
        folder = self._work.lake.path(self._work.place(self._indexed_as.stage)).parent
        folder.mkdir(parents=True, exist_ok=True)
        self._index.save(folder / name)
        notes: dict[str, Any] = {
            "index": name, "settings": self._settings, "shards": self._wanted, "kind": self._index.kind.name,
            "recall": check.recall, "recall_queries": check.queries, "removed_rows": removed,
            "dim": self._index.dim, self._indexed_as.noun: self._index.alive,
            **self._indexed_as.notes(self._work),
        }  # fmt: skip
        return Facts(made=added, kept=self._index.alive - added, notes=notes)

    def _alive(self) -> np.ndarray:
        alive = np.flatnonzero(~np.asarray(self.rows.column("is_gone").to_numpy(zero_copy_only=False), bool))
        return np.random.default_rng(0).permutation(alive)[:4096]

    def _update(self) -> tuple[int, int]:
        """Mark rows that are gone and add those that are new; (added, removed)."""
        if self._old is None or self._index is None:
            raise AssertionError  # pragma: no cover
        changed = {s for s in {*self._wanted, *self._indexed} if self._wanted.get(s) != self._indexed.get(s)}
        gone = self._old.column("is_gone").to_numpy(zero_copy_only=False).astype(bool)
        touched = pc.is_in(self._old.column("shard"), value_set=pa.array(sorted(changed), pa.string()))
        standing = np.flatnonzero(touched.to_numpy(zero_copy_only=False) & ~gone)
        key = self._indexed_as.key
        names = self._old.column(key).take(pa.array(standing)).to_pylist()
        before = dict(zip(names, standing.tolist(), strict=True))
        added: list[pa.Table] = []
        renewed: list[pa.Table] = []
        kept: list[int] = []
        for shard in sorted(changed & set(self._wanted)):
            table = self._rows(shard)
            vectors = vectors_of(table, "vector")
            rows = [before.get(name, -1) for name in table.column(key).to_pylist()]
            same = np.zeros(len(rows), bool)
            known = np.array([at for at, row in enumerate(rows) if row >= 0], np.int64)
            if len(known):
                stored = self._index.store.take(np.array([rows[at] for at in known]))
                same[known] = np.isclose(stored, vectors[known].astype(np.float32), atol=1e-3).all(axis=1)
            kept += [rows[at] for at in np.flatnonzero(same)]
            renewed.append(table.filter(pa.array(same)).drop_columns(["vector"]))
            added.append(table.filter(pa.array(~same)))
        lost = np.array(sorted(set(standing.tolist()) - set(kept)), np.int64)
        self._index.remove(lost)
        gone[lost] = True
        old = self._old.set_column(self._old.column_names.index("is_gone"), "is_gone", pa.array(gone))
        new = [table for table in added if table.num_rows]
        if new:
            self._index.add(vectors_of(pa.concat_tables(new), "vector"))
        kept_columns = old.select([*self._indexed_as.columns, "shard", "is_gone"])
        # What is told of a sample may change, and its vector not: where it stands, what its bytes hash to.
        order = np.arange(old.num_rows)
        order[kept] = old.num_rows + np.arange(len(kept))
        kept_columns = pa.concat_tables([kept_columns, *renewed]).take(pa.array(order))
        self.rows = pa.concat_tables([kept_columns, *[table.drop_columns(["vector"]) for table in new]])
        return sum(table.num_rows for table in new), len(lost)

    def _rows(self, shard: str) -> pa.Table:
        table = self._indexed_as.rows(self._work, shard, True).select([*self._indexed_as.columns, "vector"])
        count = table.num_rows
        return table.append_column("shard", pa.array([shard] * count, pa.string())).append_column(
            "is_gone", pa.array(np.zeros(count, bool))
        )


def _with_items(work: Work, indexed: Indexed, rows: pa.Table) -> pa.Table:
    """What `--where` may ask about a row's item, beside the row."""
    tables = [work.rows("items", shard, ["item", *indexed.about]) for shard in work.shards(indexed.stage)]
    if not tables:
        return rows
    # The last shard's word on an item counts, as the first one found does here.
    items = pa.concat_tables([table.cast(tables[-1].schema) for table in reversed(tables)])
    at = pc.index_in(rows.column("item"), value_set=items.column("item").combine_chunks())
    for name in indexed.about:
        rows = rows.append_column(name, items.column(name).take(at))
    return rows


def _drop_superseded(folder: Path, current: str) -> None:
    """Keep what was superseded within the last hour for readers that are opening it; remove what is older.

    `dinolake gc` collects the rest. Whoever has an index open needs its files no more.
    """
    folders = sorted(
        (p for p in folder.glob("index-*") if p.name == current or not p.name.endswith("_tmp")),
        key=lambda p: p.stat().st_mtime,
    )
    for old, newer in pairwise(folders):
        # Each was in use until the next was made.
        if old.name != current and time.time() - newer.stat().st_mtime > _STILL_OPENED_S:
            shutil.rmtree(old, ignore_errors=True)
