import pytest
import torch

from lib.embedding.architectures import Vit
from lib.embedding.lean_vit import LeanVit
from lib.embedding.networks import VitFeatures


@pytest.mark.parametrize("is_gated", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_a_vit_written_for_runtimes_answers_as_the_one_it_was_made_of(is_gated, with_bias):
    torch.manual_seed(0)
    features = VitFeatures(Vit(128, 3, 2, 256, is_gated=is_gated), with_bias=with_bias).eval()
    with torch.no_grad():
        for parameter in features.parameters():  # scales, biases and registers too, which start at nothing
            parameter.normal_(std=0.3)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        for exact, lean in zip(features(images), LeanVit(features, 64).eval()(images), strict=True):
            torch.testing.assert_close(lean, exact, rtol=1e-4, atol=1e-4)
