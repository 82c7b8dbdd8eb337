"""Which kind of index for how many vectors: a table with the measurements behind it, and the choice by it."""

import math
import os
from dataclasses import dataclass

from lib.errors import IndexTooSmallError, UsageError

# Below this, training buys nothing: a scan takes a millisecond or two at any width of vector that we store.
ALWAYS_EXACT_ROWS = 10_000
# k-means and the codes of PQ need something to learn from, whatever kind is asked for.
FEWEST_TRAINABLE_ROWS = 256
# nprobe under a filter that lets a share s through is 256 / sqrt(s): .993 recall even where the filter goes
# with the clusters, where HNSW and stopping after enough allowed hits both broke down.
FILTERED_NPROBE = 256
# A filter that goes with nothing takes fewer: nprobe / cbrt(s) found as much as nprobe does unfiltered, at s
# from .015 to .9 of 1 M (.995 to .997). Twice that, for unfiltered an index may be near its floor.
EVEN_NPROBE = 2
# From this share of its variance between lists on, a filter counts as one that goes with the clusters; below,
# it's something between the two.
CLUSTERED_FROM = 0.25
# nprobe grows by 5 x the share of removed rows: a fifth gone, by whole clusters, .991 recall instead of .975.
REMOVED_NPROBE = 5
REBUILD_GROWTH = 2


@dataclass(frozen=True, slots=True)
class IndexKind:
    """An index as it is built and searched."""

    name: str
    factory: str  # FAISS's own words for it
    lists: int  # inverted lists; 0: every row is scanned
    nprobe: int  # lists read for a query that isn't filtered
    refine: int  # k x refine candidates are rescored by the stored float16 vectors
    filtered_refine: int  # the same where rows are filtered out

    def effort(self, share: float, *, is_filtered: bool, clustered: float = 1.0) -> tuple[int, int]:
        """The nprobe and refine to search with where a share of the rows may be found.

        Args:
            share: Above 0; below 1 because of a filter, or because the others were removed.
            is_filtered: Whether there is a filter.
            clustered: How far it goes with the clusters: the share of its variance that is between lists.
        """
        if share == 1 and not is_filtered:
            return self.nprobe, self.refine
        removed = self.nprobe * (1 + REMOVED_NPROBE * (1 - share))
        by_clusters = max(self.nprobe, FILTERED_NPROBE / math.sqrt(share))
        at_random = min(by_clusters, EVEN_NPROBE * self.nprobe / math.cbrt(share))
        weight = min(1.0, clustered / CLUSTERED_FROM)
        nprobe = at_random ** (1 - weight) * by_clusters**weight if is_filtered else removed
        return min(self.lists, math.ceil(nprobe)), max(self.refine, self.filtered_refine)


@dataclass(frozen=True, slots=True)
class KindRow:
    """One row of the table: right up to so many stored numbers, if its codes fit in memory."""

    name: str
    up_to_numbers: float  # rows x dim
    bytes_a_number: float
    refine: int
    filtered_refine: int
    why: str


# Read downwards: the first row that is large enough and fits in memory. Measured on 2 cores of an AMD EPYC,
# faiss 1.15, clustered vectors, one query at a time, k = 10.
KINDS = (
    KindRow(
        name="exact",
        up_to_numbers=40e6,
        bytes_a_number=2,
        refine=2,
        filtered_refine=2,
        why="float16 rows, all scanned. 100,000 x 384 (77 MB): 4 ms, built in .05 s (ivf_sq8: .6 ms, 9 s). "
        "100,000 x 1392 (278 MB): 17 ms against 2.3 ms, so the limit is on rows x dim, not on rows.",
    ),
    KindRow(
        name="ivf_sq8",
        up_to_numbers=math.inf,
        bytes_a_number=1,
        refine=2,
        filtered_refine=4,
        why="1 M x 384: 1.7 ms, 398 MB, built in 57 s, recall@10 >= .98 at 96 of 4,096 lists. "
        "100,000 x 1392: 2.3 ms, built in 22 s, recall@10 .995 at 48 of 1,024 lists. Adds and filters well.",
    ),
    KindRow(
        name="ivf_pq4",
        up_to_numbers=math.inf,
        bytes_a_number=0.25,
        refine=10,
        filtered_refine=40,
        why="Where memory is short. 1 M x 384: .5 ms, 116 MB, built in 61 s. 100,000 x 1392: 1 ms, "
        "recall@10 .989, built in 84 s. It leans on rescoring (.55 without), "
        "so on a page cache that holds the vectors' file; under filters that go with the clusters x 10 found "
        ".94 to .96, x 40 .997.",
    ),
)


def choose_kind(rows: int, dim: int, *, memory_bytes: int) -> IndexKind:
    """Choose by the table; the last kind where nothing fits in `memory_bytes`."""
    if rows <= ALWAYS_EXACT_ROWS:
        return kind_named("exact", rows, dim)
    for row in KINDS:
        if rows * dim <= row.up_to_numbers and memory_needed(row.name, rows, dim) <= memory_bytes:
            return kind_named(row.name, rows, dim)
    return kind_named(KINDS[-1].name, rows, dim)


def kind_named(name: str, rows: int, dim: int) -> IndexKind:
    """The kind of that name, laid out for so many vectors.

    Raises:
        UsageError: The table has no such kind.
        IndexTooSmallError: Too few rows to train it.
    """
    row = _row(name)
    if name == "exact":
        return IndexKind(name, "SQfp16", 0, nprobe=0, refine=row.refine, filtered_refine=row.filtered_refine)
    if rows < FEWEST_TRAINABLE_ROWS:
        raise IndexTooSmallError(
            f"An index of kind {name} can't be trained on {rows} vectors; it takes {FEWEST_TRAINABLE_ROWS}. "
            "Leave the kind out, or ask for 'exact'."
        )
    lists = _lists_for(rows)
    # 4 bits for each pair of numbers; an odd width has no pairs.
    codes = "SQ8" if name == "ivf_sq8" else f"PQ{dim // 2 if dim % 2 == 0 else dim}x4fs"
    return IndexKind(
        name,
        f"IVF{lists},{codes}",
        lists,
        _nprobe_for(lists),
        refine=row.refine,
        filtered_refine=row.filtered_refine,
    )


def is_outgrown(kind: IndexKind, laid_out_for: int, *, rows: int, dim: int) -> bool:
    """Whether an index holds so many more rows than it was built with that it should be built anew."""
    if rows <= REBUILD_GROWTH * max(1, laid_out_for):
        return False
    # An exact index isn't trained: growth matters to it once the table has another kind for its size.
    return bool(kind.lists) or choose_kind(rows, dim, memory_bytes=default_memory_bytes()).name != kind.name


def memory_needed(name: str, rows: int, dim: int) -> int:
    """Bytes that the searched structure holds in memory; the vectors' own file is only mapped."""
    codes = int(rows * dim * _row(name).bytes_a_number)
    if name == "exact":
        return codes
    return codes + 8 * rows + 4 * dim * _lists_for(rows)  # ids, and the lists' centres as float32


def default_memory_bytes() -> int:
    """A quarter of the machine's memory: a fixed figure, so that the same input makes the same index."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4


def _lists_for(rows: int) -> int:
    # The power of two nearest to 4 x sqrt(rows): 1 M -> 4,096, 100,000 -> 1,024.
    return 1 << round(math.log2(4 * math.sqrt(rows)))


def _nprobe_for(lists: int) -> int:
    # 96 of 4,096, and in proportion to the root: 48 of 1,024 reached .99 as well.
    return min(lists, round(1.5 * math.sqrt(lists)))


def _row(name: str) -> KindRow:
    for row in KINDS:
        if row.name == name:
            return row
    raise UsageError(
        f"There is no kind of index named {name!r}; choose one of {', '.join(row.name for row in KINDS)}."
    )
