"""What a machine can multiply at most: matrices in a type, by the best of what anyone could run."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from lib.embedding.architectures import Vit
from lib.embedding.runtimes import usable_threads

Type = Literal["bf16", "f32"]

# Rows, and the widths that go round: a square that fits the second-level cache, a large one, and what a block
# of ViT-S/16 multiplies for one and for four pictures (201 tokens each, 384 to 1536 and back).
_SHAPES = ((1024, (1024, 1024)), (2048, (2048, 2048)), (201, (384, 1536)), (804, (384, 1536)))
_WINDOW_S = 0.4
_TRIES = 2
_KEPT = 2


@dataclass(frozen=True, slots=True)
class Way:
    """Something that multiplies matrices.

    Attributes:
        name: With what, and in what shapes.
        seconds: What a GFLOP takes, measured over at least so many seconds.
    """

    name: str
    seconds: Callable[[float], float]


def vit_gflop(architecture: Vit, size_px: int) -> float:
    """GFLOP that a picture takes, two for a multiplication and its addition: patches, layers, attention.

    Norms, softmax, GELU, rotation, additions and the bytes' normalisation count for nothing, as in a peak.
    """
    patches = (size_px // architecture.patch_px) ** 2
    tokens, dim = 1 + architecture.registers + patches, architecture.dim
    layers = 4 * dim * dim + (3 if architecture.is_gated else 2) * dim * architecture.hidden
    attention = 2 * tokens * dim
    embedded = patches * 3 * architecture.patch_px**2 * dim
    return 2 * (embedded + architecture.depth * tokens * (layers + attention)) / 1e9


def cpu_peak(of: Type) -> Way:
    """The best that there is on this machine, all threads at work: of all ways, those that come closest.

    What it says is the least of several windows of each of these: a peak is what is reached at best.
    """
    ways = [_openvino(of, shape, streams) for shape in _SHAPES for streams in (1, usable_threads())]
    ways += [_torch(of, shape) for shape in _SHAPES]
    took_s = {way.name: min(way.seconds(_WINDOW_S) for _ in range(_TRIES)) for way in ways}
    best = sorted(ways, key=lambda way: took_s[way.name])[:_KEPT]

    def least(window_s: float) -> float:
        return min(way.seconds(window_s) for _ in range(_TRIES) for way in best)

    return Way(" and ".join(way.name for way in best), least)


def _timed(work: Callable[[], int], gflop: float, wanted_s: float) -> float:
    work()
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < wanted_s:
        done += work()
    return (time.perf_counter() - began) / (done * gflop)


def _openvino(of: Type, shape: tuple[int, tuple[int, ...]], streams: int) -> Way:
    """Eight layers after each other, so that what comes in and goes out in float32 costs little."""
    # As in lib.embedding: imported bare, it reports to its makers.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino as ov
    from openvino import opset13

    rows, widths = shape
    put: Any = opset13.parameter([rows, widths[0]], ov.Type.f32)
    made, random = put, np.random.default_rng(0)
    sides = [widths[layer % 2] for layer in range(9)]
    for ahead, after in pairwise(sides):
        weights = random.normal(scale=ahead**-0.5, size=(after, ahead)).astype(np.float32)
        made = opset13.matmul(made, opset13.constant(weights), False, True)
    options = {
        "INFERENCE_PRECISION_HINT": of,
        "NUM_STREAMS": str(streams),
        "INFERENCE_NUM_THREADS": usable_threads(),
        "ENABLE_CPU_PINNING": True,
    }
    compiled = ov.Core().compile_model(ov.Model([made], [put]), "CPU", options)
    requests = [compiled.create_infer_request() for _ in range(streams + (streams > 1))]
    for request in requests:
        request.get_input_tensor().data[...] = random.normal(size=(rows, widths[0]))
    gflop = 2 * rows * sum(a * b for a, b in pairwise(sides)) / 1e9

    def seconds(wanted_s: float) -> float:
        for request in requests:
            request.infer()
        for request in requests:
            request.start_async()
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < wanted_s:
            for request in requests:
                request.wait()
                done += 1
                request.start_async()
        for request in requests:
            request.wait()
            done += 1
        return (time.perf_counter() - began) / (done * gflop)

    across = "one stream" if streams == 1 else f"{streams} streams"
    return Way(f"OpenVINO, {_shown(shape)}, {across}", seconds)


def _torch(of: Type, shape: tuple[int, tuple[int, ...]]) -> Way:
    import torch

    rows, (ahead, after) = shape
    torch.set_num_threads(usable_threads())
    kind = torch.bfloat16 if of == "bf16" else torch.float32
    put, weights = torch.randn(rows, ahead).to(kind), torch.randn(after, ahead).to(kind)

    def work() -> int:
        with torch.inference_mode():
            torch.nn.functional.linear(put, weights)
        return 1

    gflop = 2 * rows * ahead * after / 1e9
    return Way(f"torch {torch.__version__}, {_shown(shape)}", lambda wanted_s: _timed(work, gflop, wanted_s))


def _shown(shape: tuple[int, tuple[int, ...]]) -> str:
    rows, widths = shape
    return f"{rows} x {widths[0]} x {widths[1]}"
