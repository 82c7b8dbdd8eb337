"""Filters made ready: which rows may be found, in the shape that a search wants; the latest remembered."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# Of the 6 ms that one among a hundredth of 1 M rows took, 5 went into fetching these rows.
REMEMBERED = 4


@dataclass(frozen=True, slots=True)
class Findable:
    """Rows that may be found, made ready to be searched among.

    Attributes:
        count: How many.
        bits: One a row, the lowest of a byte first, as FAISS wants them; None where all rows may be found.
        selector: FAISS's, which points into `bits`; None where it isn't needed.
        few: The rows' numbers, where each is to be looked at.
        few_codes: An index of only these, in that order.
        clustered: The share of the filter's variance that is between the index's lists.
    """

    count: int
    bits: np.ndarray | None
    selector: Any = None
    few: np.ndarray | None = None
    few_codes: Any = None
    clustered: float = 1.0


def clustered_share(mask: np.ndarray, lists: np.ndarray) -> float:
    """How far a filter goes with lists: 0 where each holds the same share of allowed rows, 1 for all or none.

    The share of the mask's variance that is between lists (eta squared): also where only a few rows near each
    other are left out.

    Args:
        mask: Booleans, one a row, not all of them equal.
        lists: Each row's list.
    """
    sizes = np.bincount(lists)
    shares = np.bincount(lists[mask], minlength=len(sizes)) / np.maximum(sizes, 1)
    share = float(np.count_nonzero(mask)) / len(mask)
    return float((sizes * (shares - share) ** 2).sum() / (len(mask) * share * (1 - share)))


class RecentFilters:
    """What was made of the latest filters, known again by their bits. Threads may share it."""

    def __init__(self) -> None:
        self._made: OrderedDict[bytes, Findable] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, bits: np.ndarray, make: Callable[[np.ndarray], Findable]) -> Findable:
        """What `make` makes of the bits, or made of them of late."""
        key = bits.tobytes()
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        # Outside the lock: two threads may do it twice, and none waits for another's filter.
        made = make(bits)
        with self._lock:
            self._made[key] = made
            while len(self._made) > REMEMBERED:
                self._made.popitem(last=False)
        return made
