"""One side's stored vectors over all shards, as the features that heads are fitted on and applied to."""

from collections.abc import Iterator

import numpy as np

from lib.columns import vectors_of
from lib.stages.making import Work

# The rungs that are fitted on what the original design saw, where it was stored.
PLAIN = ("raw_cosine", "naive")


def stacked_blocks(
    work: Work, shard: str, side: str, names: tuple[str, ...] | None = None
) -> Iterator[tuple[list[str], np.ndarray]]:
    """A shard's contents of one side, a row group at a time: their hashes and features, (n, d) float16.

    Args:
        work: A pair archive's.
        shard: Of its pairs.
        side: `left` or `right`.
        names: Stored vectors that are stacked; None for all.
    """
    from lib.alignment.features import stacked

    dims = names or tuple(work.pair.side(side).dims)
    for block in work.blocks(f"{side}_embeddings", shard, None, ["sample_hash", *dims]):
        vectors = {name: vectors_of(block, name) for name in dims}
        yield block.column("sample_hash").to_pylist(), stacked(vectors)


class SideVectors:
    """One side's distinct contents over all shards, as stacked features.

    Attributes:
        hashes: Content hashes, in the order of `features`' rows.
        features: (n, d) float16, as `lib.alignment.features.stacked` makes them.
        rows: Content hash -> row.
    """

    def __init__(
        self,
        work: Work,
        side: str,
        wanted: set[str] | None = None,
        names: tuple[str, ...] | None = None,
    ):
        """Read them.

        Args:
            work: A pair archive's.
            side: `left` or `right`.
            wanted: Content hashes to read; None for all.
            names: As for `stacked_blocks`.
        """
        parts: list[np.ndarray] = []
        self.hashes: list[str] = []
        seen: set[str] = set()
        for shard in work.shards("aligner"):
            for hashes, features in stacked_blocks(work, shard, side, names):
                keep = []
                for at, digest in enumerate(hashes):
                    if digest not in seen and (wanted is None or digest in wanted):
                        seen.add(digest)
                        keep.append(at)
                self.hashes += [hashes[at] for at in keep]
                parts.append(features[keep])
        self.features = np.concatenate(parts) if parts else np.zeros((0, 0), np.float16)
        self.rows = {digest: row for row, digest in enumerate(self.hashes)}
