"""The original design's heads, as the naive column has them; on stored features. The only thing it is for."""

from typing import TYPE_CHECKING

import numpy as np

from lib.alignment.config import AlignerConfig
from lib.alignment.heads import Head, Net
from lib.alignment.pairs import Pairs
from lib.alignment.residual import CurveRow, calm_threads

if TYPE_CHECKING:
    import torch

DIM, TEMPERATURE, LEARNING_RATE, BATCH, EPOCHS = 512, 0.07, 1e-4, 64, 20


def fit_naive(
    train: Pairs, config: AlignerConfig, *, epochs: int = EPOCHS
) -> tuple[tuple[Head, Head], list[CurveRow]]:
    """One head a side: linear d to d, ReLU, linear d to 512, unit length; symmetric InfoNCE, Adam, 20 epochs.

    Made for CLS vectors. False negatives stay in the batch, as in the design.

    Args:
        train: Pairs of CLS vectors.
        config: Only its seed counts.
        epochs: The design's, or fewer to time one.
    """
    import torch
    from torch.nn.functional import cross_entropy, normalize

    draw = torch.Generator().manual_seed(config.seed)
    sides = [_layers(features.shape[1], draw) for features in (train.left, train.right)]
    optimiser = torch.optim.Adam([weight for side in sides for weight in side], lr=LEARNING_RATE)
    order, curve = np.random.default_rng(config.seed), []
    with calm_threads(len(train)):
        for epoch in range(1, epochs + 1):
            total = 0.0
            places = order.permutation(len(train))
            for start in range(0, len(places), BATCH):
                rows = train.pairs[places[start : start + BATCH]]
                made = []
                for number, features in enumerate((train.left, train.right)):
                    first, first_bias, second, second_bias = sides[number]
                    seen = torch.from_numpy(features[rows[:, number]]).float()
                    made.append(normalize((seen @ first + first_bias).relu() @ second + second_bias))
                logits, own = made[0] @ made[1].T / TEMPERATURE, torch.arange(len(rows))
                loss = (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                total += float(loss.detach()) * len(rows)
            curve.append(CurveRow("naive", config.seed, epoch, total / len(train), float("nan")))
    left, right = (
        Head(side[0].shape[0], nets=(Net(*(w.detach().numpy().copy() for w in side)),), has_shortcut=False)
        for side in sides
    )
    return (left, right), curve


def _layers(dim: int, draw: "torch.Generator") -> "list[torch.Tensor]":
    """Weights and biases of both layers, as torch's own linear layers start."""
    import torch

    bound = dim**-0.5
    shapes = ((dim, dim), (dim,), (dim, DIM), (DIM,))
    layers = [torch.empty(shape).uniform_(-bound, bound, generator=draw) for shape in shapes]
    for weight in layers:
        weight.requires_grad_()
    return layers
