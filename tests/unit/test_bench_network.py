"""What the bench counts of a network, and what it says where it can't measure."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lib.embedding.architectures import Vit
from lib.embedding.networks import VitFeatures

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("is_gated", [False, True])
def test_a_vits_flops_are_those_that_torch_counts(is_gated, monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from bench.peak import vit_gflop

    architecture = Vit(128, 2, 2, 512, is_gated=is_gated)
    features = VitFeatures(architecture, with_bias=False).eval()
    # Attention as plain matrix products, which torch's counter knows.
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        features(torch.zeros(1, 3, 96, 96))
    assert vit_gflop(architecture, 96) == pytest.approx(counter.get_total_flops() / 1e9, rel=1e-3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here, and would be measured")
def test_without_a_gpu_its_bench_says_so_in_one_sentence_and_fails():
    ended = subprocess.run([sys.executable, "-m", "bench.gpu"], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == "There is no GPU here that torch can use: nothing was measured.\n"
    assert ended.stdout == ""
