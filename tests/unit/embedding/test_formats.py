"""The same weights as timm, Hugging Face and Meta write them, against transformers' own forward."""

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lib.embedding import networks
from lib.embedding.architectures import ConvNext, Vit
from lib.embedding.backbones import load, resolve
from lib.embedding.contract import IMAGENET_MEAN
from lib.embedding.specs import SAT_MEAN, SAT_STD

VIT = Vit(dim=64, depth=2, heads=2, hidden=128)
GATED = Vit(dim=64, depth=2, heads=4, hidden=96, is_gated=True)
CONVNEXT = ConvNext(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))

VIT_TO_META = [
    (r"reg_token", "storage_tokens"),
    (r"(.*)\.gamma_([12])", r"\1.ls\2.gamma"),
    (r"(.*)\.mlp\.fc1_g\.(.*)", r"\1.mlp.w1.\2"),
    (r"(.*)\.mlp\.fc1_x\.(.*)", r"\1.mlp.w2.\2"),
]
VIT_TO_HF = [
    (r"cls_token", "embeddings.cls_token"),
    (r"reg_token", "embeddings.register_tokens"),
    (r"patch_embed\.proj\.(.*)", r"embeddings.patch_embeddings.\1"),
    (r"blocks\.(\d+)\.gamma_([12])", r"layer.\1.layer_scale\2.lambda1"),
    (r"blocks\.(\d+)\.attn\.proj\.(.*)", r"layer.\1.attention.o_proj.\2"),
    (r"blocks\.(\d+)\.mlp\.fc1_g\.(.*)", r"layer.\1.mlp.gate_proj.\2"),
    (r"blocks\.(\d+)\.mlp\.fc1(?:_x)?\.(.*)", r"layer.\1.mlp.up_proj.\2"),
    (r"blocks\.(\d+)\.mlp\.fc2\.(.*)", r"layer.\1.mlp.down_proj.\2"),
    (r"blocks\.(\d+)\.(norm.*)", r"layer.\1.\2"),
]
CONVNEXT_TO_META = [
    (r"stem\.(.*)", r"downsample_layers.0.\1"),
    (r"stages\.(\d)\.downsample\.(.*)", r"downsample_layers.\1.\2"),
    (r"(stages\.\d)\.blocks\.(\d+)\.conv_dw\.(.*)", r"\1.\2.dwconv.\3"),
    (r"(stages\.\d)\.blocks\.(\d+)\.mlp\.fc([12])\.(.*)", r"\1.\2.pwconv\3.\4"),
    (r"(stages\.\d)\.blocks\.(\d+)\.(.*)", r"\1.\2.\3"),
    (r"head\.norm\.(.*)", r"norm.\1"),
]
CONVNEXT_TO_HF = [
    (r"stem\.(.*)", r"stages.0.downsample_layers.\1"),
    (r"stages\.(\d)\.downsample\.(.*)", r"stages.\1.downsample_layers.\2"),
    (r"(stages\.\d)\.blocks\.(\d+)\.conv_dw\.(.*)", r"\1.layers.\2.depthwise_conv.\3"),
    (r"(stages\.\d)\.blocks\.(\d+)\.norm\.(.*)", r"\1.layers.\2.layer_norm.\3"),
    (r"(stages\.\d)\.blocks\.(\d+)\.mlp\.fc([12])\.(.*)", r"\1.layers.\2.pointwise_conv\3.\4"),
    (r"(stages\.\d)\.blocks\.(\d+)\.gamma", r"\1.layers.\2.gamma"),
    (r"head\.norm\.(.*)", r"layer_norm.\1"),
]


def renamed(tensors, rules):
    def new(name):
        return next((re.sub(old, to, name) for old, to in rules if re.fullmatch(old, name)), name)

    return {new(name): tensor.clone() for name, tensor in tensors.items()}


def random_network(architecture):
    """A network in which every tensor matters: biases and layer scales far from their starting values."""
    torch.manual_seed(5)
    if isinstance(architecture, Vit):
        features = networks.VitFeatures(architecture, with_bias=True)
    else:
        features = networks.ConvNextFeatures(architecture)
    with torch.no_grad():
        for value in features.parameters():
            value.normal_(std=0.2)
    return features.eval()


def write_timm(tensors, architecture, cache: Path) -> str:
    is_vit = isinstance(architecture, Vit)
    name = "vit_small_patch16_dinov3.lvd1689m" if is_vit else "convnext_tiny.dinov3_lvd1689m"
    folder = cache / f"models--timm--{name}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    snapshot = folder / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, snapshot / "model.safetensors")
    arguments = {"num_heads": architecture.heads} if is_vit else {}
    (snapshot / "config.json").write_text(json.dumps({"architecture": name, "model_args": arguments}))
    return f"timm:{name}"


def write_hf(tensors, architecture, folder: Path) -> str:
    folder.mkdir()
    is_vit = isinstance(architecture, Vit)
    made = renamed(tensors, VIT_TO_HF if is_vit else CONVNEXT_TO_HF)
    config = {"model_type": "dinov3_convnext", "hidden_act": "gelu"}
    if is_vit:
        config = {
            "model_type": "dinov3_vit",
            "num_attention_heads": architecture.heads,
            "use_gated_mlp": architecture.is_gated,
            "hidden_act": "silu" if architecture.is_gated else "gelu",
        }
        for block in range(architecture.depth):
            parts = zip("qkv", made.pop(f"blocks.{block}.attn.qkv.weight").chunk(3), strict=True)
            made |= {f"layer.{block}.attention.{letter}_proj.weight": part.clone() for letter, part in parts}
            for letter in "qv":
                bias = made.pop(f"blocks.{block}.attn.{letter}_bias")
                made[f"layer.{block}.attention.{letter}_proj.bias"] = bias
        made["embeddings.mask_token"] = torch.randn(1, 1, architecture.dim)
    save_file({name: tensor.contiguous() for name, tensor in made.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return f"hf:{folder}"


def write_meta(tensors, architecture, file: Path) -> str:
    is_vit = isinstance(architecture, Vit)
    made = renamed(tensors, VIT_TO_META if is_vit else CONVNEXT_TO_META)
    if is_vit:
        dim = architecture.dim
        for block in range(architecture.depth):
            at = f"blocks.{block}"
            query, value = made.pop(f"{at}.attn.q_bias"), made.pop(f"{at}.attn.v_bias")
            # Meta leaves rubbish where the mask blanks the keys' bias.
            made[f"{at}.attn.qkv.bias"] = torch.cat([query, torch.randn(dim), value])
            made[f"{at}.attn.qkv.bias_mask"] = torch.cat([torch.ones(dim), torch.zeros(dim), torch.ones(dim)])
            if architecture.is_gated:
                for kind in ("weight", "bias"):
                    made[f"{at}.mlp.w3.{kind}"] = made.pop(f"{at}.mlp.fc2.{kind}")
        made["rope_embed.periods"] = torch.ones(dim // architecture.heads // 4)
        made["mask_token"] = torch.randn(1, dim)
        made["local_cls_norm.weight"] = torch.randn(dim)
    else:
        made["norms.3.weight"], made["norms.3.bias"] = made["norm.weight"], made["norm.bias"]
    torch.save(made, file)
    return f"meta:{file}"


@pytest.mark.parametrize("architecture", [VIT, GATED, CONVNEXT], ids=["vit", "gated", "convnext"])
def test_three_formats_of_the_same_weights_give_the_same_vectors(architecture, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    network = random_network(architecture)
    tensors = network.network.state_dict()
    specs = [
        write_timm(tensors, architecture, tmp_path / "hub"),
        write_hf(tensors, architecture, tmp_path / "hf"),
        write_meta(tensors, architecture, tmp_path / "weights.pth"),
    ]
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        cls, patches, _ = network(images)
        for spec in specs:
            told = resolve(spec)
            assert told.network == architecture
            ours, our_patches, _ = load(told)(images)
            np.testing.assert_allclose(ours, cls, atol=1e-4, err_msg=spec)
            np.testing.assert_allclose(our_patches, patches, atol=1e-4, err_msg=spec)


def test_a_folders_own_normalisation_counts(tmp_path):
    spec = write_hf(random_network(VIT).network.state_dict(), VIT, tmp_path / "hf")
    assert resolve(spec).mean == IMAGENET_MEAN
    told = {"image_mean": [0.43, 0.411, 0.296], "image_std": [0.213, 0.156, 0.143]}
    (tmp_path / "hf" / "preprocessor_config.json").write_text(json.dumps(told))
    assert (resolve(spec).mean, resolve(spec).std) == (SAT_MEAN, SAT_STD)
    assert "SAT-493M" in resolve(spec).name


def transformers_vit(**changes):
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    config = DINOv3ViTConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_register_tokens=4,
        **changes,
    )
    return DINOv3ViTModel(config)


def transformers_convnext():
    from transformers import DINOv3ConvNextConfig, DINOv3ConvNextModel

    return DINOv3ConvNextModel(DINOv3ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 1]))


@pytest.mark.parametrize(
    ("make", "prefix"),
    [
        (transformers_vit, 5),
        (lambda: transformers_vit(use_gated_mlp=True, hidden_act="silu"), 5),
        (transformers_convnext, 1),
    ],
    ids=["vit", "gated", "convnext"],
)
def test_a_folder_written_by_transformers_answers_as_transformers_does(make, prefix, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers' own
        model = make().eval()
        with torch.no_grad():
            for value in model.parameters():
                value.normal_(std=0.2)
        # In several files, as the largest ones are published.
        model.save_pretrained(tmp_path, max_shard_size="40KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        theirs = model(images).last_hidden_state
        cls, patches, _ = load(f"hf:{tmp_path}")(images)
    np.testing.assert_allclose(cls, theirs[:, 0], atol=1e-4)
    # Neither CLS nor registers count as patches.
    np.testing.assert_allclose(patches.flatten(1, 2), theirs[:, prefix:], atol=1e-4)
