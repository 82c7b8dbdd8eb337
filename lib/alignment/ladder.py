"""Which head is published: a ladder of them, each held out within train, and the best fitted on all of it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lib.alignment.closed_form import CLOSED_FORMS, Heads
from lib.alignment.config import AlignerConfig
from lib.alignment.heads import Aligner
from lib.alignment.naive import fit_naive
from lib.alignment.pairs import Pairs, split_by_group
from lib.alignment.recall import Score, recalls
from lib.alignment.residual import CurveRow, calm_threads, choose_epochs, fit_residual
from lib.errors import AlignerError

RUNGS = (*CLOSED_FORMS, "residual", "naive")
# Where nothing can be held out: what was best wherever it could.
_UNTRIED = ("whitened", "cca", "ridge", "standardised", "raw_cosine")
# From so many pairs on, some are held out once: a tenth, but no more than that.
_ENOUGH_PAIRS, _HELD_OUT = 3000, 5000
_COLLAPSED = 1e-3


@dataclass(frozen=True, slots=True)
class Rung:
    """A head on validation.

    Attributes:
        name: Of `RUNGS`.
        left_to_right: R@1 of held-out left contents among held-out right ones; None where none was held out.
        right_to_left: The other way.
        mrr: Mean reciprocal rank, the mean of both ways: what decides. Finer than R@1 on few pairs.
        seconds: That fitting and validating took.
        note: Why it was left out; "" where it wasn't.
    """

    name: str
    left_to_right: float | None
    right_to_left: float | None
    mrr: float | None
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What `fit_ladder` gives.

    Attributes:
        aligner: The chosen one, fitted on all of train.
        rungs: All of them, in the ladder's order.
        curve: Losses by rung, seed and epoch.
        chosen: The name of the published rung.
        facts: What was measured of it.
        rung_aligners: Every rung that could be fitted, on all of train, so that a report can show it on test.
            `naive`, and `raw_cosine` where `plain` was given, take the plain features.
    """

    aligner: Aligner
    rungs: list[Rung]
    curve: list[CurveRow]
    chosen: str
    facts: dict[str, Any]
    rung_aligners: dict[str, Aligner]


def fit_ladder(
    train: Pairs,
    config: AlignerConfig,
    *,
    plain: Pairs | None = None,
    say: Callable[[str], None] = lambda told: None,
) -> Fitted:
    """Fit every rung, choose one on validation within train, and fit all of them on all of train.

    Args:
        train: The training pairs; nothing of the test side.
        config: Settings.
        plain: The same pairs on the original design's features (CLS), which `raw_cosine` and `naive` are
            fitted on for comparison; they are never published then.
        say: Is told what is going on.

    Raises:
        AlignerError: There is no pair, or no rung can be fitted.
    """
    with calm_threads(len(train)):
        return _Ladder(train, config, plain, say).climb()


class _Ladder:
    """The state of one climb: what each rung came to."""

    def __init__(self, train: Pairs, config: AlignerConfig, plain: Pairs | None, say: Callable[[str], None]):
        if not len(train):
            raise AlignerError("there is no pair to fit an aligner on: the train side needs at least one")
        self._train, self._config, self._say = train, config, say
        self._plain = train if plain is None else plain
        self._aside = {"naive"} if plain is None else {"naive", "raw_cosine"}
        self._folds = _folds(train, config)
        self._fold_heads: dict[str, list[Heads]] = {}
        self._heads: dict[str, Heads] = {}
        self._scores: dict[str, Score] = {}
        self._rungs: list[Rung] = []
        self._curve: list[CurveRow] = []
        self._epochs = 0

    def climb(self) -> Fitted:
        """Rung by rung, then the choice."""
        for name in CLOSED_FORMS:
            self._try(name, partial(self._closed, name))
        base = self._best([name for name in _UNTRIED if name in self._heads])
        self._try("residual", lambda: self._residual(base))
        self._try("naive", self._naive)
        chosen = self._chosen()
        facts = self._facts(chosen, base)
        made = {
            name: Aligner(*heads, name, self._config, facts if name == chosen else {})
            for name, heads in self._heads.items()
        }
        return Fitted(made[chosen], self._rungs, self._curve, chosen, facts, made)

    def _try(self, name: str, make: Callable[[], Score | None]) -> None:
        began = time.perf_counter()
        note, score = "", None
        try:
            score = make()
            if name == "residual" and not self._epochs:
                note = "no epoch was better than the closed form it starts from"
        except AlignerError as error:
            note = str(error)
        if score is not None:
            self._scores[name] = score
        seconds = time.perf_counter() - began
        if score is None:
            self._rungs.append(Rung(name, None, None, None, seconds, note))
            self._say(f"{name}: {note or 'fitted, with nothing held out to try it on'}")
            return
        there, back = (way.at_1 for way in score.recalls)
        self._rungs.append(Rung(name, there, back, score.mrr, seconds, note))
        self._say(
            f"{name}: validation R@1 {there:.3f}, back {back:.3f}, MRR {score.mrr:.3f}. {note}".rstrip()
        )

    def _closed(self, name: str) -> Score | None:
        pairs, fit = self._plain if name in self._aside else self._train, CLOSED_FORMS[name]
        heads = fit(pairs, self._config)
        parts = [fit(pairs.taken(kept), self._config) for kept, _ in self._folds]
        self._heads[name], self._fold_heads[name] = heads, parts
        return self._judged(pairs, parts)

    def _residual(self, base: str) -> Score:
        if not self._folds:
            raise AlignerError("all pairs are of one group: none can be held out to say when to stop")
        folds = [
            (self._train.taken(kept), heads)
            for (kept, _), heads in zip(self._folds, self._fold_heads[base], strict=True)
        ]

        def judge(heads: Sequence[Heads]) -> Score:
            score = self._judged(self._train, heads)
            if score is None:
                raise AlignerError("nothing was held out")
            return score

        found = choose_epochs(folds, judge, self._config)
        self._curve += found.curve
        self._epochs = found.epochs
        self._heads["residual"] = fit_residual(
            self._train, self._heads[base], self._config, epochs=found.epochs
        )
        return found.score

    def _naive(self) -> Score | None:
        self._heads["naive"], curve = fit_naive(self._plain, self._config)
        self._curve += curve
        parts = [fit_naive(self._plain.taken(kept), self._config)[0] for kept, _ in self._folds]
        return self._judged(self._plain, parts)

    def _judged(self, pairs: Pairs, parts: Sequence[Heads]) -> Score | None:
        """Each fold's heads on what it holds out; None where there are no folds."""
        made = []
        for (_, held), heads in zip(self._folds, parts, strict=True):
            own = pairs.taken(held)
            made.append(recalls(own, heads[0](own.left[own.used(0)]), heads[1](own.right[own.used(1)])))
        return Score.pooled(made) if made else None

    def _best(self, names: Sequence[str]) -> str:
        """The best on validation, the former of equals; without validation the first."""
        fit = [name for name in names if name in self._heads and name not in self._aside]
        if not fit:
            reasons = "; ".join(f"{rung.name}: {rung.note}" for rung in self._rungs if rung.note)
            raise AlignerError(f"no aligner can be fitted on {len(self._train)} pairs ({reasons})")
        return max(fit, key=lambda name: self._scores[name].mrr if name in self._scores else 0.0)

    def _chosen(self) -> str:
        wanted = self._config.publish
        if wanted == "auto":
            return self._best([*(n for n in _UNTRIED if n in self._heads), "residual"])
        if wanted in self._heads and wanted not in self._aside:
            return wanted
        note = next((rung.note for rung in self._rungs if rung.name == wanted), "")
        raise AlignerError(
            f"aligner.publish asks for {wanted}, which can't be published here "
            f"({note or 'it is fitted on other features, for comparison'}): set it to 'auto'"
        )

    def _facts(self, chosen: str, base: str) -> dict[str, Any]:
        train, heads, score = self._train, self._heads[chosen], self._scores.get(chosen)
        sides = [heads[i]((train.left, train.right)[i][_some(train.used(i))]) for i in (0, 1)]
        spreads = [spread(made) for made in sides]
        facts: dict[str, Any] = {
            "pairs": len(train),
            "groups": len(np.unique(train.groups)),
            "left": len(train.used(0)),
            "right": len(train.used(1)),
            "folds": len(self._folds),
            "base": base,
            "epochs": self._epochs,
            "spread": {"left": spreads[0], "right": spreads[1]},
            "is_collapsed": min(spreads) < _COLLAPSED,
            "validation": None,
            "is_above_chance": None,
            "left_out": {rung.name: rung.note for rung in self._rungs if rung.name not in self._heads},
        }
        if score is not None:
            facts["validation"] = {
                "queries": [len(way.ranks) for way in score.recalls],
                "recall_at_1": [way.at_1 for way in score.recalls],
                "chance": [way.chance for way in score.recalls],
                "mrr": score.mrr,
            }
            facts["is_above_chance"] = any(way.is_above_chance for way in score.recalls)
        return facts


def spread(vectors: np.ndarray) -> float:
    """How far unit vectors (n, k) lie apart: 1 - |their mean|^2, 0 where all are equal (or zeros)."""
    lengths = float(np.einsum("ij,ij->", vectors, vectors)) / max(1, len(vectors))
    mean = vectors.mean(axis=0, dtype=np.float64) if len(vectors) else np.zeros(1)
    return max(0.0, lengths - float(mean @ mean))


def _some(rows: np.ndarray) -> np.ndarray:
    """At most 10,000 rows, evenly taken."""
    return rows[:: -(-len(rows) // 10_000) or 1]


def _folds(train: Pairs, config: AlignerConfig) -> list[tuple[np.ndarray, np.ndarray]]:
    if len(train) < _ENOUGH_PAIRS:
        return split_by_group(train, folds=config.folds, seed=config.seed)
    share = max(10, -(-len(train) // _HELD_OUT))
    return split_by_group(train, folds=share, seed=config.seed)[:1]
