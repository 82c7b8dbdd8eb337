"""The vector index: built, searched, brought up to date; one built index for all of it."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import index_rivals, index_search
from bench.figures import Figure
from bench.index_build import measure_build
from bench.index_material import Material
from bench.index_rivals import measure_rivals
from bench.index_search import all_asked, measure_search
from bench.index_updates import measure_updates
from lib.search.index import VectorIndex


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    rows: int
    builds: int
    search: index_search.Effort
    rivals: index_rivals.Effort
    updates: int


FULL = Effort(
    rows=1_000_000, builds=1,
    search=index_search.Effort(single=500, filtered=128, batches=5, filtered_batches=2, repeats=3),
    rivals=index_rivals.Effort(lance_single=50, lance_batches=2, duck_single=4, duck_batch=4, repeats=2),
    updates=3,
)  # fmt: skip
QUICK = Effort(
    rows=100_000, builds=1,
    search=index_search.Effort(single=200, filtered=64, batches=2, filtered_batches=1, repeats=3),
    rivals=index_rivals.Effort(lance_single=20, lance_batches=1, duck_single=3, duck_batch=2, repeats=1),
    updates=3,
)  # fmt: skip


def measure(folder: Path, *, quick: bool) -> Sequence[Figure]:
    """Everything of the index's, one after the other."""
    effort = QUICK if quick else FULL
    material = Material.make(
        folder, rows=effort.rows, queries=max(effort.search.single, 64 * effort.search.batches)
    )
    figures, built = measure_build(material, folder, repeats=effort.builds)
    index = VectorIndex.open(folder / "ours")
    timed, untimed = all_asked(material, effort.search)
    figures += measure_search(material, index, timed, untimed, repeats=effort.search.repeats)
    figures += measure_rivals(material, index, timed, folder, effort.rivals)
    figures += measure_updates(
        material, folder / "ours", built, folder, queries=effort.search.filtered, repeats=effort.updates
    )
    return [_without_goal(figure) for figure in figures] if quick else figures


def _without_goal(figure: Figure) -> Figure:
    """A quick figure: the goals of searches are for 1 M vectors."""
    if not figure.name.startswith("search,") or figure.goal is None:
        return figure
    told = f"{figure.detail}; the goal is for {FULL.rows:,} vectors"
    return dataclasses.replace(figure, goal=None, is_at_most=False, detail=told)
