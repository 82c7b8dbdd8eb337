"""`python -m bench.gpu [--quick]`: DINOv3's networks on this machine's GPU, and films from file to Parquet.

Each network against eager float32 torch on the same GPU, a picture at a time, and against what the GPU
multiplies at most in bfloat16, measured in the same run. Random weights: speed doesn't depend on them.
Written to `gpu.json` beside this file. Not run on a GPU yet (2026-11-24): what it says without one is tested.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.figures import Figure, least_cosine, paired, seconds
from bench.machine import machine
from bench.peak import vit_gflop
from lib.embedding.architectures import KNOWN, Vit

HERE = Path(__file__).parent
NETWORKS = (
    "vit_small_patch16_dinov3",
    "vit_base_patch16_dinov3",
    "vit_large_patch16_dinov3",
    "vit_huge_plus_patch16_dinov3",
)
SIZES_PX = (224, 512)
LEAST_COSINE = 0.999
# Sides of the squares that are multiplied; the best counts.
_SQUARES = (4096, 8192, 16384)

# Pictures through ours and through eager float32, repeats, seconds of each film, films.
FULL = (4096, 64, 5, 60.0, 8)
QUICK = (512, 16, 2, 20.0, 2)


def tflops_at_most(*, tries: int = 5) -> float:
    """What the GPU multiplies at most in bfloat16, TFLOP/s."""
    import torch

    best = 0.0
    for side in _SQUARES:
        one, other = (torch.randn(side, side, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        for _ in range(tries):
            begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begun.record()
            for _ in range(10):
                one @ other
            ended.record()
            torch.cuda.synchronize()
            best = max(best, 10 * 2 * side**3 / begun.elapsed_time(ended) / 1e9)
        del one, other
    return best


def measure_network(name: str, size_px: int, *, peak_tflops: float, effort: tuple[Any, ...]) -> list[Figure]:
    """A network's share of the peak, how many times faster than eager float32, and how true to it."""
    from bench.network import Eager
    from lib.embedding.embed import Embedder
    from lib.embedding.pictures import seeded_pictures

    count, eager_count, repeats, *_ = effort
    architecture, people = KNOWN[name]
    assert isinstance(architecture, Vit)
    # The same ones over and over: what is measured is the network.
    few = seeded_pictures(64, size_px)
    many = [few[number % len(few)] for number in range(max(64, round(count * 384 / architecture.dim)))]
    network = Embedder(f"random:{name}", size_px=size_px, device="cuda")
    eager = Eager(f"random:{name}", "cuda", size_px=size_px)
    made, exact = network.embed_all(few), eager.run(few)
    pairs = paired(
        lambda: seconds(lambda: network.embed_all(many)) / len(many),
        lambda: seconds(lambda: eager.run(few[:eager_count])) / eager_count,
        repeats=repeats,
    )
    share = share_of_peak(1 / pairs.ours_s, vit_gflop(architecture, size_px), peak_tflops)
    shown = f"{people} at {size_px} px"
    detail = f"{1 / pairs.theirs_s:.1f} to {1 / pairs.ours_s:.1f} pictures a second; {network.runtime_name}"
    figures = [
        Figure(
            f"network alone, {shown}", "eager fp32 torch on the GPU, batch 1", pairs.speedups, detail=detail
        ),
        Figure(
            f"network alone, {shown}: share of the peak",
            "the GPU's own bf16 matrix multiplication at its best",
            (share,),
            detail=f"of {peak_tflops:.0f} TFLOP/s, bytes in and vectors out included",
        ),
        Figure(
            f"least cosine, {shown}",
            "eager fp32 torch on the GPU, batch 1",
            (min(least_cosine(made.cls, exact[0]), least_cosine(made.patch_mean, exact[1])),),
            LEAST_COSINE,
            detail="; ".join(network.notes),
        ),
    ]
    return figures


def share_of_peak(pictures_per_s: float, gflop: float, peak_tflops: float) -> float:
    """Of what the device multiplies at most, what pictures a second of so many GFLOP each come to."""
    return pictures_per_s * gflop / (1000 * peak_tflops)


def measure_films(scratch: Path, *, effort: tuple[Any, ...]) -> Figure:
    """An archive of films from file to Parquet, against the network alone on as many pictures."""
    from bench.line import Line
    from bench.material import make_film
    from lib.embedding.embed import Embedder
    from lib.embedding.pictures import seeded_pictures

    *_, repeats, film_s, count = effort
    spec = "random:vit_large_patch16_dinov3"
    films = scratch / "films"
    films.mkdir()
    for number in range(count):
        make_film(films / f"film_{number}.mp4", seconds=film_s, seed=number)
    line, network = Line(spec, films, scratch), Embedder(spec, device="cuda")
    made = line.run()
    shown = list(seeded_pictures(64, 224))
    shown = [shown[number % len(shown)] for number in range(made.frames)]
    network.embed_all(shown)
    pairs = paired(
        lambda: line.run().seconds, lambda: seconds(lambda: network.embed_all(shown)), repeats=repeats
    )
    return Figure(
        "films to Parquet, ViT-L/16 of random weights",
        "the network alone on as many pictures: what is left is decoding, which a CPU does",
        pairs.slowdowns,
        is_at_most=True,
        detail=f"{count} films of {film_s:.0f} s at 640 x 360, {made.frames} frames: {pairs.ours_s:.2f} s, "
        f"{count * film_s / pairs.ours_s:.0f} x as fast as they play; network alone {pairs.theirs_s:.2f} s; "
        f"{made.runtime}",
    )


def main() -> int:
    """Measure everything; 1 where there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer pictures, 224 px only")
    told = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("There is no GPU here that torch can use: nothing was measured.", file=sys.stderr)
        return 1
    from rich.console import Console

    from bench.page import table_of

    effort = QUICK if told.quick else FULL
    figures: list[Figure] = []
    peak = tflops_at_most()
    for name in NETWORKS:
        for size_px in SIZES_PX[:1] if told.quick else SIZES_PX:
            began = time.perf_counter()
            figures += measure_network(name, size_px, peak_tflops=peak, effort=effort)
            torch.cuda.empty_cache()  # the networks of this size are gone
            print(f"{name} at {size_px} px: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="dinolake-gpu-") as scratch:
        figures.append(measure_films(Path(scratch), effort=effort))
    memory_gb = torch.cuda.get_device_properties(0).total_memory / 2**30
    device = {
        "gpu": torch.cuda.get_device_name(), "memory_gb": round(memory_gb, 1), "cuda": torch.version.cuda,
        "peak_bf16_tflops": round(peak, 1),
    }  # fmt: skip
    told_all = {"machine": machine() | device, "figures": [figure.as_json() for figure in figures]}
    (HERE / "gpu.json").write_text(json.dumps(told_all, indent=2, ensure_ascii=False) + "\n")
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table_of(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
