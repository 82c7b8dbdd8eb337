"""How a backbone is run: eager torch here, OpenVINO on CPUs, compiled bfloat16 on CUDA. All resize alike."""

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import closing
from itertools import cycle, islice
from typing import TYPE_CHECKING, Literal

import numpy as np

from lib.embedding import backbones
from lib.embedding.contract import Contract
from lib.embedding.pictures import seeded_pictures, squash
from lib.embedding.specs import BackboneSpec
from lib.embedding.vectors import unit
from lib.errors import DinolakeError, UsageError

if TYPE_CHECKING:
    import torch

Kind = Literal["auto", "torch", "openvino"]

# Below this, a faster runtime's vectors can't be called the backbone's own.
LEAST_COSINE = 0.999
_CHECKED_PICTURES = 8
# Pictures whose vectors are handed on together: what follows costs something a time, not only a picture.
_TOGETHER = 4


class Runtime(ABC):
    """A backbone ready to run on batches.

    Attributes:
        name: What runs, with versions.
        note: What a user should know about the choice; "" when there is nothing.
        cosine_to_eager: The least cosine of its vectors to eager torch's, over seeded pictures.
    """

    name: str
    note: str = ""
    cosine_to_eager: float = 1.0

    def __init__(self, contract: Contract, *, batch: int, slots: int):
        """Make room for `slots` batches at once: that many are filled, run or read at a time, and no more."""
        side = contract.preprocessing.size_px
        self._side, self._batch = side, batch
        self._inputs = [np.zeros((batch, side, side, 3), np.uint8) for _ in range(slots)]
        self._is_running = False

    def run(self, pictures: Iterable[np.ndarray]) -> Generator[tuple[np.ndarray, ...], None, None]:
        """Vectors of uint8 pictures of any size, in order: a few at a time, a float32 array for each kind.

        The next pictures are taken (decoded, by the iterator) and resized while earlier batches run. No more
        are held than the slots' batches and what is handed on together, however many come.
        """
        if self._is_running:
            raise UsageError(
                "this runtime is busy with another stream of pictures: finish or close that one first"
            )
        with closing(self._batches(pictures)) as batches:
            parts: list[tuple[np.ndarray, ...]] = []
            for part in batches:
                parts.append(part)
                if sum(len(part[0]) for part in parts) >= _TOGETHER:
                    yield _joined(parts)
                    parts = []
            if parts:
                yield _joined(parts)

    def _batches(self, pictures: Iterable[np.ndarray]) -> Generator[tuple[np.ndarray, ...], None, None]:
        self._is_running = True
        source = iter(pictures)
        waiting: deque[tuple[int, int]] = deque()
        try:
            for slot in cycle(range(len(self._inputs))):
                if len(waiting) == len(self._inputs):
                    yield self._taken(*waiting.popleft())
                filled = 0
                for picture in islice(source, self._batch):
                    self._inputs[slot][filled] = squash(picture, self._side)
                    filled += 1
                if not filled:
                    break
                self._start(slot, filled)
                waiting.append((slot, filled))
            while waiting:
                yield self._taken(*waiting.popleft())
        finally:
            # Whoever stops early leaves batches running on buffers that the next stream will fill.
            for slot, _ in waiting:
                self._finish(slot)
            self._is_running = False

    def _taken(self, slot: int, filled: int) -> tuple[np.ndarray, ...]:
        return tuple(np.array(values[:filled]) for values in self._finish(slot))

    @abstractmethod
    def _start(self, slot: int, filled: int) -> None:
        """Begin on an input whose first `filled` places hold pictures."""

    @abstractmethod
    def _finish(self, slot: int) -> list[np.ndarray]:
        """Wait for a begun input; vectors of at least its pictures, good until the slot starts again."""


class TorchRuntime(Runtime):
    """Eager float32, on a CPU or GPU: what all others are measured against."""

    def __init__(
        self, readout: "torch.nn.Module", contract: Contract, *, device: str, threads: int, batch: int
    ):
        import torch

        super().__init__(contract, batch=batch, slots=1)
        if device == "cpu":
            torch.set_num_threads(threads)
        self._readout, self._device = readout.to(device), device
        where = f"{threads} thread{'s' * (threads > 1)}" if device == "cpu" else torch.cuda.get_device_name()
        self.name = f"torch {torch.__version__} eager float32, batch {batch}, {where}"

    def _start(self, slot: int, filled: int) -> None:
        self._filled = filled

    def _finish(self, slot: int) -> list[np.ndarray]:
        import torch

        with torch.inference_mode():
            made = self._readout(torch.from_numpy(self._inputs[slot][: self._filled]).to(self._device))
        return [values.cpu().numpy() for values in made]


def open_runtime(
    backbone: BackboneSpec,
    contract: Contract,
    *,
    kind: Kind = "auto",
    device: backbones.Device = "auto",
    threads: int | None = None,
    batch: int | None = None,
) -> Runtime:
    """The fastest runtime whose vectors are the backbone's own, to a cosine of .999.

    Args:
        backbone: What to run.
        contract: What to read out of it, at which size.
        kind: `auto`: OpenVINO on a CPU, compiled bfloat16 on a GPU, each only where its vectors hold, else
            eager torch with a note; `torch`: eager; `openvino`: that, with a note where vectors don't hold.
        device: `cpu`, `cuda`, or `auto` for a GPU if there is one.
        threads: CPU threads; None for all that this process may use.
        batch: Pictures at a time; None for what measured best. 1 answers a single picture soonest.

    Raises:
        UsageError: OpenVINO is asked for on a GPU.
        BackboneUnavailableError: The weights can't be loaded.
    """
    threads = threads or usable_threads()
    where = backbones.pick_device(device)
    if where == "cuda":
        if kind == "openvino":
            raise UsageError(
                "OpenVINO runs on the CPU here: give device='cpu', or runtime='auto' for the GPU"
            )
        return _on_gpu(backbone, contract, kind, batch)
    if kind == "torch":
        return _eager(backbone, contract, threads=threads, batch=batch or 4)
    from lib.embedding import openvino_runtime

    reason = ""
    try:
        runtime: Runtime = openvino_runtime.opened(backbone, contract, threads=threads, batch=batch)
        if runtime.cosine_to_eager >= LEAST_COSINE or kind == "openvino":
            return runtime
        reason = (
            f"its vectors' cosine to eager torch's is {runtime.cosine_to_eager:.4f}, below {LEAST_COSINE}"
        )
    except DinolakeError:
        raise
    except Exception as error:
        # Whatever OpenVINO can't do with a network, torch can; but who asks for OpenVINO wants to know.
        if kind == "openvino":
            raise
        reason = f"it failed: {next(iter(str(error).splitlines()), type(error).__name__)}"
    runtime = _eager(backbone, contract, threads=threads, batch=batch or 4)
    runtime.note = f"OpenVINO is not used, because {reason}. Eager torch gives the same vectors, more slowly."
    return runtime


def readout_of(backbone: BackboneSpec, contract: Contract) -> "torch.nn.Module":
    """The network with what the contract says before and after it."""
    return with_readout(backbones.load(backbone), contract)


def with_readout(features: "torch.nn.Module", contract: Contract) -> "torch.nn.Module":
    """What the contract says, before and after a network."""
    from lib.embedding.networks import Readout

    prepared = contract.preprocessing
    return Readout(features, mean=prepared.mean, std=prepared.std, pooling=contract.pooling).eval()


def cosine_to(reference: list[np.ndarray], runtime: Runtime) -> float:
    """The least cosine of a runtime's vectors to the reference, over seeded pictures and all that is kept."""
    pictures = seeded_pictures(_CHECKED_PICTURES, runtime._side)
    made = [np.concatenate(parts) for parts in zip(*runtime.run(pictures), strict=True)]
    flat = [
        (unit(ours.reshape(len(ours), -1)), unit(exact.reshape(len(exact), -1)))
        for ours, exact in zip(made, reference, strict=True)
    ]
    return float(min((ours * exact).sum(1).min() for ours, exact in flat))


def reference_of(readout: "torch.nn.Module", contract: Contract) -> list[np.ndarray]:
    """Eager float32 vectors of the seeded pictures."""
    import torch

    pictures = torch.from_numpy(seeded_pictures(_CHECKED_PICTURES, contract.preprocessing.size_px))
    device = next(readout.buffers()).device
    with torch.inference_mode():
        made = [readout(picture[None].to(device)) for picture in pictures]
    return [torch.cat(parts).cpu().numpy() for parts in zip(*made, strict=True)]


def cores() -> int:
    """CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_threads() -> int:
    """CPU threads to use: OMP_NUM_THREADS (which Ray sets in workers), else all of this process's cores."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores(), int(told))) if told.isdigit() else cores()


def _eager(backbone: BackboneSpec, contract: Contract, *, threads: int, batch: int) -> Runtime:
    return TorchRuntime(readout_of(backbone, contract), contract, device="cpu", threads=threads, batch=batch)


def _on_gpu(backbone: BackboneSpec, contract: Contract, kind: Kind, batch: int | None) -> Runtime:
    from lib.embedding import cuda_runtime

    readout = readout_of(backbone, contract).to("cuda")
    note = ""
    if kind == "auto":
        reference = reference_of(readout, contract)
        runtime = cuda_runtime.opened(readout, contract, batch=batch)
        runtime.cosine_to_eager = cosine_to(reference, runtime)
        if runtime.cosine_to_eager >= LEAST_COSINE:
            return runtime
        note = (
            f"bfloat16 is not used: its vectors' cosine to float32's is {runtime.cosine_to_eager:.4f}, below "
            f"{LEAST_COSINE}. float32 is slower."
        )
        readout = readout_of(backbone, contract)  # the other's matrices are bfloat16 by now
    eager = TorchRuntime(readout, contract, device="cuda", threads=1, batch=batch or 16)
    eager.note = note
    return eager


def _joined(parts: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    return parts[0] if len(parts) == 1 else tuple(np.concatenate(of) for of in zip(*parts, strict=True))
