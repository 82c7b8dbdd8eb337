"""An index without the rows of some items: their vectors stand in its store as long as it is only marked."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from lib.lake import Facts, Lake, Mark, Place, fingerprint

if TYPE_CHECKING:
    from lib.search.index import VectorIndex


def struck(index: "VectorIndex", rows: pa.Table, known: np.ndarray) -> tuple["VectorIndex", pa.Table] | None:
    """The index built anew from its own vectors, of rows that are known and stand; None where none is left.

    Args:
        index: The one that holds more.
        rows: What its rows are, with `is_gone`.
        known: Mask of the rows that may stay, (rows,).
    """
    from lib.search.index import VectorIndex
    from lib.search.kinds import FEWEST_TRAINABLE_ROWS

    gone = rows.column("is_gone").to_numpy(zero_copy_only=False).astype(bool)
    kept = np.flatnonzero(known & ~gone)
    if not len(kept):
        return None
    kind = index.kind.name if len(kept) >= FEWEST_TRAINABLE_ROWS else None
    built = VectorIndex.build(index.store.raw(kept), contract=index.contract, kind=kind)
    return built, rows.take(pa.array(kept))


def rebuild_without(
    lake: Lake, place: Place, footer: tuple[str, Facts], rows: pa.Table, known: np.ndarray
) -> None:
    """Publish an index anew without some rows; the caller holds its lock.

    It counts as stale from then on: what a run would make of the shards may be another.

    Raises:
        LakeError: It isn't whole, or can't be written.
    """
    from lib.search.index import VectorIndex
    from lib.search.recall import check_publishable, held_queries

    folder, facts = lake.path(place).parent, footer[1]
    made = struck(VectorIndex.open(folder / str(facts.notes["index"]), contract=place.contract), rows, known)
    if made is None:
        lake.path(place).unlink(missing_ok=True)
        lake.ledger.drop_stage(place.archive, place.stage, place.contract, place.shard)
        return
    index, left = made
    # Whether it finds enough is asked of the next that is made; these rows must be out in any case.
    check = check_publishable(index, held_queries(index.store.take(np.arange(index.rows)[:4096])), floor=0.0)
    mark = Mark(fingerprint(footer[0], "struck"), {})
    name = f"index-{mark[:12]}"
    index.save(folder / name)
    notes = facts.notes | {
        "index": name, "kind": index.kind.name, "recall": check.recall, "recall_queries": check.queries,
        "removed_rows": 0, "shards": {},
    }  # fmt: skip
    schema = left.schema.remove_metadata()
    with lake.writing(place, schema, mark) as writer:
        writer.write(left.cast(schema))
        writer.facts = replace(facts, made=0, kept=left.num_rows, notes=notes, parts={})
