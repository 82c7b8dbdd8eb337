"""The aligner's speed: an epoch on stored features against its bare products, and the design's epoch.

`python -m bench.alignment PAIRS [BATCHES]` trains one residual head for an epoch on made pairs, or for its
first batches alone; prints what it took.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from bench.figures import Figure, seconds
from bench.memory import peak_kb
from lib.alignment.config import AlignerConfig
from lib.alignment.pairs import Pairs

DIM, SIZE_PX = 384, 224
PRODUCTS_GOAL, MEMORY_GOAL_GB, EPOCH_GOAL = 2.0, 4.0, 100.0
BACKBONE = "efficientnet_lite0"
PAIRS, PAIRS_QUICK = 65_536, 16_384
# All are held in memory; training goes through a few batches, for the others need no more.
HELD, HELD_QUICK, HELD_BATCHES = 1_000_000, 100_000, 3
PICTURES, PICTURES_QUICK = 128, 32
REPEATS, REPEATS_QUICK = 3, 2


def measure(folder: Path, *, quick: bool) -> Sequence[Figure]:
    """An epoch in a process of its own, memory in another, and an epoch on a few pairs both ways."""
    pairs, held = (PAIRS_QUICK, HELD_QUICK) if quick else (PAIRS, HELD)
    repeats = REPEATS_QUICK if quick else REPEATS
    told = _told(pairs)
    ratios = tuple(float(taken) / told["products_s"] for taken in told["epochs_s"])
    peak_gb = _told(held, HELD_BATCHES)["peak_kb"] / 2**20
    return [
        Figure(
            f"one epoch of the residual head of {pairs:,} pairs x {DIM} in float16",
            "the bare matrix products of the same epoch", ratios, PRODUCTS_GOAL, is_at_most=True,
            detail=f"epoch {np.median(told['epochs_s']):.1f} s, products {told['products_s']:.1f} s, "
            f"{told['threads']} threads",
        ),
        Figure(
            f"peak memory in GB while training of {held:,} pairs x {DIM} in float16", "1 GB", (peak_gb,),
            MEMORY_GOAL_GB, is_at_most=True,
            detail=f"both sides' features are {4 * held * DIM / 2**30:.2f} GB; {HELD_BATCHES} batches of an "
            "epoch, after all that is made before it",
        ),
        measure_epochs(pictures=PICTURES_QUICK if quick else PICTURES, repeats=repeats),
    ]  # fmt: skip


def measure_epochs(*, pictures: int, repeats: int) -> Figure:
    """The design's epoch, the frozen backbone in its loop, over ours on stored vectors of the same pairs."""
    import torch

    from bench.original import OriginalLoop
    from lib.alignment.closed_form import fit_whitened
    from lib.alignment.naive import fit_naive
    from lib.alignment.residual import Training, calm_threads
    from lib.embedding.pictures import seeded_pictures

    loop, config = OriginalLoop(BACKBONE), AlignerConfig()
    seen = seeded_pictures(2 * pictures, SIZE_PX)
    rows = np.arange(pictures)
    threads, ratios, detail = torch.get_num_threads(), [], ""
    for _ in range(repeats):
        torch.set_num_threads(threads)
        began = time.perf_counter()
        vectors = np.stack([loop.embed(picture)[0] for picture in seen])
        backbone_s = time.perf_counter() - began
        half = vectors.astype(np.float16)
        pairs = Pairs(half[:pictures], half[pictures:], np.stack([rows, rows], axis=1), rows)
        began = time.perf_counter()
        fit_naive(pairs, config, epochs=1)
        naive_s = backbone_s + time.perf_counter() - began
        with calm_threads(pictures):
            training = Training(pairs, fit_whitened(pairs, config), config, number=0)
            training.epoch()
            began = time.perf_counter()
            training.epoch()
            ours_s = time.perf_counter() - began
        ratios.append(naive_s / ours_s)
        theirs = f"{naive_s:.2f} s, of it the backbone {backbone_s:.2f}"
        detail = f"{pictures} pairs: {theirs}, against {ours_s:.4f} s for one net"
    against = f"the original design's, whose frozen backbone ({BACKBONE}) sees every picture again"
    return Figure("speed of one epoch on stored features", against, tuple(ratios), EPOCH_GOAL, detail=detail)


def made_pairs(count: int) -> Pairs:
    """Unit-sized float16 vectors; each right one is its left one turned, with as much noise."""
    draw = np.random.default_rng(0)
    turn = np.linalg.qr(draw.normal(size=(DIM, DIM)))[0].astype(np.float32)
    left, right = (np.empty((count, DIM), np.float16) for _ in range(2))
    for start in range(0, count, 16384):
        rows = slice(start, min(start + 16384, count))
        size = (rows.stop - start, DIM)
        values = draw.standard_normal(size, np.float32)
        left[rows] = values
        right[rows] = values @ turn + draw.standard_normal(size, np.float32)
    rows = np.arange(count)
    return Pairs(left, right, np.stack([rows, rows], axis=1), rows)


def products_s(count: int, config: AlignerConfig) -> float:
    """Seconds of the matrix products alone that an epoch needs, forwards and back, on matrices made once."""
    import torch

    rows, width, draw = min(config.batch, count), config.hidden, torch.Generator().manual_seed(0)
    features, hidden, alike = (torch.rand(rows, n, generator=draw) for n in (DIM, width, rows))
    square, first, second = (
        torch.rand(a, b, generator=draw) for a, b in ((DIM, DIM), (DIM, width), (width, DIM))
    )
    began = time.perf_counter()
    for _ in range(-(-count // rows)):
        for _ in range(2):
            features @ square  # projected
            features @ first  # forwards
            hidden @ second
            features @ second.T  # back: to the hidden layer, and to both layers' weights
            hidden.T @ features
            features.T @ hidden
            alike @ features  # back from the similarities
        features @ features.T
    return time.perf_counter() - began


def _told(*asked: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.alignment", *map(str, asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _main(count: int, batches: int | None = None) -> None:
    import torch

    from lib.alignment.closed_form import fit_whitened
    from lib.alignment.residual import Training, calm_threads

    config = AlignerConfig()
    pairs = made_pairs(count)
    with calm_threads(count):
        training = Training(pairs, fit_whitened(pairs, config), config, number=0)
        if batches is not None:
            drawn = training._batches
            training._batches = SimpleNamespace(epoch=lambda: islice(drawn.epoch(), batches))  # type: ignore[assignment]
            training.epoch()
            print(json.dumps({"peak_kb": peak_kb()}))
            return
        # Before and after: another process that comes or goes weighs on both.
        before_s = products_s(count, config)
        epochs_s = [seconds(training.epoch) for _ in range(2)]
        bare_s = (before_s + products_s(count, config)) / 2
        print(json.dumps({"epochs_s": epochs_s, "products_s": bare_s, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    _main(*map(int, sys.argv[1:]))
