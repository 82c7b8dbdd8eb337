"""Stored vectors by name: of some samples, or of all samples of an item; little else of a shard is read."""

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc

from lib.columns import vectors_of
from lib.errors import UsageError
from lib.stages.making import Work

_EMBEDDINGS = "frame_embeddings"


def vectors_by_id(
    work: Work, samples: Sequence[str], *, column: str = "cls", stage: str = _EMBEDDINGS
) -> np.ndarray:
    """The vectors of some samples, in their order: (samples, dim) float16.

    The ledger knows a sample's item and shard; of the shard, only row groups are read that may hold it.

    Args:
        work: The archive, under the contract whose vectors are wanted.
        samples: Their ids, as `v_ArcheryG01#t=12.0`.
        column: `cls` or `patch_mean`.
        stage: Where they stand: `window_embeddings` of scenes.

    Raises:
        UsageError: One of them isn't stored.
        LakeError: A shard can't be read.
    """
    by_shard: dict[str, list[str]] = {}
    for sample in dict.fromkeys(samples):
        by_shard.setdefault(_shard_of(work, sample.rpartition("#")[0], sample), []).append(sample)
    found: dict[str, np.ndarray] = {}
    for shard, names in by_shard.items():
        table = work.lake.read(work.place(stage, shard), ["sample", column], pc.field("sample").isin(names))
        found |= zip(table.column("sample").to_pylist(), vectors_of(table, column), strict=True)
    if missing := [sample for sample in samples if sample not in found]:
        raise UsageError(_not_stored(work.archive.name, missing[0]))
    return np.stack([found[sample] for sample in samples])


def vectors_of_item(
    work: Work, item: str, *, column: str = "cls", stage: str = _EMBEDDINGS
) -> tuple[list[str], np.ndarray]:
    """All samples of an item, in time order or row by row, and their vectors: (samples, dim) float16.

    Raises:
        UsageError: No such item.
        LakeError: Its shard isn't made yet, or can't be read.
    """
    shard = _shard_of(work, item, item)
    table = work.lake.read(work.place(stage, shard), ["sample", column], pc.field("item") == item)
    return table.column("sample").to_pylist(), vectors_of(table, column)


def _shard_of(work: Work, item: str, asked: str) -> str:
    shard = work.lake.ledger.shard_of(work.archive.name, item)
    if shard is None:
        raise UsageError(_not_stored(work.archive.name, asked))
    return shard


def _not_stored(archive: str, name: str) -> str:
    return f"nothing is stored under {name!r} in archive {archive!r}."
