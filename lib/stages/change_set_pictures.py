"""Pictures of labelled pairs from stored thumbnails: nothing is opened for them."""

import numpy as np

from lib.stages.making import Work
from lib.stages.pictures import sheet, thumbnail_pixels

_MOST_PAIRS = 8


def pairs_sheet(work: Work, shard: str) -> bytes | None:
    """Before, after and verdict of some of a shard's pairs, a row each; None where it has none."""
    table = work.rows("pair_changes", shard, ["pair", "before", "after", "verdict"])
    if not table.num_rows:
        return None
    spread = np.unique(np.linspace(0, table.num_rows - 1, _MOST_PAIRS).round().astype(int))
    rows = table.take(spread).to_pylist()
    sides = ("before", "after", "verdict")
    pictures = [thumbnail_pixels(row[side]) for row in rows for side in sides]
    return sheet(pictures, [f"{row['pair']} {side}" for row in rows for side in sides], columns=3)
