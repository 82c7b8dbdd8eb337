"""What an aligner is at rest and at work: two heads into one space. numpy alone; nothing here trains."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lib.alignment.config import AlignerConfig
from lib.embedding.vectors import unit
from lib.errors import AlignerError, UsageError

WEIGHTS, CONFIG = "aligner.safetensors", "aligner.json"
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Net:
    """Two layers, ReLU between: `first` (m, h), `first_bias` (h,), `second` (h, k), `second_bias` (k,)."""

    first: np.ndarray
    first_bias: np.ndarray
    second: np.ndarray
    second_bias: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Of (n, m) float32: (n, k)."""
        hidden = rows @ self.first + self.first_bias
        np.maximum(hidden, 0, out=hidden)
        return np.asarray(hidden @ self.second + self.second_bias)


@dataclass(frozen=True, slots=True)
class Head:
    """Maps a side's features (n, d) to (n, k) unit vectors.

    p = (x - mean) project, z = p base, each left out where it is None. Without nets that is all. A net
    adds to unit z what it makes of p at length sqrt(m); several nets' unit answers are averaged.

    Attributes:
        dim: d, what comes in.
        mean: (d,) float32.
        project: (d, m) float32.
        base: (m, k) float32.
        nets: Of one space.
        has_shortcut: Whether nets add to z; else they are all there is, and see p as it is.
    """

    dim: int
    mean: np.ndarray | None = None
    project: np.ndarray | None = None
    base: np.ndarray | None = None
    nets: tuple[Net, ...] = ()
    has_shortcut: bool = True

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Of (n, d) float16 or float32: (n, k) float32 of unit length; what is no direction stays zeros.

        Raises:
            UsageError: The features have another dimension.
        """
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise UsageError(f"this head takes features (n, {self.dim}), not {features.shape}")
        parts = [self._of(features[row : row + _BLOCK]) for row in range(0, len(features), _BLOCK)]
        return np.concatenate(parts) if parts else np.zeros((0, self.out), np.float32)

    @property
    def out(self) -> int:
        """k, what comes out."""
        if self.nets:
            return int(self.nets[0].second.shape[1])
        last = self.base if self.base is not None else self.project
        return self.dim if last is None else int(last.shape[1])

    def projected(self, features: np.ndarray) -> np.ndarray:
        """What the class calls p, of (n, d) features: (n, m) float32."""
        rows = np.asarray(features, np.float32)
        if self.mean is not None:
            rows = rows - self.mean
        return rows if self.project is None else rows @ self.project

    def _of(self, features: np.ndarray) -> np.ndarray:
        p = self.projected(features)
        if not self.nets:
            return unit(p if self.base is None else p @ self.base)
        if not self.has_shortcut:
            return unit(np.mean([unit(net(p)) for net in self.nets], axis=0))
        z = unit(p if self.base is None else p @ self.base)
        seen = unit(p) * np.float32(p.shape[1] ** 0.5)
        return unit(np.mean([unit(z + net(seen)) for net in self.nets], axis=0))

    def tensors(self) -> dict[str, np.ndarray]:
        """Its numbers by name."""
        made = {name: getattr(self, name) for name in ("mean", "project", "base")}
        for number, net in enumerate(self.nets):
            made |= {f"net{number}.{name}": getattr(net, name) for name in Net.__slots__}
        return {name: np.ascontiguousarray(value) for name, value in made.items() if value is not None}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, np.ndarray], *, dim: int, has_shortcut: bool) -> "Head":
        """The head that `tensors` told."""
        count = sum(name.endswith(".first") for name in tensors)
        nets = tuple(Net(*(tensors[f"net{n}.{name}"] for name in Net.__slots__)) for n in range(count))
        mean, project, base = (tensors.get(name) for name in ("mean", "project", "base"))
        return cls(dim, mean, project, base, nets, has_shortcut)


@dataclass(frozen=True, slots=True)
class Aligner:
    """Two heads into one space, and all that its meaning depends on.

    Attributes:
        left: Of the left side's features.
        right: Of the right side's.
        rung: How it was made.
        config: With which settings.
        facts: What was measured of it; plain JSON.
        left_contract: Id of the contract of what the left head takes.
        right_contract: The same of the right.
        fingerprint: Of what it was fitted on.
    """

    left: Head
    right: Head
    rung: str
    config: AlignerConfig
    facts: dict[str, Any] = field(default_factory=dict)
    left_contract: str = ""
    right_contract: str = ""
    fingerprint: str = ""

    @property
    def dim(self) -> int:
        """Dimensions of the shared space."""
        return self.left.out

    @property
    def contract_id(self) -> str:
        """The shared space's own: of both sides' contracts, the rung and every weight."""
        digest = hashlib.sha256(f"{self.left_contract} {self.right_contract} {self.rung}".encode())
        for name, values in sorted(self._tensors().items()):
            digest.update(f"{name} {values.shape} {values.dtype}".encode())
            digest.update(values.tobytes())
        return f"shared-{self.dim}-{digest.hexdigest()[:8]}"

    def signed(self, *, left_contract: str, right_contract: str, fingerprint: str) -> "Aligner":
        """The same, saying what it was fitted on."""
        return replace(
            self, left_contract=left_contract, right_contract=right_contract, fingerprint=fingerprint
        )

    def save(self, folder: Path) -> None:
        """Write weights and settings into a folder, which is made; settings last, so that half is none."""
        from safetensors.numpy import save

        folder.mkdir(parents=True, exist_ok=True)
        weights = save(self._tensors())
        told = {
            "rung": self.rung,
            "contract": self.contract_id,
            "left": _about(self.left, self.left_contract),
            "right": _about(self.right, self.right_contract),
            "fingerprint": self.fingerprint,
            "seed": self.config.seed,
            "config": self.config.model_dump(mode="json"),
            "facts": self.facts,
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
        }
        (folder / WEIGHTS).write_bytes(weights)
        (folder / CONFIG).write_text(json.dumps(told, indent=2, sort_keys=True) + "\n")

    @classmethod
    def open(cls, folder: Path) -> "Aligner":
        """What `save` wrote.

        Raises:
            AlignerError: A file is missing, damaged, or belongs to other weights.
        """
        try:
            told = json.loads((folder / CONFIG).read_text())
            weights = (folder / WEIGHTS).read_bytes()
            return cls._told(told, weights)
        except OSError as error:
            raise AlignerError(
                f"the aligner in {folder} can't be read ({error.strerror or error}): fit it again"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AlignerError(f"the aligner in {folder} is damaged ({error}): fit it again") from error

    @classmethod
    def _told(cls, told: dict[str, Any], weights: bytes) -> "Aligner":
        from safetensors import SafetensorError
        from safetensors.numpy import load

        found = hashlib.sha256(weights).hexdigest()
        if found != told["weights_sha256"]:
            raise ValueError(f"{WEIGHTS} has the hash {found[:8]}, not {told['weights_sha256'][:8]}")
        try:
            tensors = load(weights)
        except SafetensorError as error:
            raise ValueError(str(error)) from error
        heads = {}
        for side in ("left", "right"):
            own = {name.removeprefix(f"{side}."): v for name, v in tensors.items() if name.startswith(side)}
            about = told[side]
            heads[side] = Head.of_tensors(own, dim=about["dim"], has_shortcut=about["shortcut"])
        return cls(
            **heads,
            rung=told["rung"],
            config=AlignerConfig.model_validate(told["config"]),
            facts=told["facts"],
            left_contract=told["left"]["contract"],
            right_contract=told["right"]["contract"],
            fingerprint=told["fingerprint"],
        )

    def _tensors(self) -> dict[str, np.ndarray]:
        return dict(self._named())

    def _named(self) -> Iterator[tuple[str, np.ndarray]]:
        for side, head in (("left", self.left), ("right", self.right)):
            for name, values in head.tensors().items():
                yield f"{side}.{name}", values


def _about(head: Head, contract: str) -> dict[str, Any]:
    return {"contract": contract, "dim": head.dim, "shortcut": head.has_shortcut}
