"""A ViT written again, so that OpenVINO finds its fused kernels in it: the same answers. Imports torch.

Measured with ViT-S/16 at 224 px, OpenVINO 2026.4 on 2 cores with AVX-512 bf16: 8 % of the time went into
moving q, k and v about, where the tokens without a place were cut off and glued on again around the rotation.
"""

import math

import torch
from torch import nn
from torch.nn import functional

from lib.embedding.networks import Read, VitFeatures


class LeanVit(nn.Module):  # type: ignore[misc]
    """What `VitFeatures` answers, for pictures of one size: equal but for rounding.

    The rotation is the identity for the tokens that have no place, instead of leaving them out. q, k and v
    come from a matrix each. The scale of the attention and the layers' own scales lie in the weights.
    """

    def __init__(self, features: VitFeatures, size_px: int):
        super().__init__()
        network = features.network
        self.prefix = features.prefix
        self.patch_embed, self.norm = network.patch_embed, network.norm
        self.register_buffer("first", torch.cat([network.cls_token, network.reg_token], 1).detach())
        side = size_px // network.patch_embed.patch_size[0]
        sin, cos = network.rope.get_embed(shape=(side, side)).detach().chunk(2, -1)
        unturned = torch.zeros(self.prefix, sin.shape[-1])
        self.register_buffer("sin", torch.cat([unturned, sin])[None, None])
        self.register_buffer("cos", torch.cat([unturned + 1, cos])[None, None])
        self.blocks = nn.ModuleList(_Block(block) for block in network.blocks)

    def forward(self, images: torch.Tensor) -> Read:
        """CLS (B, D), patches (B, h, w, D) and the same again, of normalised images (B, 3, S, S)."""
        # `shape[0]`, for `len` is a fixed number in a traced graph.
        patches = self.patch_embed(images).flatten(1, 2)
        tokens = torch.cat([self.first.expand(images.shape[0], -1, -1), patches], 1)
        for block in self.blocks:
            tokens = block(tokens, self.sin, self.cos)
        tokens = self.norm(tokens)
        side = math.isqrt(tokens.shape[1] - self.prefix)
        grid = tokens[:, self.prefix :].unflatten(1, (side, side))
        return tokens[:, 0], grid, grid


class _Block(nn.Module):  # type: ignore[misc]
    """Attention and what follows it, each added to what came in."""

    def __init__(self, block: nn.Module):
        super().__init__()
        attention, mlp = block.attn, block.mlp
        self.heads = attention.num_heads
        self.norm1, self.norm2 = block.norm1, block.norm2
        weights = attention.qkv.weight.detach().chunk(3)
        biases = (attention.q_bias, None, attention.v_bias)  # DINOv3's keys have none
        self.q, self.k, self.v = (
            _linear(weight, bias, times)
            for weight, bias, times in zip(weights, biases, (attention.scale, None, None), strict=True)
        )
        self.proj = _linear(attention.proj.weight, attention.proj.bias, block.gamma_1)
        self.is_gated = hasattr(mlp, "fc1_g")
        self.fc1 = mlp.fc1_x if self.is_gated else mlp.fc1
        self.gate = mlp.fc1_g if self.is_gated else nn.Identity()
        self.fc2 = _linear(mlp.fc2.weight, mlp.fc2.bias, block.gamma_2)

    def forward(self, tokens: torch.Tensor, sin: torch.Tensor, cos: torch.Tensor) -> torch.Tensor:
        normed = self.norm1(tokens)
        # A transpose for each: of one for all three, OpenVINO fuses nothing into the attention.
        q, k, v = (
            part(normed).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.q, self.k, self.v)
        )
        seen = functional.scaled_dot_product_attention(
            _turned(q, sin, cos), _turned(k, sin, cos), v, scale=1.0
        )
        tokens = tokens + self.proj(seen.transpose(1, 2).flatten(2))
        normed = self.norm2(tokens)
        hidden = self.fc1(normed)
        hidden = functional.silu(self.gate(normed)) * hidden if self.is_gated else functional.gelu(hidden)
        return tokens + self.fc2(hidden)


def _turned(values: torch.Tensor, sin: torch.Tensor, cos: torch.Tensor) -> torch.Tensor:
    """Rotary embedding, as OpenVINO's fusion knows it."""
    half = values.shape[-1] // 2
    return values * cos + torch.cat([-values[..., half:], values[..., :half]], -1) * sin


def _linear(weight: torch.Tensor, bias: torch.Tensor | None, times: torch.Tensor | float | None) -> nn.Linear:
    """A layer whose results are another's, each times a number."""
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    scale = torch.as_tensor(1.0 if times is None else times).detach().reshape(-1, 1)
    made.weight = nn.Parameter(weight.detach() if times is None else weight.detach() * scale)
    if bias is not None:
        made.bias = nn.Parameter(bias.detach() if times is None else bias.detach() * scale[:, 0])
    return made
