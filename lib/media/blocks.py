"""How a TIFF's pixels lie in its file: in blocks, of which the header tells where and how large each is."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.errors import UnreadableMediaError

# A block is unpacked whole, and twice in memory, whatever part of it is wanted.
_LIMIT_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class Block:
    """`offset` and `size` in bytes, both 0 where none is stored; `window` is rasterio's."""

    offset: int
    size: int
    window: Any


def blocks_of(dataset: Any, *, bands: int) -> list[Block]:
    """The blocks of the first bands, as the header tells: no pixel is read."""
    found = []
    for band in range(1, bands + 1):
        for (row, column), window in dataset.block_windows(band):
            told = [
                dataset.get_tag_item(f"BLOCK_{what}_{column}_{row}", dm="TIFF", bidx=band)
                for what in ("OFFSET", "SIZE")
            ]
            found.append(Block(int(told[0] or 0), int(told[1] or 0), window))
    return found


def fullest_first(blocks: list[Block]) -> list[Block]:
    """What says something is larger, packed, than what says nothing; of one size, blocks from all over."""
    shuffled = np.random.default_rng(0).permutation(len(blocks))
    return sorted((blocks[number] for number in shuffled), key=lambda block: -block.size)


def require_small_blocks(dataset: Any) -> None:
    """Refuse a file that has to be unpacked in pieces which memory may not hold.

    Raises:
        UnreadableMediaError: A block has more than 512 MiB.
    """
    height, width = dataset.block_shapes[0]
    together = dataset.count if is_interleaved(dataset) else 1
    size = height * width * together * np.dtype(dataset.dtypes[0]).itemsize
    if size > _LIMIT_BYTES:
        raise UnreadableMediaError(
            f"it is packed in pieces of {size >> 20} MiB, over the limit of {_LIMIT_BYTES >> 20}: rewrite it "
            "in tiles (`rio cogeo create IN OUT`, or `gdal_translate -of COG IN OUT`)"
        )


def is_interleaved(dataset: Any) -> bool:
    """Whether a block holds all bands."""
    return bool(dataset.profile.get("interleave") == "pixel")
