"""The networks themselves, built by timm: the same one whatever file its weights came from. Imports torch."""

import math
from collections.abc import Mapping

import timm
import torch
from torch import nn
from torch.nn import functional

from lib.embedding.architectures import Architecture, ConvNext, Vit
from lib.errors import BackboneUnavailableError

# CLS (B, D), patches (B, h, w, Dp), and the last map (B, h', w', Dl).
Read = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class VitFeatures(nn.Module):  # type: ignore[misc]
    """A DINOv3 ViT that answers with its CLS token and its patch tokens, after the final norm.

    The patches are its last map too.

    The registers, between the two, are left out: they belong to no place in the picture.
    """

    def __init__(self, architecture: Vit, *, with_bias: bool):
        super().__init__()
        # The small one's constructor sets what all sizes share; the half keeps int(dim * ratio) exact.
        self.network = timm.create_model(
            "vit_small_patch16_dinov3",
            embed_dim=architecture.dim,
            depth=architecture.depth,
            num_heads=architecture.heads,
            mlp_ratio=(architecture.hidden + 0.5) / architecture.dim,
            swiglu_mlp=architecture.is_gated,
            swiglu_align_to=1 if architecture.is_gated else 0,
            num_reg_tokens=architecture.registers,
            rope_temperature=architecture.rope_base,
            qkv_bias=with_bias,
            num_classes=0,
            global_pool="token",
        )
        self.prefix = 1 + architecture.registers

    def forward(self, images: torch.Tensor) -> Read:
        """CLS (B, D), patches (B, h, w, D) and the same again, of normalised images (B, 3, S, S)."""
        tokens = self.network.forward_features(images)
        side = math.isqrt(tokens.shape[1] - self.prefix)
        patches = tokens[:, self.prefix :].unflatten(1, (side, side))
        return tokens[:, 0], patches, patches


class ConvNextFeatures(nn.Module):  # type: ignore[misc]
    """A DINOv3 ConvNeXt: the last map pooled and normed is the CLS, its normed cells (32 px) the patches."""

    def __init__(self, architecture: ConvNext):
        super().__init__()
        self.network = timm.create_model(
            "convnext_tiny", depths=architecture.depths, dims=architecture.dims, num_classes=0
        )

    def forward(self, images: torch.Tensor) -> Read:
        """CLS (B, D), patches (B, h, w, D) and the same again, of normalised images (B, 3, S, S)."""
        cells = self.network.forward_features(images).permute(0, 2, 3, 1)
        patches = self._norm(cells)
        return self._norm(cells.mean((1, 2))), patches, patches

    def _norm(self, values: torch.Tensor) -> torch.Tensor:
        # The head's norm is written for channels first; here they are last.
        norm = self.network.head.norm
        return functional.layer_norm(values, values.shape[-1:], norm.weight, norm.bias, norm.eps)


class EfficientNetFeatures(nn.Module):  # type: ignore[misc]
    """EfficientNet-Lite0: pooled 1280-d features stand for CLS, the 112-d map of stride 16 for patches."""

    # The last block of this stage is where the map still has stride 16, so that its grid equals a ViT-S/16's.
    _PATCH_STAGE = 4

    def __init__(self) -> None:
        super().__init__()
        # The classifier is kept, so that the file's tensors and the network's stay in step.
        self.network = timm.create_model("tf_efficientnet_lite0")

    def forward(self, images: torch.Tensor) -> Read:
        """CLS (B, 1280), patches (B, h, w, 112) and the map before the head (B, h / 2, w / 2, 320)."""
        network = self.network
        values = network.bn1(network.conv_stem(images))
        patches = values
        for stage, blocks in enumerate(network.blocks):
            values = blocks(values)
            if stage == self._PATCH_STAGE:
                patches = values
        head = network.bn2(network.conv_head(values))
        return head.mean((2, 3)), patches.permute(0, 2, 3, 1), values.permute(0, 2, 3, 1)


class Readout(nn.Module):  # type: ignore[misc]
    """From bytes to what a contract keeps: what every runtime runs, so that all of them agree."""

    def __init__(
        self,
        features: nn.Module,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        pooling: tuple[str, ...],
    ):
        super().__init__()
        self.features = features
        self.pooling = pooling
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The vectors that `pooling` names, in its order, of uint8 pictures (B, S, S, 3)."""
        images = (pictures.permute(0, 3, 1, 2).float() - self.mean) / self.std
        cls, patches, deep = self.features(images)
        patch_mean = patches.float().mean((1, 2))
        made = {"cls": cls, "patch_mean": patch_mean, "patch_grid": patches, "deep_grid": deep}
        return tuple(made[name].float() for name in self.pooling)


def build(architecture: Architecture, tensors: Mapping[str, torch.Tensor], *, with_bias: bool) -> nn.Module:
    """A DINOv3 backbone with these tensors, under timm's names.

    Raises:
        BackboneUnavailableError: The tensors are not this architecture's.
    """
    features = (
        VitFeatures(architecture, with_bias=with_bias)
        if isinstance(architecture, Vit)
        else ConvNextFeatures(architecture)
    )
    _fill(features.network, tensors)
    return features.eval()


def build_efficientnet(tensors: Mapping[str, torch.Tensor]) -> nn.Module:
    """EfficientNet-Lite0 with the packaged tensors, which come in timm's order under other names."""
    features = EfficientNetFeatures()
    names = list(features.network.state_dict())
    _fill(features.network, dict(zip(names, tensors.values(), strict=len(names) == len(tensors))))
    return features.eval()


def build_random(architecture: Architecture, *, seed: int) -> nn.Module:
    """Seeded random weights: for tests of plumbing and for measuring speed, never for looking at pictures.

    Layer scales start at 1, where training starts near 0: else no picture would reach the CLS token.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(architecture, Vit):
            features: nn.Module = VitFeatures(architecture, with_bias=False)
        else:
            features = ConvNextFeatures(architecture)
    with torch.no_grad():
        for name, value in features.named_parameters():
            if "gamma" in name:
                value.fill_(1.0)
    return features.eval()


def _fill(network: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in tensors]
    unknown = [name for name in tensors if name not in wanted]
    other = [name for name in wanted if name in tensors and wanted[name].shape != tensors[name].shape]
    if missing or unknown or other:
        told = [
            f"{len(names)} {what} ({', '.join(names[:3])})"
            for names, what in ((missing, "missing"), (unknown, "unknown"), (other, "of another shape"))
            if names
        ]
        raise BackboneUnavailableError(
            f"of {len(wanted)} tensors, {'; '.join(told)}: the file doesn't fit its architecture. "
            "Check that it is the backbone you named, and whole"
        )
    network.load_state_dict(dict(tensors))
