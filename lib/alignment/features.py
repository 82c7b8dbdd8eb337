"""How the stored blocks of a side become its feature."""

from collections.abc import Mapping

import numpy as np

from lib.embedding.vectors import unit
from lib.errors import UsageError


def stacked(blocks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Blocks (n, ...) of a side, each at unit length, one beside the other: (n, d) float16.

    At unit length each block has one vote, whatever its dimension. A spread for each dimension instead lost
    five points of R@1 on drone and satellite, and a scale for each block after centring changed nothing.
    A row that a block is zeros in stays zeros there.

    Args:
        blocks: By name, in the order in which they are stacked; float16 or float32.

    Raises:
        UsageError: No blocks, or blocks of different lengths.
    """
    rows = {name: len(block) for name, block in blocks.items()}
    if len(set(rows.values())) != 1:
        raise UsageError(f"blocks of one side need equally many rows, and there has to be one: {rows}")
    n = next(iter(rows.values()))
    widths = [int(np.prod(block.shape[1:])) for block in blocks.values()]
    made = np.empty((n, sum(widths)), np.float16)
    ends = np.cumsum([0, *widths])
    for block, start, end in zip(blocks.values(), ends[:-1], ends[1:], strict=True):
        # In steps, so that a million rows never stand in float32.
        for row in range(0, n, 8192):
            part = block[row : row + 8192]
            made[row : row + 8192, start:end] = unit(part.reshape(len(part), -1))
    return made
