"""Building an index of a file's vectors, ours and FAISS by hand, each in a process of its own.

`python -m bench.index_build ours|by_hand VECTORS.npy FOLDER` is that process: it prints what it took as JSON.
"""

import dataclasses
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.figures import Figure
from bench.index_material import CONTRACT, DIM, Material, as_unit

KIND = "ivf_sq8"
TIME_GOAL, MEMORY_GOAL = 1.15, 1.3
_BLOCK = 8192


@dataclass(frozen=True, slots=True)
class Built:
    """What one process took."""

    build_s: float
    save_s: float
    peak_mb: float


def measure_build(material: Material, folder: Path, *, repeats: int) -> tuple[list[Figure], Built]:
    """Time and peak memory; `folder / "ours"` is the index that ours saved, and `Built` what that took."""
    pairs = [
        (_in_a_child("by_hand", material.path, folder), _in_a_child("ours", material.path, folder))
        for _ in range(repeats)
    ]
    theirs, ours = zip(*pairs, strict=True)
    against = f"FAISS by hand, {factory_of(material.rows)!r}"
    what = f"index build, {material.size}"
    return [
        Figure(
            f"{what}, time", against, tuple(our.build_s / their.build_s for their, our in pairs),
            TIME_GOAL, is_at_most=True,
            detail=f"{_median(ours, 'build_s'):.1f} s ours, {_median(theirs, 'build_s'):.1f} s by hand, a "
            "process each: both read the same mapped float16 file, train on as many of its rows, make blocks "
            "unit float32 and add them; ours also checks the length of every row. "
            f"{repeats} {'pair' if repeats == 1 else 'pairs'}",
        ),
        Figure(
            f"{what}, peak memory", against, tuple(our.peak_mb / their.peak_mb for their, our in pairs),
            MEMORY_GOAL, is_at_most=True,
            detail=f"{_median(ours, 'peak_mb'):,.0f} MB ours, {_median(theirs, 'peak_mb'):,.0f} MB by hand: "
            "the greatest resident size, of which the mapped file's pages are a part",
        ),
    ], ours[-1]  # fmt: skip


def _median(several: Sequence[Built], what: str) -> float:
    return float(np.median([getattr(built, what) for built in several]))


def factory_of(rows: int) -> str:
    """The factory string of the index that is measured."""
    from lib.search.kinds import kind_named

    return kind_named(KIND, rows, DIM).factory


def build_by_hand(path: Path, folder: Path) -> Built:
    """As FAISS's own pages do it, with the rows that ours trains on as many of."""
    import faiss

    from lib.search.index import TRAINING_ROWS_A_LIST
    from lib.search.kinds import kind_named

    began = time.perf_counter()
    stored = np.load(path, mmap_mode="r")
    index = faiss.index_factory(DIM, factory_of(len(stored)), faiss.METRIC_INNER_PRODUCT)
    count = min(len(stored), TRAINING_ROWS_A_LIST * kind_named(KIND, len(stored), DIM).lists)
    sample = np.sort(np.random.default_rng(0).choice(len(stored), count, replace=False))
    index.train(as_unit(stored[sample]))
    for first in range(0, len(stored), _BLOCK):
        index.add(as_unit(stored[first : first + _BLOCK]))
    build_s, peak_mb = time.perf_counter() - began, _peak_mb()
    folder.mkdir()
    began = time.perf_counter()
    faiss.write_index(index, str(folder / "codes.faiss"))
    return Built(build_s, time.perf_counter() - began, peak_mb)


def build_ours(path: Path, folder: Path) -> Built:
    """`VectorIndex`, built and saved."""
    from lib.search.index import VectorIndex

    began = time.perf_counter()
    index = VectorIndex.build(np.load(path, mmap_mode="r"), contract=CONTRACT, kind=KIND)
    build_s, peak_mb = time.perf_counter() - began, _peak_mb()
    began = time.perf_counter()
    index.save(folder)
    return Built(build_s, time.perf_counter() - began, peak_mb)


def _in_a_child(way: str, path: Path, folder: Path) -> Built:
    place = folder / way
    shutil.rmtree(place, ignore_errors=True)
    told = subprocess.run(
        [sys.executable, "-m", "bench.index_build", way, str(path), str(place)],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return Built(**json.loads(told.stdout.splitlines()[-1]))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    work = {"ours": build_ours, "by_hand": build_by_hand}[sys.argv[1]]
    sys.stdout.write(json.dumps(dataclasses.asdict(work(Path(sys.argv[2]), Path(sys.argv[3])))) + "\n")
