"""bfloat16 on CUDA: compiled in the way and with the batch that were fastest, copies beside computing.

Written on a machine without a GPU: what a CPU can show of it is tested, and `python -m bench.gpu` measures
the rest where there is one. It has not run on one yet (2026-11-24).
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.embedding.checkpoints import cache_folder
from lib.embedding.contract import Contract
from lib.embedding.runtimes import Runtime
from lib.embedding.tuning import Choice, Notebook, fastest

if TYPE_CHECKING:
    import torch

# Tried upwards: a larger batch has to be so much faster to be worth its memory and its waiting.
_BATCHES = (16, 32, 64, 128, 256)
_WORTH = 1.03
_TRIES = 5
# How a batch is run, and `torch.compile`'s mode for it. Graphs save launching each kernel by itself, and cost
# memory: which is faster depends on the network and the batch.
_MODES = {"compiled, CUDA graphs": "reduce-overhead", "compiled": "default"}
_PLAIN = "uncompiled"
# Uncompiled takes perhaps twice as long for a picture: from there on a full batch is faster.
_TAIL_SHARE = 0.5


class CudaRuntime(Runtime):
    """The GPU works on one batch while others are filled, sent and brought back."""

    def __init__(self, readout: "torch.nn.Module", contract: Contract, *, batch: int, how: str):
        """Compile for this batch.

        Args:
            readout: On the GPU, `halved`.
            contract: What it answers.
            batch: Pictures at a time.
            how: `uncompiled`, or a key of `_MODES`.
        """
        import torch

        super().__init__(contract, batch=batch, slots=3)
        self._pinned = [torch.from_numpy(buffer).pin_memory() for buffer in self._inputs]
        # The buffers that are filled are the pinned ones: only from those do copies overlap with computing.
        self._inputs = [pinned.numpy() for pinned in self._pinned]
        self._answers: list[list[torch.Tensor]] = [[] for _ in self._inputs]
        self._done = [torch.cuda.Event() for _ in self._inputs]
        self._sending = torch.cuda.Stream()
        self._plain: Any = readout
        self._network: Any = readout
        if how != _PLAIN:
            # One shape and no other: the last batch of a stream is never a reason to compile again.
            self._network = torch.compile(readout, dynamic=False, mode=_MODES[how])
        try:
            self.once()
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:
            if how == _PLAIN:
                raise
            # The compiler's errors share no base class; without it all still runs.
            self._network = readout
            self.note = f"torch.compile failed ({type(error).__name__}): the GPU runs the network {_PLAIN}."
            how = _PLAIN
            self.once()
        self.name = f"torch {torch.__version__} bf16 {how}, batch {batch}, {torch.cuda.get_device_name()}"

    def once(self) -> None:
        """A whole batch, there and back."""
        self._start(0, self._batch)
        self._finish(0)

    def _start(self, slot: int, filled: int) -> None:
        import torch

        count = run_at_once(filled, self._batch)
        network = self._network if count == self._batch else self._plain
        with torch.cuda.stream(self._sending):
            sent = self._pinned[slot][:count].to("cuda", non_blocking=True)
        computing = torch.cuda.current_stream()
        computing.wait_stream(self._sending)
        # Its memory isn't given to another batch before this one was computed.
        sent.record_stream(computing)
        with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16):
            torch.compiler.cudagraph_mark_step_begin()
            made = network(sent)
            if not self._answers[slot]:
                self._answers[slot] = [
                    torch.empty((self._batch, *values.shape[1:]), pin_memory=True) for values in made
                ]
            # Queued behind this batch and before the next, which may write over a graph's answers. Asked for
            # in `_finish`, they would come after all batches that were started meanwhile.
            for values, answer in zip(made, self._answers[slot], strict=True):
                answer[:count].copy_(values, non_blocking=True)
        self._done[slot].record()

    def _finish(self, slot: int) -> list[np.ndarray]:
        self._done[slot].synchronize()
        return [answer.numpy() for answer in self._answers[slot]]


def opened(readout: "torch.nn.Module", contract: Contract, *, batch: int | None) -> Runtime:
    """The runtime with this batch, or with the one found by trial; in the way that is fastest.

    What was found is kept for this network's shape, GPU and release of torch. The readout's matrices are
    bfloat16 from then on.

    Raises:
        torch.cuda.OutOfMemoryError: Not even one picture fits.
    """
    import torch

    halved(readout)

    def is_full(error: Exception) -> bool:
        torch.cuda.empty_cache()
        return isinstance(error, torch.cuda.OutOfMemoryError)

    def seconds_of(count: int) -> float:
        # Uncompiled, which takes no less memory: each shape would be compiled for half a minute.
        return _seconds(CudaRuntime(readout, contract, batch=count, how=_PLAIN), count)

    def made(choice: Choice) -> CudaRuntime:
        def at(count: int) -> CudaRuntime:
            return CudaRuntime(readout, contract, batch=count, how=choice.how)

        return that_fits(at, choice.batch, is_full=is_full)

    def measured() -> tuple[Choice, dict[Choice, float]]:
        count = batch or best_batch(seconds_of, is_full=is_full)
        ways = [Choice(count, 1, how) for how in (*_MODES, _PLAIN)]
        # Compiling takes what it takes: all ways are tried.
        return fastest(ways, lambda way: 1 / _seconds(made(way), count), budget_s=float("inf"))

    device = torch.cuda.get_device_properties(0)
    what = (
        f"{contract.architecture} {contract.preprocessing.size_px} px {','.join(contract.pooling)}, batch "
        f"{batch or 'any'}, {device.name} {device.total_memory >> 20} MiB, torch {torch.__version__}"
    )
    choice = Notebook(cache_folder() / "cuda" / "tuned.json").settled(what, measured)
    return made(choice or Choice(batch or 64, 1, next(reversed(_MODES))))


def halved(readout: "torch.nn.Module") -> "torch.nn.Module":
    """Its matrices and kernels in bfloat16, as autocast would make them for each batch; the rest stays."""
    import torch

    for module in readout.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            module.to(torch.bfloat16)
    return readout.to(memory_format=torch.channels_last)


def run_at_once(filled: int, batch: int) -> int:
    """How many places of a batch are run: all, or for few pictures, uncompiled, theirs alone."""
    return filled if filled < batch * _TAIL_SHARE else batch


def best_batch(seconds_of: Callable[[int], float], *, is_full: Callable[[Exception], bool]) -> int:
    """The smallest batch that no larger one beats by much, of those that fit.

    Args:
        seconds_of: Seconds a picture with so many at a time; raises where they don't fit.
        is_full: Whether an error says so.
    """
    chosen, least_s = 0, float("inf")
    for batch in _BATCHES:
        try:
            took_s = seconds_of(batch)
        except Exception as error:
            if not is_full(error):
                raise
            # Where not even the first fits, what does is found by halving.
            return chosen or batch
        if took_s * _WORTH > least_s:
            break
        chosen, least_s = batch, took_s
    return chosen


def that_fits(
    made: Callable[[int], CudaRuntime], batch: int, *, is_full: Callable[[Exception], bool]
) -> CudaRuntime:
    """With this batch, or half, a quarter, … of it: a graph takes more memory than the trial did."""
    while True:
        try:
            return made(batch)
        except Exception as error:
            if not is_full(error) or batch == 1:
                raise
        batch //= 2


def _seconds(runtime: CudaRuntime, batch: int) -> float:
    """What a picture takes, sent and brought back: the best of a few batches."""
    took = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        runtime.once()
        took.append(time.perf_counter() - began)
    return min(took) / batch
