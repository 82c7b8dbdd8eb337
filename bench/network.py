"""The network alone: against the machine's matrix-multiply peak, and against eager float32, batch 1."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.figures import Figure, least_cosine, paired, seconds
from bench.peak import Type, Way, cpu_peak, vit_gflop
from lib.embedding import backbones, runtimes
from lib.embedding.architectures import Vit, named
from lib.embedding.checkpoints import cache_folder
from lib.embedding.embed import Embedder
from lib.embedding.pictures import seeded_pictures

SIZE_PX = 224
VIT_S = "random:vit_small_patch16_dinov3"
SHOWN_VIT_S = "ViT-S/16 of random weights"
DEFAULT = "efficientnet_lite0"
EAGER_GOAL = 3.2
PEAK_GOAL = 0.85
LEAST_COSINE = 0.999

# Pictures a pass, repeats.
FULL = (64, 5)
QUICK = (24, 2)
PEAK_WINDOW_S = 0.5
# The first of the seeded pictures are those on which a precision is chosen.
SEEN = 8


def measure(folder: Path, *, quick: bool) -> Sequence[Figure]:
    """All figures of this part."""
    count, repeats = QUICK if quick else FULL
    shown = seeded_pictures(SEEN + count, SIZE_PX)[SEEN:]
    network = Embedder(VIT_S)
    figures = [
        _against_peak(network, shown, repeats=repeats),
        *_against_eager(network, VIT_S, SHOWN_VIT_S, shown, repeats=repeats, goal=EAGER_GOAL),
    ]
    figures += _against_eager(Embedder(DEFAULT), DEFAULT, DEFAULT, shown, repeats=repeats, goal=None)
    return figures


class Eager:
    """The network as torch runs it when nothing is asked for: float32, one picture at a time."""

    def __init__(self, spec: str, device: str = "cpu", *, size_px: int = SIZE_PX):
        import torch

        if device == "cpu":
            torch.set_num_threads(runtimes.usable_threads())
        contract = backbones.contract_of(spec, size_px=size_px)
        self._readout = runtimes.readout_of(backbones.resolve(spec), contract).to(device)
        self._device = device

    def run(self, pictures: np.ndarray) -> list[np.ndarray]:
        """CLS and mean patch vectors, (n, dim) float32 each, of (n, S, S, 3) uint8."""
        import torch

        with torch.inference_mode():
            made = [
                [values.cpu() for values in self._readout(torch.from_numpy(picture[None]).to(self._device))]
                for picture in pictures
            ]
        return [torch.cat(parts).numpy() for parts in zip(*made, strict=True)]


def _against_peak(network: Embedder, shown: np.ndarray, *, repeats: int) -> Figure:
    architecture = named(VIT_S.removeprefix("random:"))
    assert isinstance(architecture, Vit)
    gflop = vit_gflop(architecture, SIZE_PX)
    of: Type = "bf16" if " bf16" in network.runtime_name else "f32"
    best: Way = cpu_peak(of)
    network.embed_all(shown)
    pairs = paired(
        lambda: seconds(lambda: network.embed_all(shown)) / (len(shown) * gflop),
        lambda: best.seconds(PEAK_WINDOW_S),
        repeats=repeats,
    )
    return Figure(
        f"network alone, {SHOWN_VIT_S}: share of the peak",
        f"this machine's own {of} matrix multiplication at its best",
        pairs.speedups,
        PEAK_GOAL,
        detail=f"{1 / pairs.ours_s:.0f} of {1 / pairs.theirs_s:.0f} GFLOP/s ({1 / pairs.ours_s / gflop:.1f} "
        f"pictures a second of {gflop:.2f} GFLOP each, attention counted, softmax, norms and GELU not); "
        f"the peak is the best window of {best.name}, the best of twelve ways; {pairs.calm}; "
        f"{network.runtime_name}; {_tuned(network)}",
    )


def _against_eager(
    network: Embedder, spec: str, name: str, shown: np.ndarray, *, repeats: int, goal: float | None
) -> list[Figure]:
    eager = Eager(spec)
    made, exact = network.embed_all(shown), eager.run(shown)
    pairs = paired(
        lambda: seconds(lambda: network.embed_all(shown)),
        lambda: seconds(lambda: eager.run(shown)),
        repeats=repeats,
    )
    cosines = least_cosine(made.cls, exact[0]), least_cosine(made.patch_mean, exact[1])
    speed = Figure(
        f"network alone, {name}",
        "eager fp32 torch, one picture at a time",
        pairs.speedups,
        goal,
        detail=f"{len(shown) / pairs.theirs_s:.1f} to {len(shown) / pairs.ours_s:.1f} pictures a second, "
        f"both from bytes to vectors in memory; {pairs.calm}; {network.runtime_name}; {_tuned(network)}",
    )
    truth = Figure(
        f"least cosine, network alone, {name}",
        "eager fp32 torch, one picture at a time",
        (min(cosines),),
        LEAST_COSINE,
        detail=f"{len(shown)} pictures: CLS {cosines[0]:.5f}, mean patch {cosines[1]:.5f}; vectors as they "
        "rest in the lake, in float16",
    )
    return [speed, truth]


def _tuned(network: Embedder) -> str:
    """What was measured when the batch and the streams were chosen, on this machine."""
    told: dict[str, Any] = {}
    file = cache_folder() / "openvino" / "tuned.json"
    if file.is_file():
        told = json.loads(file.read_text())
    threads = f"{runtimes.usable_threads()} threads"
    for what, kept in told.items():
        if what.startswith(f"{network.contract.architecture} {SIZE_PX} px") and threads in what:
            rates = kept["pictures_per_s"].items()
            return "chosen from " + ", ".join(f"{choice}: {rate:.0f}/s" for choice, rate in rates)
    return "nothing was tuned"
