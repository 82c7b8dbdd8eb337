"""`python -m bench [--quick]`: measure, print a table, and write `latest.json` and `machine.json`."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.figures import Figure
from bench.machine import busy_warning, machine

HERE = Path(__file__).parent
VIT_S = "random:vit_small_patch16_dinov3"
DEFAULT = "efficientnet_lite0"
FILM_GOAL = 2.5


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    film_s: float
    film_repeats: int
    pictures: int
    network_repeats: int
    dims: tuple[tuple[int, str], ...]
    queries: int
    search_repeats: int
    cold_repeats: int
    memory_repeats: int
    scene_px: int
    scene_repeats: int
    pairs: int
    pair_pictures: int
    pair_repeats: int
    kept_shards: int
    planned_shards: int
    watched_files: int
    upkeep_repeats: int


FULL = Effort(
    60.0,
    7,
    32,
    7,
    ((1392, "CLS 1280 + patch 112"), (768, "384 + 384")),
    200,
    9,
    5,
    3,
    2048,
    2,
    1_000_000,
    256,
    1,
    1000,
    10_000,
    100_000,
    3,
)
QUICK = Effort(
    30.0, 3, 16, 3, ((768, "384 + 384"),), 100, 5, 2, 1, 1024, 1, 50_000, 128, 1, 64, 1000, 10_000, 1
)


def _embedding(effort: Effort, folder: Path) -> Sequence[Figure]:
    from bench.embedding import measure_film, measure_network
    from bench.material import make_film

    film = folder / "film" / "film.mp4"
    film.parent.mkdir()
    make_film(film, seconds=effort.film_s)
    figures: list[Figure] = []
    for name, spec, goal in (("ViT-S/16 of random weights", VIT_S, FILM_GOAL), (DEFAULT, DEFAULT, None)):
        figures += measure_film(film, folder, spec, name=name, repeats=effort.film_repeats, goal=goal)
        figures.append(
            measure_network(spec, name=name, pictures=effort.pictures, repeats=effort.network_repeats)
        )
    return figures


def _search(effort: Effort, folder: Path) -> Sequence[Figure]:
    from bench.searching import measure_search

    return [
        measure_search(dim, name, queries=effort.queries, repeats=effort.search_repeats)
        for dim, name in effort.dims
    ]


def _cold_search(effort: Effort, folder: Path) -> Sequence[Figure]:
    from bench.cold_search import measure_cold_search

    return [measure_cold_search(folder / "cold", repeats=effort.cold_repeats)]


def _memory(effort: Effort, folder: Path) -> Sequence[Figure]:
    from bench.memory import measure_memory

    return [measure_memory(folder / "memory", repeats=effort.memory_repeats)]


def _scenes(effort: Effort, folder: Path) -> Sequence[Figure]:
    from bench.scenes import measure_pair, measure_scenes

    figures: list[Figure] = []
    for name, spec in (("ViT-S/16 of random weights", VIT_S), (DEFAULT, DEFAULT)):
        place = folder / f"scenes_{len(figures)}"
        figures += measure_scenes(
            place, spec, name=name, side_px=effort.scene_px, repeats=effort.scene_repeats
        )
    figures.append(measure_pair(folder / "pair", DEFAULT, side_px=2 * effort.scene_px, repeats=1))
    return figures


def _alignment(effort: Effort, folder: Path) -> Sequence[Figure]:
    from bench.alignment import measure_alignment

    return measure_alignment(pairs=effort.pairs, pictures=effort.pair_pictures, repeats=effort.pair_repeats)


def _upkeep(effort: Effort, folder: Path) -> Sequence[Figure]:
    from bench.upkeep import measure_upkeep

    return measure_upkeep(
        folder / "upkeep",
        shards=effort.kept_shards,
        planned=effort.planned_shards,
        files=effort.watched_files,
        repeats=effort.upkeep_repeats,
    )


PARTS: dict[str, Callable[[Effort, Path], Sequence[Figure]]] = {
    "embedding": _embedding,
    "search": _search,
    "cold search": _cold_search,
    "memory": _memory,
    "scenes": _scenes,
    "alignment": _alignment,
    "upkeep": _upkeep,
}


def write_figures(figures: Sequence[Figure], path: Path) -> None:
    """Write `latest.json`."""
    path.write_text(json.dumps([figure.as_json() for figure in figures], indent=2, ensure_ascii=False) + "\n")


def table_of(figures: Sequence[Figure]) -> Table:
    """The figures for a reader."""
    table = Table("what", "against", "ratio", "least … most", "goal", "", "detail", show_lines=True)
    for figure in figures:
        digits = 5 if figure.name.startswith("least cosine") else 2
        goal = "" if figure.goal is None else f"{'≤' if figure.is_at_most else '≥'} {figure.goal:g}"
        state = "" if figure.goal is None else "ok" if figure.is_reached else "MISSED"
        spread = f"{min(figure.ratios):.{digits}f} … {max(figure.ratios):.{digits}f}"
        table.add_row(
            figure.name,
            figure.against,
            f"{figure.ratio:.{digits}f}",
            spread if len(figure.ratios) > 1 else "",
            goal,
            state,
            figure.detail,
        )
    return table


def main() -> None:
    """Measure everything, one thing after the other."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, shorter films: a few minutes")
    parser.add_argument("--only", choices=PARTS, help="one part; latest.json is left as it is")
    told = parser.parse_args()
    effort = QUICK if told.quick else FULL
    # Into a file or a pipe, 80 columns would break each cell into a column of single words.
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    progress = Console(stderr=True, highlight=False)
    here = machine()
    warning = busy_warning(here)
    if warning:
        progress.print(f"Warning: {warning}")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="dinolake-bench-") as folder:
        for part, measure in PARTS.items():
            if told.only in (None, part):
                began = time.perf_counter()
                figures += measure(effort, Path(folder))
                progress.print(f"{part}: {time.perf_counter() - began:.0f} s")
    if told.only is None:
        write_figures(figures, HERE / "latest.json")
        (HERE / "machine.json").write_text(json.dumps(here, indent=2, ensure_ascii=False) + "\n")
    out.print(table_of(figures))
    out.print(f"{here['cpu']}, {here['cores']} cores, load {here['load_at_start']:g} at the start.")
    if warning:
        out.print(f"Warning: {warning}")


if __name__ == "__main__":
    main()
