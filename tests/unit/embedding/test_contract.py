import subprocess
import sys
from dataclasses import replace

import pytest

from lib.embedding.contract import Contract, Preprocessing, require_same
from lib.errors import ContractMismatchError, UsageError

CONTRACT = Contract(
    backbone="DINOv3 ViT-S/16 (LVD-1689M)",
    architecture="vit_small_patch16_dinov3_lvd1689m",
    weights_sha256="08c60483" + "0" * 56,
    preprocessing=Preprocessing(),
    layers=("norm",),
    pooling=("cls", "patch_mean"),
    cls_dim=384,
    patch_dim=384,
    grid=(14, 14),
)


def test_id_is_readable_and_stays_what_it_was_in_lakes_already_written():
    assert CONTRACT.id == "vit_small_patch16_dinov3_lvd1689m-224-052476c7"


@pytest.mark.parametrize(
    "change",
    [
        {"weights_sha256": "f" * 64},
        {"preprocessing": Preprocessing(mean=(0.43, 0.411, 0.296))},
        {"preprocessing": Preprocessing(std=(0.213, 0.156, 0.143))},
        {"preprocessing": Preprocessing(resize="crop")},
        {"preprocessing": Preprocessing(interpolation="bicubic, antialiased")},
        {"layers": ("blocks.10",)},
        {"pooling": ("cls", "patch_mean", "patch_grid")},
        {"cls_dim": 768},
        {"grid": (7, 28)},
        {"dtype": "float32"},
    ],
    ids=str,
)
def test_whatever_changes_a_vectors_meaning_changes_the_id(change):
    assert replace(CONTRACT, **change).id != CONTRACT.id


def test_a_better_name_for_people_keeps_the_id():
    assert replace(CONTRACT, backbone="DINOv3 small").id == CONTRACT.id


def test_json_gives_the_same_contract_back():
    assert Contract.from_json(CONTRACT.to_json()) == CONTRACT


def test_comparing_two_contracts_names_both_and_the_remedy():
    other = replace(CONTRACT, weights_sha256="f" * 64)
    with pytest.raises(ContractMismatchError) as caught:
        require_same(CONTRACT, other)
    assert CONTRACT.id in str(caught.value)
    assert other.id in str(caught.value)
    assert "dinolake run" in str(caught.value)


def test_equal_contracts_compare_by_object_or_by_id():
    require_same(CONTRACT, replace(CONTRACT))
    require_same(CONTRACT.id, CONTRACT)


@pytest.mark.parametrize("pooling", [("patch_mean",), ("cls", "cls"), ("cls", "mean"), ()])
def test_a_pooling_that_cannot_be_is_refused(pooling):
    with pytest.raises(UsageError, match="'cls'"):
        replace(CONTRACT, pooling=pooling)


def test_knowing_a_contract_imports_nothing_heavy():
    code = (
        "import sys; from lib.embedding.backbones import contract_of;"
        "print(contract_of('efficientnet_lite0').id);"
        "print([m for m in ('torch', 'timm', 'openvino', 'PIL', 'transformers') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split("\n")[:2] == ["efficientnet_lite0-224-c567ce63", "[]"]
