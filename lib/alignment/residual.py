"""The residual head: a small net that starts at zero on a closed form. Trained by torch, run by numpy."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.alignment.batches import Batches, Duplicates
from lib.alignment.config import AlignerConfig
from lib.alignment.heads import Head, Net
from lib.alignment.losses import infonce, pairwise_sigmoid
from lib.alignment.pairs import Pairs
from lib.alignment.recall import Score

if TYPE_CHECKING:
    import torch

Heads = tuple[Head, Head]
# A side whose projected rows fit into so many bytes is projected once, not in every batch.
_KEPT_BYTES = 256 << 20
_HOTTEST = 100.0
_SIGMOID_SCALE, _SIGMOID_BIAS = 20.0, -10.0
_COARSE_DIMS = 16
# What comes out of a net is scaled by this over h sqrt(k), so that the first steps, which Adam makes equally
# large for every weight, turn the unit vectors a little, whatever the width. Unscaled, they undid the closed
# form: from R@1 .725 to .50 with 2,048 hidden units.
_STEP = 512.0


@dataclass(frozen=True, slots=True)
class CurveRow:
    """One epoch of one net: its mean loss over the folds, and R@1 of all nets averaged on validation."""

    rung: str
    seed: int
    epoch: int
    loss: float
    validation: float


class Training:
    """One net a side in training on top of a closed form."""

    def __init__(self, train: Pairs, base: Heads, config: AlignerConfig, *, number: int):
        """Start at zero: until the first step the heads are the closed form.

        Args:
            train: What is learned from.
            base: The closed form, fitted on the same pairs.
            config: Settings.
            number: Of the net; its batches and weights are its own.
        """
        import torch

        self._config, self._base, self._train = config, base, train
        seed = config.seed * 1000 + number
        self._draw = torch.Generator().manual_seed(seed)
        self._sides = tuple(
            _Side(features, rows, head, config, self._draw)
            for features, rows, head in zip(
                (train.left, train.right), (train.used(0), train.used(1)), base, strict=True
            )
        )
        is_sigmoid = config.loss == "sigmoid"
        start = _SIGMOID_SCALE if is_sigmoid else 1 / config.temperature
        self._heat = torch.tensor(float(np.log(start)), requires_grad=True)
        self._bias = torch.tensor(_SIGMOID_BIAS, requires_grad=is_sigmoid)
        weights = [w for side in self._sides for w in side.weights]
        self._optimiser = torch.optim.AdamW(
            [
                {"params": weights, "weight_decay": config.weight_decay},
                {"params": [self._heat, self._bias] if is_sigmoid else [self._heat], "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
        )
        wants_runs = config.hard_negatives and len(train) > config.batch
        coarse = self._sides[1].coarse(train.pairs[:, 1]) if wants_runs else None
        self._batches = Batches(train, coarse, batch=config.batch, seed=seed)
        self._duplicates = Duplicates(train)

    def epoch(self) -> float:
        """Learn from every pair once; the mean loss."""
        import torch

        total = 0.0
        for batch in self._batches.epoch():
            rows = self._train.pairs[batch]
            left, right = (side.forward(rows[:, i]) for i, side in enumerate(self._sides))
            scale, positives = self._heat.exp(), self._duplicates.within(batch)
            if self._config.loss == "sigmoid":
                loss = pairwise_sigmoid(left, right, scale, self._bias, positives=positives)
            else:
                smoothing = self._config.label_smoothing
                loss = infonce(left, right, scale, smoothing=smoothing, positives=positives)
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self._optimiser.step()
            with torch.no_grad():
                self._heat.clamp_(max=float(np.log(_HOTTEST)))
            total += float(loss.detach()) * len(batch)
        return total / max(1, len(self._train))

    @property
    def temperature(self) -> float:
        """As it is by now."""
        return float((-self._heat).exp())

    def nets(self) -> tuple[Net, Net]:
        """Copies of both sides' nets."""
        return self._sides[0].net(), self._sides[1].net()


class _Side:
    """A side's features on their way into its net."""

    def __init__(
        self,
        features: np.ndarray,
        used: np.ndarray,
        head: Head,
        config: AlignerConfig,
        draw: "torch.Generator",
    ):
        import torch

        self._features, self._dropout, self._draw = features, config.dropout, draw
        self._project = None if head.project is None else torch.from_numpy(head.project)
        shift = head.projected(np.zeros((1, head.dim), np.float32))
        self._shift = torch.from_numpy(shift)
        self._base = None if head.base is None else torch.from_numpy(head.base)
        inside, outside = shift.shape[1], head.out
        bound = inside**-0.5
        self._step = _STEP / (config.hidden * outside**0.5)
        first = torch.empty(inside, config.hidden).uniform_(-bound, bound, generator=draw)
        self.weights = [
            first,
            torch.zeros(config.hidden),
            torch.zeros(config.hidden, outside),
            torch.zeros(outside),
        ]
        for weight in self.weights:
            weight.requires_grad_()
        self._place, self._kept = None, None
        if len(used) * inside * 4 <= _KEPT_BYTES:
            self._place = np.full(len(features), -1)
            self._place[used] = np.arange(len(used))
            self._kept = self._projected(used)

    def forward(self, rows: np.ndarray) -> "torch.Tensor":
        """(n, k) unit vectors of features' rows, with what training needs to go back."""
        import torch
        from torch.nn.functional import normalize

        if self._place is None or self._kept is None:
            p = self._projected(rows)
        else:
            p = self._kept[torch.from_numpy(self._place[rows])]
        seen = normalize(p)
        z = seen if self._base is None else normalize(p @ self._base)
        seen = seen * p.shape[1] ** 0.5
        if self._dropout:
            kept = torch.rand(seen.shape, generator=self._draw) >= self._dropout
            seen = seen * kept / (1 - self._dropout)
        first, first_bias, second, second_bias = self.weights
        hidden = torch.addmm(first_bias, seen, first).relu_()
        return normalize(z + self._step * torch.addmm(second_bias, hidden, second))

    def coarse(self, rows: np.ndarray) -> np.ndarray:
        """(n, c) float32: a few directions of features' rows, by which neighbours are told."""
        parts = [
            self._projected(rows[start : start + 8192])[:, :_COARSE_DIMS].numpy().copy()
            for start in range(0, len(rows), 8192)
        ]
        return np.concatenate(parts)

    def net(self) -> Net:
        first, first_bias, *second = (weight.detach().numpy().copy() for weight in self.weights)
        return Net(first, first_bias, *(weight * np.float32(self._step) for weight in second))

    def _projected(self, rows: np.ndarray) -> "torch.Tensor":
        import torch

        values = torch.from_numpy(self._features[rows]).float()
        return (
            values + self._shift if self._project is None else torch.addmm(self._shift, values, self._project)
        )


def with_nets(base: Heads, trainings: Sequence[Training]) -> Heads:
    """The closed form with what the nets have learned by now."""
    nets = [training.nets() for training in trainings]
    left, right = (replace(head, nets=tuple(net[side] for net in nets)) for side, head in enumerate(base))
    return left, right


@dataclass(frozen=True, slots=True)
class Chosen:
    """How long to train: the epoch that was best on validation (0: not at all), its score, and the curve."""

    epochs: int
    score: Score
    curve: list[CurveRow]


def choose_epochs(
    folds: Sequence[tuple[Pairs, Heads]],
    judge: Callable[[Sequence[Heads]], Score],
    config: AlignerConfig,
) -> Chosen:
    """Train on all folds in step and say after which epoch their averaged nets were best.

    Args:
        folds: The training side of each, and the closed form fitted on it.
        judge: Scores a fold's heads each on what the folds hold out.
        config: Settings.
    """
    with calm_threads(max(len(train) for train, _ in folds)):
        runs = [[Training(t, base, config, number=n) for n in range(config.nets)] for t, base in folds]
        best, best_epoch = judge([base for _, base in folds]), 0
        curve: list[CurveRow] = []
        for epoch in range(1, config.epochs + 1):
            losses = np.array([[training.epoch() for training in run] for run in runs]).mean(axis=0)
            score = judge([with_nets(base, run) for (_, base), run in zip(folds, runs, strict=True)])
            curve += [
                CurveRow("residual", n, epoch, float(loss), score.at_1) for n, loss in enumerate(losses)
            ]
            if score.mrr > best.mrr:
                best, best_epoch = score, epoch
            if epoch - best_epoch >= config.patience:
                break
    return Chosen(best_epoch, best, curve)


def fit_residual(train: Pairs, base: Heads, config: AlignerConfig, *, epochs: int) -> Heads:
    """Train for so many epochs on all pairs: the same seed gives the same weights on the same machine."""
    with calm_threads(len(train)):
        trainings = [Training(train, base, config, number=n) for n in range(config.nets)]
        for _ in range(epochs):
            for training in trainings:
                training.epoch()
        return with_nets(base, trainings)


@contextmanager
def calm_threads(pairs: int) -> Iterator[None]:
    """Small products on one thread: shared among several on a busy machine, they took 13 times as long."""
    import torch
    from threadpoolctl import threadpool_limits

    from lib.embedding.runtimes import usable_threads

    before: Any = torch.get_num_threads()
    threads = 1 if pairs < 5000 else usable_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)
