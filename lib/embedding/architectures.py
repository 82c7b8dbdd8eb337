"""The DINOv3 architectures and what tells them apart: names, tensor shapes. Plain data, no torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lib.errors import BackboneUnavailableError

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Vit:
    """A DINOv3 vision transformer with patches of 16 px, under timm's tensor names."""

    dim: int
    depth: int
    heads: int
    hidden: int
    # SwiGLU instead of a plain GELU network between the attentions.
    is_gated: bool = False
    registers: int = 4
    rope_base: float = 100.0

    @property
    def patch_px(self) -> int:
        """Side of the square that a patch vector stands for; a picture's side must be a multiple of it."""
        return 16


@dataclass(frozen=True, slots=True)
class ConvNext:
    """A DINOv3 ConvNeXt: 32 px to a cell of the last feature map, which DINOv3 calls its patches."""

    depths: tuple[int, int, int, int]
    dims: tuple[int, int, int, int]

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return self.dims[-1]

    @property
    def patch_px(self) -> int:
        """Side of the square that a patch vector stands for; a picture's side must be a multiple of it."""
        return 32


Architecture = Vit | ConvNext

_SMALL_DIMS = (96, 192, 384, 768)

# timm's name: the architecture, and how it is called among people.
KNOWN: dict[str, tuple[Architecture, str]] = {
    "vit_small_patch16_dinov3": (Vit(384, 12, 6, 1536), "ViT-S/16"),
    "vit_small_plus_patch16_dinov3": (Vit(384, 12, 6, 1536, is_gated=True), "ViT-S+/16"),
    "vit_base_patch16_dinov3": (Vit(768, 12, 12, 3072), "ViT-B/16"),
    "vit_large_patch16_dinov3": (Vit(1024, 24, 16, 4096), "ViT-L/16"),
    "vit_large_plus_patch16_dinov3": (Vit(1024, 24, 16, 4096, is_gated=True), "ViT-L+/16"),
    "vit_huge_plus_patch16_dinov3": (Vit(1280, 32, 20, 5120, is_gated=True), "ViT-H+/16"),
    "vit_7b_patch16_dinov3": (Vit(4096, 40, 32, 8192, is_gated=True), "ViT-7B/16"),
    "convnext_tiny": (ConvNext((3, 3, 9, 3), _SMALL_DIMS), "ConvNeXt-T"),
    "convnext_small": (ConvNext((3, 3, 27, 3), _SMALL_DIMS), "ConvNeXt-S"),
    "convnext_base": (ConvNext((3, 3, 27, 3), (128, 256, 512, 1024)), "ConvNeXt-B"),
    "convnext_large": (ConvNext((3, 3, 27, 3), (192, 384, 768, 1536)), "ConvNeXt-L"),
}


def named(name: str) -> Architecture:
    """The architecture of a timm name without its tag; `_qkvb` (zero biases kept) makes no difference."""
    known = KNOWN.get(name.replace("_qkvb", ""))
    if known is None:
        # What `names_of` makes of a ViT of nobody's shape: small ones for tests.
        if found := re.fullmatch(r"vit_(\d+)x(\d+)_patch16_dinov3", name):
            dim, depth = int(found[1]), int(found[2])
            return Vit(dim, depth, max(1, dim // 64), 4 * dim)
        raise BackboneUnavailableError(f"{name!r} is no DINOv3 architecture; known are {', '.join(KNOWN)}")
    return known[0]


def names_of(architecture: Architecture) -> tuple[str, str]:
    """An architecture's timm name and its name among people; shapes of nobody's get names made from them."""
    for timm_name, (known, shown) in KNOWN.items():
        if known == architecture:
            return timm_name, shown
    if isinstance(architecture, Vit):
        shape = f"{architecture.dim}x{architecture.depth}"
        return f"vit_{shape}_patch16_dinov3", f"ViT {shape}"
    shape = "x".join(map(str, architecture.dims))
    return f"convnext_{shape}", f"ConvNeXt {shape}"


def told_by_shapes(
    shapes: Mapping[str, Shape], *, heads: int | None, rope_base: float = 100.0
) -> Architecture:
    """The architecture that tensors under timm's names make up.

    Args:
        shapes: Shape of each tensor.
        heads: Attention heads, which no shape tells; None for what DINOv3 uses (64 wide, 128 in the 7B).
        rope_base: Base period of the rotary position code, which no shape tells either.

    Raises:
        BackboneUnavailableError: These tensors are no DINOv3 ViT and no ConvNeXt.
    """
    try:
        if "cls_token" in shapes:
            return _vit(shapes, heads, rope_base)
        return _convnext(shapes)
    except KeyError as missing:
        raise BackboneUnavailableError(
            f"these {len(shapes)} tensors ({', '.join(list(shapes)[:3])}, …) are no DINOv3 backbone: "
            f"{missing.args[0]} is missing. Give the backbone's own file, not a head's or a whole training's"
        ) from None


def _vit(shapes: Mapping[str, Shape], heads: int | None, rope_base: float) -> Vit:
    dim = shapes["cls_token"][-1]
    is_gated = "blocks.0.mlp.fc1_g.weight" in shapes
    hidden = shapes["blocks.0.mlp.fc1_g.weight" if is_gated else "blocks.0.mlp.fc1.weight"][0]
    return Vit(
        dim=dim,
        depth=_count(shapes, "blocks."),
        heads=heads or max(1, dim // (128 if dim >= 4096 else 64)),
        hidden=hidden,
        is_gated=is_gated,
        registers=shapes["reg_token"][1] if "reg_token" in shapes else 0,
        rope_base=rope_base,
    )


def _convnext(shapes: Mapping[str, Shape]) -> ConvNext:
    depths = [_count(shapes, f"stages.{stage}.blocks.") for stage in range(4)]
    dims = [shapes[f"stages.{stage}.blocks.0.conv_dw.weight"][0] for stage in range(4)]
    return ConvNext((depths[0], depths[1], depths[2], depths[3]), (dims[0], dims[1], dims[2], dims[3]))


def _count(shapes: Mapping[str, Shape], prefix: str) -> int:
    numbers = {name[len(prefix) :].split(".")[0] for name in shapes if name.startswith(prefix)}
    return len(numbers)
