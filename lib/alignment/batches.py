"""Which pairs stand in a batch together: others are negatives, so hard ones are brought together."""

from collections.abc import Iterator

import numpy as np

from lib.alignment.pairs import Pairs

# Pairs that are alike stand in a batch in runs of so many; thousands of others in it are drawn freely.
_RUN = 32


class Batches:
    """Draws the batches of an epoch, the same for the same seed.

    Where all pairs fit into one batch there is nothing to choose. Else runs of neighbours are shuffled:
    neighbours on the ground in every other epoch, beginning with the first, where places are known, else
    neighbours by feature. Runs come of random splits at the median, new ones each epoch.
    """

    def __init__(self, pairs: Pairs, coarse: np.ndarray | None, *, batch: int, seed: int):
        """Prepare to draw.

        Args:
            pairs: Of the training side.
            coarse: (n, c) float32, a few principal components of each pair; None for batches by chance.
            batch: Most pairs in one.
            seed: Of the draws.
        """
        self._count, self._size = len(pairs), -(-len(pairs) // batch)
        self._draw = np.random.default_rng(seed)
        self._points = [] if coarse is None else [coarse]
        if coarse is not None and pairs.lonlat is not None and np.isfinite(pairs.lonlat).any():
            self._points.insert(0, self._on_ground(pairs.lonlat))
        self._epoch = 0

    def epoch(self) -> Iterator[np.ndarray]:
        """Places of pairs, a batch at a time, each pair once; batches differ by one in size at most."""
        if self._size == 1 or not self._points:
            order = self._draw.permutation(self._count)
        else:
            order = self._in_runs(self._points[self._epoch % len(self._points)])
        self._epoch += 1
        yield from np.array_split(order, self._size)

    def _in_runs(self, points: np.ndarray) -> np.ndarray:
        order = self._draw.permutation(self._count)
        for level in range(max(0, int(np.ceil(np.log2(self._count / _RUN))))):
            along = points @ np.asarray(self._draw.normal(size=points.shape[1]), np.float32)
            segment = np.arange(self._count) * 2**level // self._count
            order = order[np.lexsort((along[order], segment))]
        runs = np.array_split(order, -(-self._count // _RUN))
        return np.concatenate([runs[place] for place in self._draw.permutation(len(runs))])

    def _on_ground(self, lonlat: np.ndarray) -> np.ndarray:
        """(n, 3) points on the sphere; pairs without a place lie anywhere."""
        lon, lat = np.radians(lonlat).T
        points = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
        unknown = ~np.isfinite(points).all(axis=1)
        points[unknown] = self._draw.normal(size=(int(unknown.sum()), 3))
        return points.astype(np.float32)


class Duplicates:
    """Finds the places of a batch where another pair's content is a positive too, and no negative."""

    def __init__(self, pairs: Pairs):
        """Keep who belongs to whom, where any content is in more than one pair."""
        from scipy.sparse import coo_array

        rows = pairs.pairs
        self._rows = rows
        self._all = None
        if any(len(pairs.used(side)) < len(rows) for side in (0, 1)):
            links = coo_array((np.ones(len(rows), bool), (rows[:, 0], rows[:, 1])),
                              (len(pairs.left), len(pairs.right)))  # fmt: skip
            self._all = links.tocsr()

    def within(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """(i, j) off the diagonal where left content i and right content j are a pair; None where none is."""
        if self._all is None:
            return None
        left, right = self._rows[batch].T
        found = self._all[left][:, right].tocoo()
        apart = found.row != found.col
        return (found.row[apart], found.col[apart]) if apart.any() else None
