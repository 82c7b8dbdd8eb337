"""Pictures in, vectors out: a backbone under its contract, in the fastest runtime that is true to it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lib.embedding import backbones, runtimes
from lib.embedding.contract import Contract
from lib.embedding.vectors import to_half
from lib.errors import BackboneUnavailableError


@dataclass(frozen=True, slots=True)
class Vectors:
    """Raw vectors of n pictures in float16, as they rest in the lake; `vectors.unit` reads them.

    Attributes:
        cls: (n, cls_dim).
        patch_mean: (n, patch_dim); (n, 0) under a contract that doesn't keep it.
        patch_grid: (n, rows, columns, patch_dim); None under a contract that doesn't keep it.
        deep_grid: (n, rows, columns, deep_dim); the same.
    """

    cls: np.ndarray
    patch_mean: np.ndarray
    patch_grid: np.ndarray | None = None
    deep_grid: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.cls)


class Embedder:
    """Embeds pictures under one contract. Opening it loads the backbone; one stream of pictures at a time.

    Attributes:
        backbone: What embeds.
        contract: What its vectors mean.
        runtime_name: What runs it, with versions.
        cosine_to_eager: The least cosine of the runtime's vectors to eager torch's, as checked on this CPU.
        notes: What a user should know about the choice of runtime.
    """

    def __init__(
        self,
        spec: str | backbones.BackboneSpec,
        *,
        size_px: int = 224,
        pooling: Sequence[str] = ("cls", "patch_mean"),
        runtime: runtimes.Kind = "auto",
        device: backbones.Device = "auto",
        threads: int | None = None,
        batch: int | None = None,
    ):
        """Open a backbone.

        Args:
            spec: Spec string, or what `resolve` made of one.
            size_px: Side of the square picture that the backbone sees.
            pooling: Which vectors to keep.
            runtime: See `open_runtime`.
            device: `cpu`, `cuda`, or `auto` for a GPU if there is one.
            threads: CPU threads; None for all that this process may use.
            batch: Pictures at a time; None for what is fastest with many, 1 to have a single one soonest.

        Raises:
            UsageError: The spec, the size or the pooling can't be.
            BackboneUnavailableError: The weights are not here or don't fit.
        """
        self.backbone = backbones.resolve(spec) if isinstance(spec, str) else spec
        self.contract: Contract = backbones.contract_of(
            self.backbone, size_px=size_px, pooling=tuple(pooling)
        )
        self._runtime = runtimes.open_runtime(
            self.backbone, self.contract, kind=runtime, device=device, threads=threads, batch=batch
        )
        self.runtime_name = self._runtime.name
        self.cosine_to_eager = self._runtime.cosine_to_eager
        self.notes = [self._runtime.note] if self._runtime.note else []

    def embed(self, pictures: Iterable[np.ndarray]) -> Iterator[Vectors]:
        """Vectors of uint8 pictures (height, width, 3) of any size, in order, a batch at a time.

        Pictures are taken from the iterator while earlier ones are embedded, so that decoding and the network
        overlap; however many come, only a few batches are held.

        Raises:
            UnreadableMediaError: A picture has another shape or type.
            BackboneUnavailableError: The network answers with no finite numbers.
        """
        for batch in self._runtime.run(pictures):
            made = dict(zip(self.contract.pooling, batch, strict=True))
            for name, values in made.items():
                if not np.isfinite(values).all():
                    raise BackboneUnavailableError(
                        f"{self.backbone.name} answers with {name} vectors that are not finite: its weights "
                        f"are damaged, or overflow in {self.runtime_name}. Fetch them again, or try "
                        "runtime='torch'"
                    )
            halves = {name: to_half(values) for name, values in made.items()}
            empty = np.zeros((len(halves["cls"]), 0), np.float16)
            yield Vectors(
                halves["cls"],
                halves.get("patch_mean", empty),
                halves.get("patch_grid"),
                halves.get("deep_grid"),
            )

    def embed_all(self, pictures: Iterable[np.ndarray]) -> Vectors:
        """Vectors of a few pictures, all at once."""
        parts = list(self.embed(pictures))
        if not parts:
            dims = {"patch_mean": (0,)} | self.contract.dims
            none = {name: np.zeros((0, *shape), np.float16) for name, shape in dims.items()}
            return Vectors(none["cls"], none["patch_mean"], none.get("patch_grid"), none.get("deep_grid"))
        return Vectors(
            np.concatenate([part.cls for part in parts]),
            np.concatenate([part.patch_mean for part in parts]),
            _joined([part.patch_grid for part in parts]),
            _joined([part.deep_grid for part in parts]),
        )


def _joined(grids: list[np.ndarray | None]) -> np.ndarray | None:
    there = [grid for grid in grids if grid is not None]
    return np.concatenate(there) if there else None
