"""Connected regions of a mask that is given by strips, however large, and sums over each."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from lib.ahead import ahead

STRIP_PX = 512
_AHEAD = 3  # strips held at a time

# First and last row (not included) -> (rows, width) of a mask, or of values.
Rows = Callable[[int, int], np.ndarray]


class Regions:
    """Regions of pixels that share edges; numbered from 1, 0 is what is in none.

    Attributes:
        count: How many there are.
        sizes: (count + 1,) pixels of each; of 0, none.
        sums: By name, (count + 1,) sums of the given values over each.
    """

    def __init__(self, mask: Rows, height: int, values: Mapping[str, Rows] | None = None):
        """Find them.

        Args:
            mask: Gives bool rows, to several threads; asked again for each use, and must answer the same.
            height: Of the whole.
            values: What to sum up, by name.
        """
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        self._mask, self._height = mask, height
        names = list(values or {})
        parts: list[list[np.ndarray]] = []
        seams: list[np.ndarray] = []
        total, last = 0, np.zeros(0, np.int64)
        self._counts: list[int] = []

        def strip(top: int) -> tuple[int, np.ndarray, list[np.ndarray]]:
            """How many regions a strip has, the labels of its first and last row, and the sums over each."""
            labels, count = self._labelled(top)
            # Most of a scene is in no region: only what is in one is summed up, and asked for if any is.
            at = np.flatnonzero(labels)
            of = labels.ravel()[at]
            sums = [np.bincount(of, minlength=count + 1)]
            for name in names:
                given = (values or {})[name](top, top + len(labels)).ravel()[at] if count else at
                sums.append(np.bincount(of, weights=given, minlength=count + 1))
            return count, labels[[0, -1]].astype(np.int64), [sum_[1:] for sum_ in sums]

        for _, made_of in ahead(strip, range(0, height, STRIP_PX), most=_AHEAD):
            count, ends, sums = made_of.result()
            self._counts.append(count)
            parts.append(sums)
            first, end = np.where(ends > 0, ends + total, 0)
            if last.size:
                both = (first > 0) & (last > 0)
                seams.append(np.unique(np.stack([last[both], first[both]]), axis=1))
            last = end
            total += count
        pairs = np.concatenate(seams, axis=1) if seams else np.zeros((2, 0), np.int64)
        ones = np.ones(pairs.shape[1], bool)
        joined = coo_array((ones, (pairs[0], pairs[1])), shape=(total + 1, total + 1))
        # Provisional number 0 joins nothing, so that it is region 0.
        count, self._region = connected_components(joined, directed=False)
        self.count = int(count) - 1
        made = [
            np.bincount(self._region[1:], weights=np.concatenate(part), minlength=count)
            for part in zip(*parts, strict=True)
        ]
        self.sizes = made[0].astype(np.int64)
        self.sums = dict(zip(names, made[1:], strict=True))

    def marked(self, is_marked: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Strips that have marked regions: the first row, and (rows, width) bool of them.

        A strip is asked of the mask when its turn comes; what was changed before isn't asked for again.

        Args:
            is_marked: (count + 1,) bool; of 0, False.
        """
        before = 0
        for strip, count in enumerate(self._counts):
            own = np.concatenate([[False], is_marked[self._region[1 + before : 1 + before + count]]])
            if own.any():
                yield strip * STRIP_PX, own[self._labelled(strip * STRIP_PX)[0]]
            before += count

    def _labelled(self, top: int) -> tuple[np.ndarray, int]:
        from scipy import ndimage

        mask = self._mask(top, min(self._height, top + STRIP_PX))
        return ndimage.label(mask) if mask.any() else (np.zeros(mask.shape, np.int32), 0)
