"""Pairs of stored features: which row of one side belongs to which row of the other."""

from dataclasses import dataclass, replace

import numpy as np

from lib.errors import UsageError


@dataclass(frozen=True, slots=True)
class Pairs:
    """Two sides' features, a row for each distinct content, and the pairs between them.

    Five captions of one picture are five pairs with one left row; nothing here repeats a content.

    Attributes:
        left: (L, d1) float16 or float32.
        right: (R, d2) the same.
        pairs: (n, 2) int64, rows of left and of right that belong together.
        groups: (n,) int64; pairs of one group (a place, a patient, a scene) are never parted by a split.
        lonlat: (n, 2) float64 in degrees, NaN where unknown; None where no pair has a place.
    """

    left: np.ndarray
    right: np.ndarray
    pairs: np.ndarray
    groups: np.ndarray
    lonlat: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.pairs)
        if self.left.ndim != 2 or self.right.ndim != 2 or self.pairs.shape != (n, 2):
            raise UsageError(
                f"pairs need features (rows, dim) a side and (n, 2) rows, not {self.left.shape}, "
                f"{self.right.shape} and {self.pairs.shape}"
            )
        if self.groups.shape != (n,) or (self.lonlat is not None and self.lonlat.shape != (n, 2)):
            raise UsageError(f"{n} pairs need {n} groups and as many places, not {self.groups.shape}")
        sizes = len(self.left), len(self.right)
        if n and (self.pairs.min() < 0 or (self.pairs.max(axis=0) >= sizes).any()):
            raise UsageError(
                f"a pair names a row that isn't there: sides have {sizes[0]} and {sizes[1]} rows"
            )

    def __len__(self) -> int:
        return len(self.pairs)

    def taken(self, which: np.ndarray) -> "Pairs":
        """Some of the pairs, by place or mask, on the same features: nothing is copied but their rows."""
        places = None if self.lonlat is None else self.lonlat[which]
        return replace(self, pairs=self.pairs[which], groups=self.groups[which], lonlat=places)

    def used(self, side: int) -> np.ndarray:
        """Rows of the left (0) or right (1) side that are in a pair, each once, ascending."""
        return np.unique(self.pairs[:, side])


def split_by_group(pairs: Pairs, *, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rest, held out) places of pairs for each fold, whole groups at a time, folds about as large.

    Contents that two groups share tie these: neither a place nor a picture stands on both sides.
    Fewer folds come out where there are fewer groups; none where there is a single one.
    """
    tied = tied_groups(pairs)
    _, codes, sizes = np.unique(tied, return_inverse=True, return_counts=True)
    folds = min(folds, len(sizes))
    if folds < 2:
        return []
    # Shuffled, then the largest first, each into the emptiest fold.
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold_of, filled = np.zeros(len(sizes), np.int64), np.zeros(folds, np.int64)
    if len(sizes) > 1000 * folds:
        fold_of[order] = np.arange(len(sizes)) % folds
    else:
        for group in order:
            fold_of[group] = filled.argmin()
            filled[fold_of[group]] += sizes[group]
    mine = fold_of[codes]
    return [(np.flatnonzero(mine != fold), np.flatnonzero(mine == fold)) for fold in range(folds)]


def tied_groups(pairs: Pairs) -> np.ndarray:
    """(n,) group numbers, one for all groups that share a left or a right content."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, group = np.unique(pairs.groups, return_inverse=True)
    groups = int(group.max(initial=-1)) + 1
    size = groups + len(pairs.left) + len(pairs.right)
    left, right = groups + pairs.pairs[:, 0], groups + len(pairs.left) + pairs.pairs[:, 1]
    ends = np.concatenate([left, right])
    links = coo_array((np.ones(len(ends), np.int8), (np.concatenate([group, group]), ends)), (size, size))
    _, label = connected_components(links, directed=False)
    return np.asarray(label[group], np.int64)
