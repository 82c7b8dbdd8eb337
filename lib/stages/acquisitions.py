"""A tile's acquisitions in time, told from the ledger: which one each is held against."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lib.ledger import LedgerItem
from lib.stages.stage import usable

# From so many earlier dates on, an acquisition is held against its own history.
LEAST_HISTORY = 4
_BETWEEN = "__"
# The tile of files that have no date or no place: rows with a reason.
UNPLACED = "unplaced"


def cell_name(tile: str, period: str) -> str:
    """The shard of a tile and the first day of a period."""
    return f"{tile}{_BETWEEN}{period}"


def tile_of(shard: str) -> str:
    """The tile of a cell."""
    return shard.rpartition(_BETWEEN)[0]


def period_of(shard: str) -> str:
    """The first day of a cell's period, `YYYY-MM-DD`."""
    return shard.rpartition(_BETWEEN)[2]


@dataclass(frozen=True, slots=True)
class Acquisition:
    """One scene in time. `bounds`: west, south, east, north in degrees; west above east across the 180th."""

    acquired: str
    item: str
    shard: str
    content_hash: str
    bounds: tuple[float, float, float, float]

    @classmethod
    def of(cls, item: LedgerItem) -> "Acquisition":
        """Out of what the ledger keeps of a scene."""
        told: dict[str, Any] = json.loads(item.facts)
        return cls(told["acquired"], item.item, item.shard, item.content_hash, tuple(told["bounds"]))

    def overlaps(self, other: "Acquisition") -> bool:
        """Whether the two may show common ground."""
        (west, south, east, north), (w, s, e, n) = self.bounds, other.bounds
        if south >= n or s >= north:
            return False
        if west > east or w > e:
            return True  # across the 180th meridian: what overlaps shows when it is read
        return west < e and w < east


def acquisitions_of(items: Iterable[LedgerItem], tile: str) -> list[Acquisition]:
    """The scenes of a tile, earliest first; of two at one moment, by name."""
    found = [Acquisition.of(i) for i in usable([i for i in items if tile_of(i.shard) == tile])]
    return sorted(found, key=lambda a: (a.acquired, a.item))


def compared_with(one: Acquisition, tile: Sequence[Acquisition], *, history: int) -> list[Acquisition]:
    """The acquisitions that one is held against, the latest first: its true previous, or its own history.

    Args:
        one: The acquisition to be judged.
        tile: All of its tile, earliest first.
        history: Acquisitions looked back on where there are `LEAST_HISTORY` or more; 0 for the previous only.
    """
    # Files of one moment are parts of one product, or neighbours: nothing happened between them.
    earlier = [a for a in tile if a.acquired < one.acquired and one.overlaps(a)]
    deep = min(history, len(earlier)) if history and len(earlier) >= LEAST_HISTORY else 1
    return earlier[::-1][:deep]
