"""Backbones: the contract that one gives, its network (only that needs torch), and the default one."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lib.embedding import checkpoints, hub
from lib.embedding.contract import Contract, Preprocessing
from lib.embedding.specs import DINOV3_LICENCE, PACKAGED, BackboneSpec, Licence, resolve
from lib.errors import BackboneUnavailableError, UsageError

if TYPE_CHECKING:
    import torch

__all__ = [
    "PACKAGED",
    "BackboneSpec",
    "Licence",
    "choose_default",
    "contract_of",
    "load",
    "pick_device",
    "resolve",
]

Device = Literal["auto", "cpu", "cuda"]


def contract_of(
    backbone: str | BackboneSpec, *, size_px: int = 224, pooling: tuple[str, ...] = ("cls", "patch_mean")
) -> Contract:
    """The contract that a backbone's vectors have, known without loading it.

    Raises:
        UsageError: The size doesn't divide into patches, or the pooling is none.
        BackboneUnavailableError: The weights are not here.
    """
    told = resolve(backbone) if isinstance(backbone, str) else backbone
    if size_px < told.multiple_px or size_px % told.multiple_px:
        below = max(1, size_px // told.multiple_px) * told.multiple_px
        raise UsageError(
            f"size {size_px} px doesn't fit {told.name}, which wants a multiple of {told.multiple_px}: "
            f"take {below} or {below + told.multiple_px}"
        )
    side = size_px // told.patch_px
    return Contract(
        backbone=told.name,
        architecture=told.architecture,
        weights_sha256=told.weights_sha256,
        preprocessing=Preprocessing(mean=told.mean, std=told.std, size_px=size_px),
        layers=told.layers,
        pooling=tuple(pooling),
        cls_dim=told.cls_dim,
        patch_dim=told.patch_dim,
        grid=(side, side),
        deep=(size_px // told.deep_px, size_px // told.deep_px, told.deep_dim)
        if "deep_grid" in pooling
        else (),
    )


def load(backbone: str | BackboneSpec, device: str = "cpu") -> "torch.nn.Module":
    """The network, float32: normalised images (B, 3, S, S) in; CLS, patches and last map out.

    Raises:
        BackboneUnavailableError: The weights can't be read or don't fit their architecture.
    """
    from lib.embedding import networks

    told = resolve(backbone) if isinstance(backbone, str) else backbone
    if told.form == "random" and told.network is not None:
        return networks.build_random(told.network, seed=told.seed).to(device)
    original = checkpoints.tensors_of(told.files)
    if told.network is None:
        return networks.build_efficientnet(original).to(device)

    def join(parts: list["torch.Tensor"]) -> "torch.Tensor":
        import torch

        return torch.cat(parts)

    renamed = checkpoints.with_timm_names(original, told.form, join=join)
    tensors, with_bias = checkpoints.without_key_biases(renamed, original)
    return networks.build(told.network, tensors, with_bias=with_bias).to(device)


def pick_device(device: Device = "auto") -> str:
    """`cuda` where there is a GPU to be used, else `cpu`; torch is not imported where there is no driver."""
    if device != "auto":
        return device
    has_driver = any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/dxg")) or os.name == "nt"
    if not has_driver:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_default(*, device: Device = "auto", timeout_s: float = 4.0) -> tuple[str, list[str]]:
    """The best backbone that can be had here: its spec, and sentences that say why this one.

    DINOv3 comes first, ViT-L/16 on a GPU and ViT-S/16 on a CPU: from the local cache, else fetched if the hub
    answers within the timeout. Then the packaged one, which is not DINOv3.
    """
    name = f"vit_{'large' if pick_device(device) == 'cuda' else 'small'}_patch16_dinov3.lvd1689m"
    spec, repo = f"timm:{name}", f"timm/{name}"
    terms = f"{DINOV3_LICENCE.name} ({DINOV3_LICENCE.url}): {DINOV3_LICENCE.asks}"
    if hub.cached(repo):
        return spec, [f"{resolve(spec).name}, from the local Hugging Face cache.", terms]
    reason = hub.why_unreachable(repo, timeout_s=timeout_s)
    if not reason:
        try:
            hub.fetch(repo)
        except BackboneUnavailableError as error:
            reason = str(error)
        else:
            return spec, [f"{resolve(spec).name}, fetched from the Hugging Face hub.", terms]
    return PACKAGED, [
        f"DINOv3 ({name}) is not used: it is not in the local Hugging Face cache, and {reason}.",
        f"{resolve(PACKAGED).name} is used instead: results are a small ImageNet network's, not DINOv3's. "
        "With DINOv3 weights at hand, name them: hf:FOLDER or meta:FILE.pth.",
    ]
