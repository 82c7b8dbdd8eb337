"""What a machine without a GPU can show."""

import pytest
import torch

from lib.embedding.architectures import Vit
from lib.embedding.backbones import contract_of
from lib.embedding.cuda_runtime import best_batch, halved, run_at_once, that_fits
from lib.embedding.networks import VitFeatures
from lib.embedding.runtimes import with_readout


class FullError(Exception):
    pass


def is_full(error):
    return isinstance(error, FullError)


def test_batches_grow_as_long_as_it_pays():
    times = {16: 4.0, 32: 3.0, 64: 2.95, 128: 1.0}
    assert best_batch(times.__getitem__, is_full=is_full) == 32


def test_a_batch_that_does_not_fit_ends_the_search_with_the_last_that_did():
    def seconds_of(batch):
        if batch > 64:
            raise FullError
        return 1 / batch

    assert best_batch(seconds_of, is_full=is_full) == 64


def test_where_a_compiled_batch_does_not_fit_half_of_it_is_tried_until_it_does():
    tried = []

    def made(batch):
        tried.append(batch)
        if batch > 8:
            raise FullError
        return batch

    assert that_fits(made, 64, is_full=is_full) == 8
    assert tried == [64, 32, 16, 8]


def test_a_gpu_that_holds_not_one_picture_says_so():
    def made(batch):
        raise FullError

    with pytest.raises(FullError):
        that_fits(made, 4, is_full=is_full)


def test_another_error_is_no_lack_of_memory():
    def fails(batch):
        raise ValueError

    with pytest.raises(ValueError):
        best_batch(fails, is_full=is_full)
    with pytest.raises(ValueError):
        that_fits(fails, 4, is_full=is_full)


def test_few_pictures_run_by_themselves_and_more_in_a_full_batch():
    assert [run_at_once(filled, 8) for filled in (1, 3, 4, 7, 8)] == [1, 3, 8, 8, 8]


def test_matrices_halved_beforehand_answer_as_autocast_does():
    torch.manual_seed(0)
    contract = contract_of("random:vit_64x2_patch16_dinov3", size_px=64)
    readout = with_readout(VitFeatures(Vit(64, 2, 1, 256), with_bias=True), contract)
    with torch.no_grad():
        for parameter in readout.parameters():
            parameter.normal_(std=0.3)
    pictures = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        exact = readout(pictures)
        for ours, theirs in zip(halved(readout)(pictures), exact, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
