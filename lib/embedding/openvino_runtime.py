"""OpenVINO on CPUs. The only module that imports openvino. Converted networks are kept: torch is needed once.

A process that finds its network in the cache starts in a second or so; importing torch and timm takes five.
"""

import contextlib
import json
import shutil
import sys
import tempfile
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.embedding import runtimes, tuning
from lib.embedding.checkpoints import cache_folder, write_whole
from lib.embedding.contract import Contract
from lib.embedding.pictures import seeded_pictures
from lib.embedding.specs import BackboneSpec

if TYPE_CHECKING:
    import torch

# Raised when what is converted is written otherwise, so that older conversions aren't used any more.
_VERSION = 2
# Pictures that wait, resized, for a stream to come free: a film's frames come in bursts.
_AHEAD = 4


class OpenVinoRuntime(runtimes.Runtime):
    """A compiled network and a request for each slot; streams run requests side by side."""

    def __init__(
        self,
        core: Any,
        model: Any,
        contract: Contract,
        choice: tuning.Choice,
        *,
        precision: str,
        threads: int,
    ):
        import openvino as ov

        batch, streams = choice.batch, choice.streams
        super().__init__(contract, batch=batch, slots=streams + max(1, _AHEAD // batch))
        side = contract.preprocessing.size_px
        sized = model.clone()
        sized.reshape([batch, side, side, 3])
        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "NUM_STREAMS": str(streams),
            "INFERENCE_NUM_THREADS": threads,
            # Workers that share a machine would all pin themselves to the same first cores.
            "ENABLE_CPU_PINNING": threads >= runtimes.cores(),
        }
        compiled = core.compile_model(sized, "CPU", options)
        self.choice = choice
        self._requests = [compiled.create_infer_request() for _ in self._inputs]
        self._tensors = [ov.Tensor(buffer, shared_memory=True) for buffer in self._inputs]
        for request, tensor in zip(self._requests, self._tensors, strict=True):
            request.set_input_tensor(tensor)
        self._outputs = len(compiled.outputs)
        release = ov.get_version().split("-")[0]
        self.name = f"OpenVINO {release} {precision}, batch {batch} x {streams} stream{'s' * (streams > 1)}"

    def _start(self, slot: int, filled: int) -> None:
        self._requests[slot].start_async()

    def _finish(self, slot: int) -> list[np.ndarray]:
        request = self._requests[slot]
        request.wait()
        return [request.get_output_tensor(number).data for number in range(self._outputs)]


def opened(backbone: BackboneSpec, contract: Contract, *, threads: int, batch: int | None) -> OpenVinoRuntime:
    """The fastest precision whose vectors hold against eager torch, else the closest one.

    Converted and compared once for a contract, a release of OpenVINO and a kind of CPU, then read back.
    """
    ov = _imported()
    core = ov.Core()
    release = "-".join(ov.get_version().split("-")[:2])
    place = cache_folder() / "openvino"
    kept = _Kept(place / f"{contract.id}-{release}-{_VERSION}", core, contract, backbone)
    abilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    cpu = f"{core.get_property('CPU', 'FULL_DEVICE_NAME')} {' '.join(sorted(abilities))}"
    precisions = ("bf16", "f32") if "BF16" in abilities else ("f32",)
    first = _told(batch, threads) or tuning.default(threads)
    guard = contextlib.nullcontext() if kept.is_settled(cpu, precisions) else kept.lock()
    with guard:
        model = kept.model()
        cosines = kept.cosines(cpu)

        def made(precision: str, choice: tuning.Choice = first) -> OpenVinoRuntime:
            return OpenVinoRuntime(core, model, contract, choice, precision=precision, threads=threads)

        runtime, running = None, ""
        for precision in precisions:
            if precision not in cosines:
                runtime, running = made(precision), precision
                cosines[precision] = runtimes.cosine_to(kept.reference(), runtime)
                kept.keep_cosines(cpu, cosines)
            if cosines[precision] >= runtimes.LEAST_COSINE:
                break
        holding = [
            precision for precision in precisions if cosines.get(precision, 0) >= runtimes.LEAST_COSINE
        ]
        chosen = holding[0] if holding else max(cosines, key=cosines.__getitem__)
    if batch is None:
        # Weights make no difference to speed: fine-tuned networks of one shape share what was measured.
        side = contract.preprocessing.size_px
        what = f"{contract.architecture} {side} px {chosen}, {threads} threads, {release}, {cpu}"

        def rate(choice: tuning.Choice) -> float:
            return tuning.rate_of_stream(made(chosen, choice).run, seeded_pictures(4, side))

        first = (
            tuning.Notebook(place / "tuned.json").settled(
                what, lambda: tuning.fastest(tuning.candidates(threads), rate)
            )
            or first
        )
    if runtime is None or running != chosen or runtime.choice != first:
        runtime = made(chosen, first)
    runtime.cosine_to_eager = cosines[chosen]
    failed = [f"{name} {cosine:.4f}" for name, cosine in cosines.items() if cosine < runtimes.LEAST_COSINE]
    if failed:
        runtime.note = (
            f"OpenVINO computes in {chosen}, because a cosine to eager torch's vectors below "
            f"{runtimes.LEAST_COSINE} was measured in {', '.join(failed)}."
        )
    return runtime


def _told(batch: int | None, threads: int) -> tuning.Choice | None:
    if batch is None:
        return None
    # A single picture is there soonest when all threads work on it.
    return tuning.Choice(1, 1) if batch == 1 else tuning.Choice(batch, tuning.default(threads).streams)


class _Kept:
    """A converted network in the cache folder, and how close its vectors are on the CPUs that it ran on."""

    def __init__(self, folder: Path, core: Any, contract: Contract, backbone: BackboneSpec):
        self._folder, self._core, self._contract, self._backbone = folder, core, contract, backbone
        self._readout: torch.nn.Module | None = None
        self._reference: list[np.ndarray] | None = None

    def lock(self) -> AbstractContextManager[None]:
        """One process at a time converts and measures; the others then find it done."""
        return tuning.one_at_a_time(self._folder.with_name(f"{self._folder.name}.lock"))

    def is_settled(self, cpu: str, precisions: tuple[str, ...]) -> bool:
        """Whether the network lies here and it is known in what precision it runs on this kind of CPU."""
        cosines = self.cosines(cpu)
        holds = any(cosine >= runtimes.LEAST_COSINE for cosine in cosines.values())
        return (holds or len(cosines) == len(precisions)) and (self._folder / "model.xml").is_file()

    def model(self) -> Any:
        """The network, from the cache or converted now."""
        with contextlib.suppress(OSError, RuntimeError):  # not there, or damaged: converted anew
            if (self._folder / "contract.json").read_text() == self._contract.to_json():
                return self._core.read_model(self._folder / "model.xml")
        model = self._converted()
        with contextlib.suppress(
            OSError, RuntimeError
        ):  # a cache that can't be written costs time and nothing else
            self._keep(model)
        return model

    def reference(self) -> list[np.ndarray]:
        """Eager torch's vectors."""
        if self._reference is None:
            self._reference = runtimes.reference_of(self._eager(), self._contract)
        return self._reference

    def cosines(self, cpu: str) -> dict[str, float]:
        """What was measured before on this kind of CPU, by precision."""
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads((self._folder / "cosines.json").read_text()).get(cpu, {}))
        return {}

    def keep_cosines(self, cpu: str, cosines: dict[str, float]) -> None:
        """Keep what was measured, so that the next process needn't."""
        known: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            known = json.loads((self._folder / "cosines.json").read_text())
        with contextlib.suppress(OSError):
            write_whole(self._folder / "cosines.json", json.dumps(known | {cpu: cosines}))

    def _eager(self) -> "torch.nn.Module":
        if self._readout is None:
            self._readout = runtimes.readout_of(self._backbone, self._contract)
        return self._readout

    def _lean(self) -> "torch.nn.Module":
        from lib.embedding.lean_vit import LeanVit
        from lib.embedding.networks import VitFeatures

        features = self._eager().features
        if not isinstance(features, VitFeatures):
            return self._eager()
        return runtimes.with_readout(LeanVit(features, self._contract.preprocessing.size_px), self._contract)

    def _converted(self) -> Any:
        import openvino as ov
        import torch

        side = self._contract.preprocessing.size_px
        example = torch.zeros((2, side, side, 3), dtype=torch.uint8)
        with torch.no_grad(), warnings.catch_warnings():
            # Tracing warns of every number that it takes for fixed; the size of the picture is.
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(self._lean(), example, check_trace=False, strict=False)
            return ov.convert_model(
                traced, example_input=example, input=[ov.PartialShape([-1, side, side, 3])]
            )

    def _keep(self, model: Any) -> None:
        import openvino as ov

        shutil.rmtree(self._folder, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=self._folder.parent) as made:
            whole = Path(made) / "whole"
            whole.mkdir()
            ov.save_model(model, whole / "model.xml", compress_to_fp16=False)
            (whole / "contract.json").write_text(self._contract.to_json())
            whole.rename(self._folder)


def _imported() -> Any:
    # `import openvino` tells Google Analytics of it and writes to ~/intel, unless this package is missing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino
