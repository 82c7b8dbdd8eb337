"""What a batch of unit vectors costs: symmetric InfoNCE with smoothed labels, and the sigmoid loss. torch."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

# exp(-2 x 40) is still a full float32.
_SAFE_SCALE = 40.0
_BLOCK = 64
Places = tuple[np.ndarray, np.ndarray]


def infonce(
    left: "torch.Tensor",
    right: "torch.Tensor",
    scale: "torch.Tensor",
    *,
    smoothing: float,
    positives: Places | None,
) -> "torch.Tensor":
    """Symmetric InfoNCE (van den Oord et al., 2018; CLIP): pair i is right, every other of the batch wrong.

    Args:
        left: (n, k) unit vectors.
        right: (n, k) unit vectors; row i belongs to row i of left.
        scale: One over the temperature.
        smoothing: Share of the target that is spread over all that are no other positives.
        positives: (i, j) off the diagonal that are positives too: they leave the sum.
    """
    import torch

    scaled, n = scale * left, len(left)
    own = (scaled * right).sum(1)
    # The mean of a row needs no pass over it: it is the product with the mean vector.
    row_sum, column_sum = scaled @ right.sum(0), right @ scaled.sum(0)
    rows = columns = torch.full_like(own, float(n))
    places = None
    if positives is not None:
        i, j = places = tuple(torch.from_numpy(np.asarray(p, np.int64)) for p in positives)
        left_out = (scaled[i] * right[j]).sum(1)
        row_sum, column_sum = row_sum.index_add(0, i, -left_out), column_sum.index_add(0, j, -left_out)
        one = torch.ones_like(left_out)
        rows, columns = rows.index_add(0, i, -one), columns.index_add(0, j, -one)
    if float(scale.detach()) <= _SAFE_SCALE:
        normalisers = _normalisers_of(scaled, right, float(scale.detach()), places)
    else:
        alike = scaled @ right.T
        if places is not None:
            alike = alike.index_put(places, torch.full_like(alike[places], -1e4))
        normalisers = alike.logsumexp(1).sum() + alike.logsumexp(0).sum()
    pulls = 2 * (1 - smoothing) * own.sum() + smoothing * (row_sum / rows + column_sum / columns).sum()
    return (normalisers - pulls) / (2 * n)


def _normalisers_of(
    scaled: "torch.Tensor", right: "torch.Tensor", scale: float, places: "tuple[torch.Tensor, ...] | None"
) -> "torch.Tensor":
    """Sum of the log-sum-exps of all rows and columns of scaled rightᵀ, with one exponential of each cell.

    Rows and columns share it because no cell is above `scale`, nor so far below that it vanishes. torch's own
    two logsumexps and their way back took as long as all of the epoch's matrix products.
    """
    import torch

    class Normalisers(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, scaled: "torch.Tensor", right: "torch.Tensor") -> "torch.Tensor":
            cells = torch.mm(scaled, right.T).sub_(scale).exp_()
            if places is not None:
                cells[places] = 0.0
            ctx.save_for_backward(scaled, right)
            ctx.cells, ctx.sums = cells, (cells.sum(1), cells.sum(0))
            return ctx.sums[0].log().sum() + ctx.sums[1].log().sum() + 2 * scale * len(cells)

        @staticmethod
        def backward(ctx: Any, above: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
            scaled, right = ctx.saved_tensors
            rows, columns = ctx.sums
            shares = ctx.cells
            # exp / row sum + exp / column sum, made in blocks that stay in the cache, where the exps were.
            for start in range(0, len(shares), _BLOCK):
                block = slice(start, start + _BLOCK)
                shares[block].mul_((above / columns)[None] + (above / rows[block])[:, None])
            return shares @ right, shares.T @ scaled

    return Normalisers.apply(scaled, right)


def pairwise_sigmoid(
    left: "torch.Tensor",
    right: "torch.Tensor",
    scale: "torch.Tensor",
    bias: "torch.Tensor",
    *,
    positives: Places | None,
) -> "torch.Tensor":
    """The sigmoid loss (Zhai et al., 2023): each pair of the batch is told right or wrong by itself.

    Shapes as in `infonce`; `bias` is added to each scaled cosine. Other positives count as right.
    """
    import torch

    logits = scale * (left @ right.T) + bias
    sign = torch.full_like(logits, -1.0)
    sign.fill_diagonal_(1.0)
    if positives is not None:
        i, j = (torch.from_numpy(np.asarray(p, np.int64)) for p in positives)
        sign[i, j] = 1.0
    return -torch.nn.functional.logsigmoid(sign * logits).sum() / len(left)
