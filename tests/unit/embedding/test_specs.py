import os
import pickle

import pytest
import timm
import torch

from lib.embedding.architectures import KNOWN, Vit, told_by_shapes
from lib.embedding.backbones import contract_of, load, resolve
from lib.embedding.checkpoints import tensors_of
from lib.embedding.networks import ConvNextFeatures, VitFeatures
from lib.embedding.specs import SAT_MEAN, SAT_STD
from lib.errors import BackboneUnavailableError, UsageError


def meta_tensors(**more):
    """The least that passes for a ViT-L by Meta's names."""
    named = {
        "cls_token": (1, 1, 1024),
        "storage_tokens": (1, 4, 1024),
        "blocks.0.mlp.fc1.weight": (4096, 1024),
    }
    return {name: torch.zeros(shape) for name, shape in (named | more).items()}


@pytest.mark.parametrize("name", [name for name in KNOWN if name != "vit_large_plus_patch16_dinov3"])
def test_each_size_is_built_as_timm_builds_it_and_told_by_its_shapes(name):
    known = KNOWN[name][0]
    with torch.device("meta"):
        theirs = timm.create_model(name, num_classes=0)
        ours = VitFeatures(known, with_bias=False) if isinstance(known, Vit) else ConvNextFeatures(known)
    shapes = {key: tuple(value.shape) for key, value in theirs.state_dict().items()}
    assert {key: tuple(value.shape) for key, value in ours.network.state_dict().items()} == shapes
    assert told_by_shapes(shapes, heads=None) == known


def test_the_packaged_backbone_says_that_it_is_not_dinov3():
    told = resolve("efficientnet_lite0")
    assert told.name == "EfficientNet-Lite0 (packaged, not DINOv3)"
    assert not told.is_dinov3
    assert told.weights_sha256.startswith("57934424")  # upstream's file name carries it


@pytest.mark.parametrize(
    ("file", "more", "family"),
    [
        ("dinov3_vitl16_pretrain_sat493m-eadcf0ff.pth", {}, "SAT-493M"),
        ("dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth", {}, "LVD-1689M"),
        ("mine.pth", {"local_cls_norm.weight": (1024,)}, "SAT-493M"),
        ("mine.pth", {}, "taken for LVD-1689M"),
    ],
)
def test_metas_weight_family_brings_its_own_normalisation(file, more, family, tmp_path):
    torch.save(meta_tensors(**more), tmp_path / file)
    told = resolve(f"meta:{tmp_path / file}")
    assert family in told.name
    assert ((told.mean, told.std) == (SAT_MEAN, SAT_STD)) == (family == "SAT-493M")


def test_a_checkpoint_that_brings_code_is_refused_and_the_code_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    file = tmp_path / "dinov3_vits16_pretrain_lvd1689m-08c60483.pth"
    torch.save({"cls_token": Bomb()}, file)
    with pytest.raises(BackboneUnavailableError, match=r"posix\.mkdir, which no tensor needs"):
        resolve(f"meta:{file}")
    with pytest.raises(BackboneUnavailableError, match=r"posix\.mkdir, which no tensor needs"):
        tensors_of([file])
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"no weights", pickle.dumps({"a": 1}), b"PK\x03\x04 cut"],
    ids=["empty", "text", "pickle", "cut"],
)
def test_a_file_that_is_no_checkpoint_is_named_with_its_size(content, tmp_path):
    file = tmp_path / "weights.pth"
    file.write_bytes(content)
    with pytest.raises(BackboneUnavailableError, match=rf"weights\.pth \({len(content)} bytes\)"):
        resolve(f"meta:{file}")


def test_a_checkpoint_cut_short_after_it_was_resolved_is_refused_when_loaded(tmp_path):
    file = tmp_path / "weights.pth"
    torch.save(meta_tensors(), file)
    told = resolve(f"meta:{file}")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(BackboneUnavailableError, match="cut short or damaged"):
        load(told)


def test_tensors_that_do_not_fit_say_which(tmp_path):
    file = tmp_path / "weights.pth"
    torch.save(meta_tensors(**{"blocks.0.odd": (3,)}), file)
    with pytest.raises(
        BackboneUnavailableError, match=r"patch_embed\.proj\.weight.*1 unknown \(blocks\.0\.odd\)"
    ):
        load(f"meta:{file}")


def test_other_networks_tensors_are_no_backbone(tmp_path):
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    with pytest.raises(BackboneUnavailableError, match="no DINOv3 backbone"):
        resolve(f"meta:{tmp_path / 'resnet.pth'}")


@pytest.mark.parametrize(
    "spec",
    ["", "resnet50", "timm:", "timm:resnet50.a1_in1k", "timm:vit_small_patch16_dinov3_qkvb.eupe_lvd1689m"],
)
def test_what_is_no_spec_is_wrong_usage(spec):
    with pytest.raises(UsageError, match=r"is no DINOv3|names no backbone"):
        resolve(spec)


def test_weights_that_are_not_here_say_how_to_get_them(tmp_path):
    with pytest.raises(BackboneUnavailableError, match=r"hf download timm/vit_base_patch16_dinov3\.lvd1689m"):
        resolve("timm:vit_base_patch16_dinov3.lvd1689m")
    with pytest.raises(BackboneUnavailableError, match=r"config\.json"):
        resolve(f"hf:{tmp_path}")


@pytest.mark.parametrize("place", ["/nowhere", "no--such/na..me"])
def test_a_folder_that_isnt_there_says_what_to_give(place):
    with pytest.raises(BackboneUnavailableError, match="hf download"):
        resolve(f"hf:{place}")


def test_a_size_that_patches_do_not_divide_is_refused_with_the_nearest_ones():
    with pytest.raises(UsageError, match="take 224 or 240"):
        contract_of("random:vit_small_patch16_dinov3", size_px=230)


def test_changed_weights_change_the_contract_although_a_hash_is_cached(tmp_path):
    file = tmp_path / "weights.pth"
    ids = []
    for value in (0.0, 1.0):
        torch.save(meta_tensors() | {"norm.weight": torch.full((1024,), value)}, file)
        ids.append(contract_of(f"meta:{file}").id)
    assert ids[0] != ids[1]
