"""The contracts of a pair archive: one a side, and the one of their shared space."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lib.catalog import Archive
from lib.embedding.backbones import contract_of, resolve
from lib.embedding.contract import Contract
from lib.embedding.views import block_dims, pooling_for
from lib.sections import EmbeddingConfig, SideConfig

# Go up when views are cut, or depth is shown, otherwise: the vectors are others then.
_VIEWS, _DEPTH = 1, 1


@dataclass(frozen=True, slots=True)
class SideContract:
    """What one side's vectors mean.

    Attributes:
        id: As `Contract.id`; a picture seen upright with just CLS and mean patch has its backbone's own, so
            that archives of videos under it can be searched with the side's head.
        dims: Stored column -> length of its vectors, of those that a side's feature is made of.
        plain: The column that has what the original design saw: CLS of the picture as it is, or the text.
        shown: One sentence for people.
        core: The backbone's contract; None for text.
    """

    id: str
    dims: Mapping[str, int]
    shown: str
    plain: str
    core: Contract | None = None

    @property
    def stored(self) -> dict[str, int]:
        """All columns of vectors: those of the feature, and the plain one."""
        lengths = dict(self.dims)
        if self.core is not None:
            lengths.setdefault(self.plain, self.core.cls_dim)
        return lengths


@dataclass(frozen=True, slots=True)
class PairContract:
    """Both sides' contracts, which make a third: the space that an aligner maps both to."""

    left: SideContract
    right: SideContract

    @property
    def id(self) -> str:
        """Readable, stable, safe as a folder's name."""
        mark = hashlib.sha256(f"{self.left.id} {self.right.id}".encode()).hexdigest()[:8]
        return f"pair-{mark}"

    @property
    def shown(self) -> str:
        """One sentence for people."""
        return f"left: {self.left.shown}; right: {self.right.shown}"

    def side(self, name: str) -> SideContract:
        """`left` or `right`."""
        return self.left if name == "left" else self.right


def pair_contract(archive: Archive) -> PairContract:
    """The contracts that a pair archive's entry asks for.

    Raises:
        UsageError, BackboneUnavailableError: A backbone, an encoder or a size can't be had.
    """
    pairs = archive.pair_sides()
    return PairContract(*(side_contract(side, archive.embedding) for side in (pairs.left, pairs.right)))


def side_contract(side: SideConfig, embedding: EmbeddingConfig) -> SideContract:
    """One side's contract.

    Raises:
        UsageError, BackboneUnavailableError: The backbone, the encoder or the size can't be had.
    """
    if side.kind == "text":
        from lib.embedding.text_specs import text_contract

        told = text_contract(side.encoder)
        if not side.cleaned:
            return SideContract(told.id, {"text": told.dim}, told.shown, "text")
        shown = f"{told.shown}, of a report's findings and impression"
        return SideContract(_marked(told.id, side.cleaned), {"text": told.dim}, shown, "text")
    backbone = resolve(embedding.backbone)
    core = contract_of(backbone, size_px=embedding.size_px, pooling=pooling_for(side.features))
    dims = block_dims(core, views=side.views, features=side.features)
    is_plain = side.kind == "picture" and side.views == "upright"
    if is_plain and side.features == ("cls", "patch_mean"):
        return SideContract(core.id, dims, core.shown, "cls", core)
    views = _VIEWS if side.views == "turned" else 0
    depth = _DEPTH if side.kind == "depth" else 0
    # The features' lengths say how grids are pooled.
    plain = "cls" if side.views == "upright" and "cls" in dims else "plain"
    mark = _marked(core.id, side.views, views, depth, dims, plain)
    what = "depth maps" if side.kind == "depth" else "pictures"
    kept = ", ".join(f"{name} {length}" for name, length in dims.items())
    shown = (
        f"{backbone.name} of {side.views} {what} at {embedding.size_px} × {embedding.size_px} px, "
        f"weights {core.weights_sha256[:8]}; keeps {kept} as {core.dtype}"
    )
    return SideContract(mark, dims, shown, plain, core)


def _marked(base: str, *told: Any) -> str:
    """An id that differs from the base's by what is told."""
    text = json.dumps([base, *told], sort_keys=True)
    return f"{base.rsplit('-', 1)[0]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
