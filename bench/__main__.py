"""`python -m bench [--quick] [--only PART]`: measure, print a table, and write it down.

Written beside this file: `latest.json` and `machine.json`, and in `out/` the same as a page with a plot. A
part that fails is named at the end and stops no other.
"""

import argparse
import dataclasses
import importlib
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from bench.figures import Figure
from bench.machine import busy_warning, machine
from bench.page import table_of, write_page

HERE = Path(__file__).parent

# Each is a module with `measure(folder, *, quick)`; measured in this order, the dearest to disturb first.
PARTS = {
    "network": "bench.network",
    "films": "bench.films",
    "pictures": "bench.picture_folder",
    "scenes": "bench.scenes",
    "memory": "bench.memory",
    "workers": "bench.ray_workers",
    "index": "bench.index",
    "cold search": "bench.cold_search",
    "parquet": "bench.parquet",
    "summaries": "bench.summaries",
    "alignment": "bench.alignment",
    "upkeep": "bench.upkeep",
    "growth": "bench.growth",
}


def measured(part: str, folder: Path, *, quick: bool) -> list[Figure]:
    """A part's figures."""
    folder.mkdir()
    measure: Callable[..., Sequence[Figure]] = importlib.import_module(PARTS[part]).measure
    return [dataclasses.replace(figure, part=part) for figure in measure(folder, quick=quick)]


def write_figures(figures: Sequence[Figure], path: Path) -> None:
    """Write `latest.json`."""
    path.write_text(json.dumps([figure.as_json() for figure in figures], indent=2, ensure_ascii=False) + "\n")


def main() -> int:
    """Measure everything, one thing after the other; 1 where a part failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="smaller inputs, fewer repeats: minutes")
    parser.add_argument("--only", choices=PARTS, help="one part; nothing is written down")
    told = parser.parse_args()
    # Into a file or a pipe, 80 columns would break each cell into a column of single words.
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    progress = Console(stderr=True, highlight=False)
    here = machine()
    warning = busy_warning(here)
    if warning:
        progress.print(f"Warning: {warning}")
    figures: list[Figure] = []
    failed: list[str] = []
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="dinolake-bench-") as folder:
        for part in [told.only] if told.only else PARTS:
            part_began = time.perf_counter()
            try:
                figures += measured(part, Path(folder) / part.replace(" ", "_"), quick=told.quick)
            except Exception:  # noqa: BLE001  half an hour of figures isn't thrown away for one part
                failed.append(part)
                progress.print(traceback.format_exc(), markup=False)
            progress.print(f"{part}: {time.perf_counter() - part_began:.0f} s")
    here |= {"seconds": round(time.perf_counter() - began), "is_quick": told.quick, "failed_parts": failed}
    if told.only is None:
        write_figures(figures, HERE / "latest.json")
        (HERE / "machine.json").write_text(json.dumps(here, indent=2, ensure_ascii=False) + "\n")
        write_page(figures, here, HERE / "out")
    out.print(table_of(figures))
    out.print(
        f"{here['cpu']}, {here['cores']} cores, load {here['load_at_start']:g} at the start; {here['code']}; "
        f"{here['seconds']} s."
    )
    if warning:
        out.print(f"Warning: {warning}")
    missed = [figure.name for figure in figures if not figure.is_reached]
    if missed:
        out.print(f"{len(missed)} goals missed: {'; '.join(missed)}.", markup=False)
    if failed:
        out.print(f"Failed: {', '.join(failed)}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
