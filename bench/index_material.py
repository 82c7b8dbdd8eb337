"""What an index is measured with: seeded clusters, queries that no row is, filters, exact answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

DIM = 384
K = 10
BATCH = 64
SHARES = (0.01, 0.1, 0.5)
CONTRACT = "bench"
_CLUSTERS = 300
_BLOCK = 5_000
# How fast the spread falls off over the directions, and after how many. With round clusters (no fall) a list
# in twenty of those read by default already finds everything, and recall measures nothing.
_FALL, _KNEE = 1.5, 16
_TRUTH_ROWS = 50_000


def clustered(rows: int, dim: int, *, seed: int, draw: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Overlapping clusters, whose spread falls off over the directions as that of features does.

    Args:
        rows: Of all blocks together.
        dim: Numbers in a vector.
        seed: Of the centres and directions.
        draw: Of the rows: another draw has other rows of the same clusters.

    Yields:
        Unit vectors, float16 (at most 5,000, dim), and the number of each one's cluster.
    """
    shape = np.random.default_rng(seed)
    spread = ((1 + np.arange(dim) / _KNEE) ** -_FALL).astype(np.float32)
    turned = np.linalg.qr(shape.standard_normal((dim, dim)))[0].astype(np.float32) * spread[:, None]
    centres = shape.standard_normal((_CLUSTERS, dim), np.float32)
    random = np.random.default_rng((seed, draw))
    for first in range(0, rows, _BLOCK):
        count = min(_BLOCK, rows - first)
        cluster = random.integers(0, _CLUSTERS, count)
        block = (centres[cluster] + random.standard_normal((count, dim), np.float32)) @ turned
        yield (block / np.linalg.norm(block, axis=1, keepdims=True)).astype(np.float16), cluster


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition and the rows that it lets through."""

    name: str
    where: str  # SQL over the columns `share` and `cluster`
    rows: np.ndarray  # (rows,) bool


@dataclass(frozen=True)
class Material:
    """Vectors on disk, what is known of each, and queries of another draw."""

    path: Path  # .npy of (rows, DIM) float16
    cluster: np.ndarray  # (rows,) int32
    share: np.ndarray  # (rows,) float32, uniform in 0..1: what a filter at random goes by
    queries: np.ndarray  # (queries, DIM) unit float32

    @classmethod
    def make(cls, folder: Path, *, rows: int, queries: int) -> "Material":
        """Write the vectors into the folder."""
        path = folder / "vectors.npy"
        stored = np.lib.format.open_memmap(path, "w+", np.float16, (rows, DIM))
        cluster = np.empty(rows, np.int32)
        at = 0
        for block, numbers in clustered(rows, DIM, seed=1, draw=1):
            stored[at : at + len(block)] = block
            cluster[at : at + len(block)] = numbers
            at += len(block)
        stored.flush()
        share = np.random.default_rng(2).random(rows, np.float32)
        return cls(path, cluster, share, unit_draw(queries, draw=2))

    @cached_property
    def vectors(self) -> np.ndarray:
        """The rows, mapped."""
        return np.asarray(np.load(self.path, mmap_mode="r"))

    @property
    def rows(self) -> int:
        """How many vectors there are."""
        return len(self.cluster)

    @property
    def size(self) -> str:
        """Rows x dim, in words."""
        told = f"{self.rows / 1e6:g} M" if self.rows >= 1e6 else f"{self.rows:,}"
        return f"{told} x {DIM}"

    def at_random(self, share: float) -> Filter:
        """A filter that goes with nothing."""
        return Filter(f"{100 * share:g} % at random", f"share < {share:g}", self.share < np.float32(share))

    def by_clusters(self, share: float) -> Filter:
        """A filter that lets whole clusters through, and of the others nothing."""
        first = round(share * _CLUSTERS)
        return Filter(f"{100 * share:g} % by clusters", f"cluster < {first}", self.cluster < first)

    def half_of_clusters(self, share: float) -> Filter:
        """A filter that lets half of some clusters through: neither at random nor whole clusters."""
        first = round(2 * share * _CLUSTERS)
        rows = (self.cluster < first) & (self.share < 0.5)
        return Filter(
            f"{100 * share:g} % in half of some clusters", f"cluster < {first} AND share < 0.5", rows
        )

    def true_scores(self, queries: np.ndarray, allowed: list[np.ndarray | None]) -> list[np.ndarray]:
        """The K best cosines of each query, best first, by looking at every row.

        Args:
            queries: Unit float32, (queries, DIM).
            allowed: Masks of the rows that may be found; None lets all through.

        Returns:
            (queries, K) float32 each.
        """
        found = [np.full((len(queries), K), -2, np.float32) for _ in allowed]
        for first in range(0, self.rows, _TRUTH_ROWS):
            rows = slice(first, first + _TRUTH_ROWS)
            scores = queries @ as_unit(self.vectors[rows]).T
            for at, each in enumerate(allowed):
                some = np.hstack([found[at], scores if each is None else scores[:, each[rows]]])
                found[at] = -np.partition(-some, K - 1, axis=1)[:, :K]
        return [-np.sort(-each, axis=1) for each in found]


def recall_of(scores: np.ndarray, true_scores: np.ndarray) -> float:
    """Share of the true K nearest that were found: as near as the K-th true one."""
    # Cosines of one pair, summed in another order, differ by some 1e-7.
    return float(np.mean(scores >= true_scores[:, -1:] - 1e-6))


def as_unit(vectors: np.ndarray) -> np.ndarray:
    """Float32 of unit length."""
    exact = vectors.astype(np.float32)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    return exact


def unit_draw(count: int, *, draw: int) -> np.ndarray:
    """Vectors of the same clusters that no row is, unit float32."""
    return as_unit(np.concatenate([block for block, _ in clustered(count, DIM, seed=1, draw=draw)]))
