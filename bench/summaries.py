"""A film's summary from its stored features against the design's way, and shots against the published code.

`python -m bench.summaries FRAMES` finds the shots of a made film; prints the seconds and the memory it took.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.figures import Figure, paired, seconds
from bench.memory import peak_kb
from lib import schemas
from lib.catalog import Archive
from lib.columns import vectors_column
from lib.lake import Lake, Mark
from lib.sections import EmbeddingConfig, SummaryConfig
from lib.stages.centring import read_shard_features
from lib.stages.making import Work
from lib.stages.summaries import summarize
from lib.tasks.shots import ShotRules, find_shots, frame_edges
from lib.tasks.summarize import summarize_kmeans

HOUR_S, CLS_DIM, PATCH_DIM = 3600, 1280, 112
LONG_FRAMES, LONG_GOAL_S = 7200, 5.0
SUMMARY_GOAL = 20.0
PICTURES, PICTURES_QUICK = 32, 8
BOTH_WAYS, BOTH_WAYS_QUICK = (900, 1800), (450, 900)
REPEATS, REPEATS_QUICK = 5, 2
BACKBONE = "efficientnet_lite0"


def measure(folder: Path, *, quick: bool) -> Sequence[Figure]:
    """An hour in short, and shots: long films by ours, shorter ones both ways."""
    repeats = REPEATS_QUICK if quick else REPEATS
    both_ways = BOTH_WAYS_QUICK if quick else BOTH_WAYS
    return [
        _summary(folder, pictures=PICTURES_QUICK if quick else PICTURES, repeats=repeats),
        *_long(repeats),
        *(_shots(frames) for frames in both_ways),
    ]


def _summary(folder: Path, *, pictures: int, repeats: int) -> Figure:
    """The hour's features read from the lake and summed up; the design embeds every frame, then clusters."""
    from bench.original import OriginalLoop
    from lib.embedding.pictures import seeded_pictures

    archive = Archive(
        name="bench", kind="video", root=str(folder), embedding=EmbeddingConfig(backbone=BACKBONE)
    )
    work = Work(Lake(folder / "lake"), archive)
    _store(work, made_features(HOUR_S))
    times = np.arange(HOUR_S, dtype=np.float64)
    loop, seen = OriginalLoop(BACKBONE), seeded_pictures(pictures, 480)
    loop.embed(seen[0])

    def ours() -> None:
        rows, features = read_shard_features(work, "s00000", is_centred=False)
        summarize(features, rows.column("t_s").to_numpy(), float(HOUR_S), config=SummaryConfig())

    features = read_shard_features(work, "s00000", is_centred=False)[1]
    clustered_s = [seconds(lambda: summarize_kmeans(features, times, float(HOUR_S))) for _ in range(3)]
    embedded_s: list[float] = []

    def theirs() -> float:
        embedded_s.append(seconds(lambda: [loop.embed(picture) for picture in seen]) / pictures)
        return HOUR_S * embedded_s[-1] + float(np.median(clustered_s))

    pairs = paired(lambda: seconds(ours), theirs, repeats=repeats)
    return Figure(
        f"summary of an hour ({HOUR_S:,} frames x {CLS_DIM + PATCH_DIM})",
        f"the original design's, which embeds every frame again ({BACKBONE})", pairs.speedups, SUMMARY_GOAL,
        detail=f"{pairs.ours_s:.2f} s from the lake's Parquet to segments, shots by KTS and knapsack; the "
        f"design's {pairs.theirs_s:.0f} s is {HOUR_S:,} x {1e3 * np.median(embedded_s):.1f} ms, measured on "
        f"{pictures} pictures of 480 px, and {np.median(clustered_s):.2f} s of k-means over 2 s clips, all "
        f"that it would take on stored features; its decoding isn't counted; {pairs.calm}",
    )  # fmt: skip


def _store(work: Work, features: np.ndarray) -> None:
    schema = schemas.frame_embeddings(CLS_DIM, PATCH_DIM)
    rows = {
        "sample": [f"film#t={t}.0" for t in range(len(features))], "item": ["film"] * len(features),
        "t_s": np.arange(len(features), dtype=np.float64), "sample_hash": ["hash"] * len(features),
        "cls": vectors_column(features[:, :CLS_DIM]), "patch_mean": vectors_column(features[:, CLS_DIM:]),
    }  # fmt: skip
    with work.lake.writing(work.place("frame_embeddings", "s00000"), schema, Mark("made")) as writer:
        writer.write(pa.table(rows, schema=schema))


def _long(repeats: int) -> list[Figure]:
    """Shots of a long film, each time in a process of its own."""
    told = [_told(LONG_FRAMES) for _ in range(max(2, repeats // 2))]
    of = f"KTS of {LONG_FRAMES:,} frames x {CLS_DIM + PATCH_DIM}"
    kernel_mb = 8 * LONG_FRAMES**2 / 1e6
    return [
        Figure(
            f"{of}, seconds", "1 s", tuple(one["seconds"] for one in told), LONG_GOAL_S, is_at_most=True,
            detail=f"{told[0]['shots']} shots; no film of an hour at two frames a second is longer",
        ),
        Figure(
            f"{of}, memory beyond the features in MB", "1 MB", tuple(one["mb"] for one in told), kernel_mb,
            is_at_most=True,
            detail=f"the float64 kernel matrix alone, which the published code holds, is {kernel_mb:.0f}",
        ),
    ]  # fmt: skip


def _shots(frames: int) -> Figure:
    """Ours and the published code under the same rules: any length of a shot, its own penalty."""
    features, edges = made_features(frames), frame_edges(np.arange(frames), frames)
    rules = ShotRules(min_shot_s=0.5, max_frames=frames, penalty=1.0)
    found = find_shots(features, edges, rules)
    theirs = [0, *cpd_auto(features, frames - 1), frames]
    least, ours = (_criterion(features, np.array(bounds)) for bounds in (theirs, found))
    if not np.isclose(least, ours, rtol=1e-9):
        raise AssertionError(
            f"{len(found) - 1} shots of ours cost {ours}, {len(theirs) - 1} of theirs {least}"
        )
    pairs = paired(
        lambda: seconds(lambda: find_shots(features, edges, rules)),
        lambda: seconds(lambda: cpd_auto(features, frames - 1)),
        repeats=1,
    )
    return Figure(
        f"speed of KTS, {frames:,} frames", "the published algorithm in numpy (Potapov et al., `cpd_auto`)",
        pairs.speedups,
        detail=f"{pairs.ours_s:.3f} s against {pairs.theirs_s:.1f} s for the same {len(found) - 1} shots, up "
        f"to n - 1 cuts, as summary code calls it; {pairs.calm}",
    )  # fmt: skip


def cpd_auto(features: np.ndarray, most_cuts: int) -> list[int]:
    """The change points of the published code: full kernel, scatters of all spans, a table over all counts.

    As in `cpd_nonlin.py` and `cpd_auto.py` of Potapov et al. with `vmax` 1; its innermost loop, there in C or
    plain Python, is a numpy expression here.
    """
    n = len(features)
    wide = features.astype(np.float64)
    kernel = wide @ wide.T
    along = np.concatenate([[0.0], np.cumsum(np.diag(kernel))])
    square = np.zeros((n + 1, n + 1))
    square[1:, 1:] = np.cumsum(np.cumsum(kernel, 0), 1)
    diagonal = np.diag(square)
    first, last = np.arange(n)[:, None], np.arange(1, n + 1)[None]
    lengths = np.maximum(last - first, 1)
    sums = diagonal[1:][None] + diagonal[:n][:, None] - square[1:, :n].T - square[:n, 1:]
    scatters = along[1:][None] - along[:n][:, None] - sums / lengths  # [t, l]: frames t to l
    costs = np.full((most_cuts + 1, n + 1), 1e101)
    costs[0, 1:] = scatters[0]
    came_from = np.zeros((most_cuts + 1, n + 1), dtype=int)
    for cuts in range(1, most_cuts + 1):
        for end in range(cuts + 1, n + 1):
            tried = costs[cuts - 1, cuts:end] + scatters[cuts:end, end - 1]
            best = int(tried.argmin())
            costs[cuts, end], came_from[cuts, end] = tried[best], best + cuts
    counts = np.arange(1, most_cuts + 1)
    penalties = np.concatenate([[0.0], counts / (2.0 * n) * (np.log(n / counts) + 1)])
    chosen = int(np.argmin(costs[:, n] / n + penalties))
    points, end = [], n
    for cuts in range(chosen, 0, -1):
        end = int(came_from[cuts, end])
        points.append(end)
    return points[::-1]


def _criterion(features: np.ndarray, bounds: np.ndarray) -> float:
    """What both minimise: scatter within shots a frame, and the penalty of so many cuts."""
    wide, n, cuts = features.astype(np.float64), len(features), len(bounds) - 2
    scatter = sum(float(((wide[a:b] - wide[a:b].mean(axis=0)) ** 2).sum()) for a, b in pairwise(bounds))
    return scatter / n + (cuts / (2.0 * n) * (np.log(n / cuts) + 1) if cuts else 0.0)


def made_features(frames: int) -> np.ndarray:
    """Unit vectors of a film of scenes of 4 to 40 frames, each about a centre of its own, (frames, dim)."""
    draw = np.random.default_rng(frames)
    dim = CLS_DIM + PATCH_DIM
    common = draw.standard_normal(dim)
    vectors: list[np.ndarray] = []
    while sum(map(len, vectors)) < frames:
        length = int(draw.integers(4, 40))
        vectors.append(common + draw.standard_normal(dim) + 0.5 * draw.standard_normal((length, dim)))
    stacked = np.concatenate(vectors)[:frames]
    return (stacked / np.linalg.norm(stacked, axis=1, keepdims=True)).astype(np.float32)


def _told(frames: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.summaries", str(frames)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _main(frames: int) -> None:
    features, edges = made_features(frames), frame_edges(np.arange(frames) / 2, frames / 2)
    # Code and threads are there: what comes now is the film's.
    find_shots(features[:64], edges[:65])
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")  # the peak begins anew
    before_kb = peak_kb()
    began = time.perf_counter()
    found = find_shots(features, edges)
    took_s = time.perf_counter() - began
    told = {"seconds": took_s, "mb": (peak_kb() - before_kb) * 1024 / 1e6, "shots": len(found) - 1}
    print(json.dumps(told))


if __name__ == "__main__":
    _main(int(sys.argv[1]))
