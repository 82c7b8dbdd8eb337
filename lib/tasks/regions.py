"""Connected regions of a mask that is given by strips, however large, and sums over each."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

STRIP_PX = 512

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
            mask: Gives bool rows; asked again for each use, and must answer the same.
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
        for top, labels, count in self._labelled():
            of = labels.ravel()
            given = [(values or {})[name](top, top + len(labels)).ravel() for name in names]
            sums = [np.bincount(of, minlength=count + 1)]
            sums += [np.bincount(of, weights=value, minlength=count + 1) for value in given]
            parts.append([sum_[1:] for sum_ in sums])
            first = np.where(labels[0] > 0, labels[0] + total, 0)
            if last.size:
                both = (first > 0) & (last > 0)
                seams.append(np.unique(np.stack([last[both], first[both]]), axis=1))
            last = np.where(labels[-1] > 0, labels[-1].astype(np.int64) + total, 0)
            total += count
        ends = np.concatenate(seams, axis=1) if seams else np.zeros((2, 0), np.int64)
        joined = coo_array((np.ones(ends.shape[1], bool), (ends[0], ends[1])), shape=(total + 1, total + 1))
        # Provisional number 0 joins nothing, so that it is region 0.
        count, self._region = connected_components(joined, directed=False)
        self.count = int(count) - 1
        made = [
            np.bincount(self._region[1:], weights=np.concatenate(part), minlength=count)
            for part in zip(*parts, strict=True)
        ]
        self.sizes = made[0].astype(np.int64)
        self.sums = dict(zip(names, made[1:], strict=True))

    def numbers(self) -> Iterator[tuple[int, np.ndarray]]:
        """Strip by strip: its first row, and (rows, width) numbers of regions."""
        before = 0
        for top, labels, count in self._labelled():
            own = np.concatenate([[0], self._region[1 + before : 1 + before + count]])
            yield top, own[labels]
            before += count

    def _labelled(self) -> Iterator[tuple[int, np.ndarray, int]]:
        from scipy import ndimage

        for top in range(0, self._height, STRIP_PX):
            labels, count = ndimage.label(self._mask(top, min(self._height, top + STRIP_PX)))
            yield top, labels, count
