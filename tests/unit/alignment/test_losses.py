"""The losses of a batch, against their formulas spelled out."""

import numpy as np
import pytest
import torch

from lib.alignment.losses import infonce, pairwise_sigmoid

PLACES = (np.array([0, 4, 2]), np.array([3, 1, 5]))


def batch(n=6, k=4):
    draw = torch.Generator().manual_seed(0)
    made = [torch.randn(n, k, generator=draw, dtype=torch.float64) for _ in range(2)]
    return [torch.nn.functional.normalize(each).requires_grad_() for each in made]


def slow_infonce(left, right, scale, smoothing, places):
    """Each row and column by itself: minus the smoothed target's expected log probability."""
    alike = scale * left @ right.T
    is_in = torch.ones(len(left), len(left), dtype=torch.bool)
    if places is not None:
        is_in[places] = False
    costs = []
    for table, allowed in ((alike, is_in), (alike.T, is_in.T)):
        for i in range(len(table)):
            log_p = table[i][allowed[i]] - table[i][allowed[i]].exp().sum().log()
            costs.append(-(1 - smoothing) * (table[i, i] - table[i][allowed[i]].exp().sum().log()))
            costs[-1] = costs[-1] - smoothing * log_p.mean()
    return sum(costs) / len(costs)


@pytest.mark.parametrize("scale", [10.0, 60.0])
@pytest.mark.parametrize("places", [None, PLACES])
def test_infonce_and_its_gradients_are_those_of_the_formula(scale, places):
    made = []
    for is_slow in (False, True):
        left, right = batch()
        heat = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
        if is_slow:
            value = slow_infonce(left, right, heat, 0.1, places)
        else:
            value = infonce(left, right, heat, smoothing=0.1, positives=places)
        value.backward()
        made.append([value.detach(), left.grad, right.grad, heat.grad])
    for ours, slow in zip(*made, strict=True):
        torch.testing.assert_close(ours, slow)


def test_the_sigmoid_loss_tells_each_pair_by_itself():
    left, right = batch()
    scale, bias = torch.tensor(20.0, dtype=torch.float64), torch.tensor(-10.0, dtype=torch.float64)
    made = pairwise_sigmoid(left, right, scale, bias, positives=PLACES)
    right_ones = {(i, i) for i in range(6)} | set(zip(*(p.tolist() for p in PLACES), strict=True))
    slow = sum(
        torch.log1p(torch.exp(-(1 if (i, j) in right_ones else -1) * (20 * (left[i] @ right[j]) - 10)))
        for i in range(6)
        for j in range(6)
    )
    torch.testing.assert_close(made, slow / 6)
