"""The contract under which vectors may be compared. Plain data: imported when Dagster's definitions load."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from lib.errors import ContractMismatchError, UsageError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

POOLINGS = ("cls", "patch_mean", "patch_grid", "deep_grid")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What happens to a picture before the backbone sees it."""

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    size_px: int = 224
    # Width and height each to `size_px`, aspect not kept: the geometry of the original design.
    resize: str = "squash"
    interpolation: str = "bilinear, antialiased"


@dataclass(frozen=True, slots=True)
class Contract:
    """Everything that a vector's meaning depends on. Vectors of two contracts are never compared.

    Attributes:
        backbone: Its name as people read it.
        architecture: Its name in ids: letters, digits, underscores.
        weights_sha256: Hash of the weight file's bytes: the same weights in another format count as others.
        preprocessing: What happens to a picture first.
        layers: Where the vectors are read.
        pooling: Which vectors are kept, of `cls`, `patch_mean`, `patch_grid` and `deep_grid`.
        cls_dim: Length of a `cls` vector.
        patch_dim: Length of a `patch_mean` vector, and of each cell's in a `patch_grid`.
        grid: Cells of a patch grid, as (rows, columns).
        deep: (rows, columns, length) of a `deep_grid`, the last map of a network whose patches are read
            before its end; empty where it isn't kept.
        dtype: How the vectors rest in the lake; they are brought to unit length in float32 when read.
    """

    backbone: str
    architecture: str
    weights_sha256: str
    preprocessing: Preprocessing
    layers: tuple[str, ...]
    pooling: tuple[str, ...]
    cls_dim: int
    patch_dim: int
    grid: tuple[int, int]
    deep: tuple[int, ...] = ()
    dtype: str = "float16"

    def __post_init__(self) -> None:
        unknown = [name for name in self.pooling if name not in POOLINGS]
        if unknown or "cls" not in self.pooling or len(set(self.pooling)) < len(self.pooling):
            raise UsageError(
                f"pooling {list(self.pooling)} can't be had: give 'cls' and, if wanted, 'patch_mean', "
                "'patch_grid' and 'deep_grid', each once"
            )

    @property
    def id(self) -> str:
        """Readable, stable, safe as a folder's name: `efficientnet_lite0-224-3fa9c1d2`."""
        told = asdict(self)
        # A backbone shown under a better name makes the same vectors.
        del told["backbone"]
        if not self.deep:
            del told["deep"]  # ids that were given before there was such a thing stay
        mark = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
        name = re.sub(r"[^a-z0-9]+", "_", self.architecture.lower()).strip("_")
        return f"{name}-{self.preprocessing.size_px}-{mark}"

    @property
    def grid_cells(self) -> int:
        """Cells of a patch grid, whether grids are kept or not."""
        return self.grid[0] * self.grid[1]

    @property
    def dims(self) -> dict[str, tuple[int, ...]]:
        """Shape of one sample's vectors, by name, of those that are kept."""
        shapes = {
            "cls": (self.cls_dim,),
            "patch_mean": (self.patch_dim,),
            "patch_grid": (*self.grid, self.patch_dim),
            "deep_grid": self.deep,
        }
        return {name: shapes[name] for name in self.pooling}

    @property
    def shown(self) -> str:
        """One sentence for people."""
        kept = ", ".join(f"{name} {'×'.join(map(str, shape))}" for name, shape in self.dims.items())
        size_px = self.preprocessing.size_px
        return (
            f"{self.backbone} at {size_px} × {size_px} px "
            f"({self.preprocessing.resize}, {self.preprocessing.interpolation}), "
            f"weights {self.weights_sha256[:8]}; keeps {kept} as {self.dtype}"
        )

    def to_json(self) -> str:
        """The contract as one JSON document, the same for equal contracts."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Contract":
        """The contract that `to_json` wrote."""
        told: dict[str, Any] = json.loads(text)
        first = told.pop("preprocessing")
        return cls(preprocessing=Preprocessing(**_with_tuples(first)), **_with_tuples(told))


def require_same(ours: Contract | str, theirs: Contract | str) -> None:
    """Refuse to compare vectors of two contracts, given as such or by id.

    Raises:
        ContractMismatchError: They differ.
    """
    ids = [side if isinstance(side, str) else side.id for side in (ours, theirs)]
    if ids[0] == ids[1]:
        return
    shown = "".join(f" {side.id} is {side.shown}." for side in (ours, theirs) if isinstance(side, Contract))
    raise ContractMismatchError(
        f"vectors of contract {ids[0]} can't be compared with vectors of contract {ids[1]}.{shown} "
        "Embed both sides with one backbone at one size: `dinolake run ARCHIVE` makes what the catalog says."
    )


def _with_tuples(told: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
