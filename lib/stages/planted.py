"""Changes that are known, for archives without labels: pieces of other ground put into a scene."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from lib.errors import UnreadableMediaError
from lib.media.lattice import STRIDE_PX
from lib.stages.acquisitions import Acquisition, tile_of
from lib.stages.making import Work
from lib.stages.stage import usable
from lib.stages.tiles import read_tile

SIDE_PX = 2 * STRIDE_PX + 128
_SIZES_PX = (24, 40, 72)
_BORDER_PX = 24
_CANDIDATES = 8


@dataclass(frozen=True, slots=True)
class PlantedPair:
    """One place, and the same spoiled, with ground put in that lies elsewhere in it.

    Attributes:
        name: Of the scene.
        before: (h, w, 3) uint8.
        after: The same, perturbed, with what was planted.
        spoiled: The same, perturbed, with nothing planted.
        mask: (h, w) bool, where.
    """

    name: str
    before: np.ndarray
    after: np.ndarray
    spoiled: np.ndarray
    mask: np.ndarray


def planted_pairs(work: Work, *, most: int) -> Iterator[PlantedPair]:
    """Pairs from scenes spread over the archive, seeded; scenes full of gaps are passed over."""
    from lib.tasks.change import perturbed

    items = sorted(usable(work.prints.items()), key=lambda i: (tile_of(i.shard), Acquisition.of(i).acquired))
    spread = np.unique(np.linspace(0, len(items) - 1, min(len(items), most)).round().astype(int))
    for number, item in enumerate(items[at] for at in spread):
        picture = _gapless(work, item.item, item.path, item.shard)
        if picture is None:
            continue
        planted, mask = plant(picture, seed=number)
        kinds = (0, 3, 4)  # gain, noise, haze: perturbations that keep pixels in their places
        kind = kinds[number % len(kinds)]
        after, spoiled = (next(islice(perturbed(p, seed=number), kind, None)) for p in (planted, picture))
        yield PlantedPair(item.item, picture, after, spoiled, mask)


def plant(picture: np.ndarray, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture with squares of its own ground put elsewhere: (h, w, 3) uint8, and (h, w) bool where.

    Of some places that a square could come from, the one that looks least like what it covers is taken: what
    is planted shall be a change to anyone who looks.
    """
    random = np.random.default_rng(seed)
    made, mask = picture.copy(), np.zeros(picture.shape[:2], bool)
    for side in _SIZES_PX:
        last = np.array(picture.shape[:2]) - side - _BORDER_PX
        for _ in range(100):
            top, left = (int(random.integers(_BORDER_PX, end)) for end in last)
            near = slice(max(0, top - 32), top + side + 32), slice(max(0, left - 32), left + side + 32)
            if not mask[near].any():
                break
        place = slice(top, top + side), slice(left, left + side)
        sources = [tuple(int(random.integers(0, end)) for end in last) for _ in range(_CANDIDATES)]
        pieces = [picture[row : row + side, column : column + side].astype(int) for row, column in sources]
        unlike = [np.abs(piece - picture[place]).mean() for piece in pieces]
        made[place], mask[place] = pieces[int(np.argmax(unlike))], True
    return made, mask


def _gapless(work: Work, item: str, path: str, shard: str) -> np.ndarray | None:
    """A part of a scene that has data everywhere, from its middle outwards; None where there is none."""
    tile = read_tile(work, tile_of(shard))
    table = work.rows("windows", shard, ["item", "row", "column", "valid"])
    table = table.filter(pc.equal(table.column("item"), item))
    if tile is None or not table.num_rows:
        return None
    whole = table.filter(pc.equal(table.column("valid"), 1.0))
    rows, columns = whole.column("row").to_numpy(), whole.column("column").to_numpy()
    middle = np.hypot(rows - np.median(rows), columns - np.median(columns)) if len(rows) else rows
    try:
        with tile.open(Path(work.root / path), work.archive.scenes) as scene:
            for at in np.argsort(middle, kind="stable")[:16]:
                picture, valid = scene.part(int(rows[at]), int(columns[at]), SIDE_PX, SIDE_PX)
                if valid.all():
                    return picture
    except (UnreadableMediaError, FileNotFoundError):
        return None
    return None
