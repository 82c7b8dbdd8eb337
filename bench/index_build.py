"""Building an index of a file's vectors, ours and FAISS by hand, each in a process of its own.

`python -m bench.index_build ours|by_hand VECTORS.npy FOLDER` is that process: it prints what it took as JSON.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.figures import Figure, paired
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
    built: dict[str, list[Built]] = {"ours": [], "by_hand": []}

    def child(way: str) -> Callable[[], float]:
        def timed() -> float:
            built[way].append(_in_a_child(way, material.path, folder / way))
            return built[way][-1].build_s

        return timed

    pairs = paired(child("ours"), child("by_hand"), repeats=repeats)
    peaks = [(one.peak_mb, other.peak_mb) for one, other in zip(built["ours"], built["by_hand"], strict=True)]
    ours_mb, theirs_mb = (float(np.median(each)) for each in zip(*peaks, strict=True))
    against = f"FAISS by hand, {factory_of(material.rows)!r}"
    same = (
        "both read the same mapped float16 file, train on as many of its rows, normalise float32 blocks and "
        "add them; ours also checks each row's length. A process each"
    )
    many = f"{pairs.measured} {'pair' if pairs.measured == 1 else 'pairs'}; {pairs.calm}"
    return [
        Figure(
            f"index build, {material.size}, time", against, pairs.slowdowns, TIME_GOAL, is_at_most=True,
            detail=f"{pairs.ours_s:.1f} s ours, {pairs.theirs_s:.1f} s by hand; {same}; {many}",
        ),
        Figure(
            f"index build, {material.size}, peak memory", against,
            tuple(one / other for one, other in peaks), MEMORY_GOAL, is_at_most=True,
            detail=f"{ours_mb:,.0f} MB ours, {theirs_mb:,.0f} MB by hand: the greatest resident size, "
            "of which the mapped file's pages are a part",
        ),
    ], built["ours"][-1]  # fmt: skip


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
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
    told = subprocess.run(
        [sys.executable, "-m", "bench.index_build", way, str(path), str(folder)],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return Built(**json.loads(told.stdout.splitlines()[-1]))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    import dataclasses

    work = {"ours": build_ours, "by_hand": build_by_hand}[sys.argv[1]]
    sys.stdout.write(json.dumps(dataclasses.asdict(work(Path(sys.argv[2]), Path(sys.argv[3])))) + "\n")
