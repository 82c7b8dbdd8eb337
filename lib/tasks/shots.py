"""Where a film's shots change: kernel temporal segmentation (Potapov et al., ECCV 2014), linear kernel."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True, slots=True)
class ShotRules:
    """What a shot may be.

    Attributes:
        min_shot_s: No shot is shorter, unless the whole film is.
        max_frames: No shot holds more sampled frames than this, give or take `min_shot_s`: a longer one is
            split. It bounds time and memory (7,200 frames: 1.3 s on 2 cores, 52 MB).
        penalty: `vmax` of the original code, in the scale of unit vectors as they are (made unit again after
            centring they scatter more, and break into more shots). Larger gives fewer shots. At the
            original's 1, 10 of 40 films joined of 2 s scenes and sampled once a second fell into a single
            shot; at .8 none did.
    """

    min_shot_s: float = 1.0
    max_frames: int = 900
    penalty: float = 0.8


def frame_edges(times: np.ndarray, duration_s: float) -> np.ndarray:
    """The stretch of film that each sampled frame stands for, in seconds.

    A cut seen between two samples happened anywhere between them: their midpoint errs least.

    Args:
        times: When each frame is shown, ascending, shape (n,).
        duration_s: The film's length.

    Returns:
        Ascending edges, shape (n + 1,): frame i stands for edges[i] to edges[i + 1]; the first is 0, the last
        the film's end.
    """
    times = np.asarray(times, dtype=np.float64)
    if len(times) == 0:
        return np.zeros(1)
    middles = (times[1:] + times[:-1]) / 2
    return np.concatenate([[0.0], middles, [max(duration_s, float(times[-1]))]])


def find_shots(features: np.ndarray, edges_s: np.ndarray, rules: ShotRules | None = None) -> np.ndarray:
    """Split a film into shots, their number chosen by the penalised criterion of the original code.

    With J(m) the least sum over shots of sum ||x||^2 - ||sum x||^2 / length for m cuts among n frames, it
    minimises J(m) / n + penalty * m / (2 n) * (log(n / m) + 1). That penalty is concave in m, so the
    minimiser lies on the lower convex hull of J, and every point there minimises J(m) + price * m for some
    price: a pass in O(n * max_frames) each. The passes cut off what can't win any more (about ten are
    needed), so that no table over m is filled.

    Args:
        features: One vector a frame, shape (n, dim).
        edges_s: From `frame_edges`, shape (n + 1,), seconds.
        rules: What a shot may be; the defaults if None.

    Returns:
        The shots' first frames, then n: ascending, shape (shots + 1,), int64. Of equal splits the coarser is
        given.
    """
    rules = rules or ShotRules()
    n = len(features)
    if n < 2:
        return np.array([0, n], dtype=np.int64)[: n + 1]
    first, last = _allowed_starts(np.asarray(edges_s, dtype=np.float64), rules)
    if last[n] < 0:  # the film is shorter than one shot
        return np.array([0, n], dtype=np.int64)
    centred = np.asarray(features, dtype=np.float64)
    # Scatter doesn't move with the mean, and sums that stay small keep their digits.
    centred = centred - centred.mean(axis=0)
    costs = _shot_costs(centred, first, last)
    cuts = np.arange(n)
    # log(n / m) at m = 0 is multiplied by m = 0.
    penalty = rules.penalty * cuts / (2 * n) * (np.log(n / np.maximum(cuts, 1)) + 1)
    return _cheapest(costs, first, penalty=penalty, dearest=float((centred**2).sum()) + 1.0)


def _allowed_starts(edges: np.ndarray, rules: ShotRules) -> tuple[np.ndarray, np.ndarray]:
    """First and last frame where a shot that ends before frame j may start; last is -1 where none may."""
    last = np.searchsorted(edges, edges - (rules.min_shot_s - 1e-9), side="right") - 1
    last = np.minimum(last, np.arange(len(edges)) - 1)
    first = np.maximum(last - rules.max_frames + 1, 0)
    # Where no earlier shot can end, none can start: let such shots reach back to the film's beginning.
    stranded = (last > 0) & (last[np.maximum(last, 0)] < 0)
    first[stranded] = 0
    return first, last


def _shot_costs(centred: np.ndarray, first: np.ndarray, last: np.ndarray) -> list[np.ndarray]:
    """Scatter of every allowed shot: entry j holds those that end before frame j, by start from first[j]."""
    sums = np.concatenate([np.zeros((1, centred.shape[1])), np.cumsum(centred, axis=0)])
    squares = np.concatenate([[0.0], np.cumsum(np.einsum("nd,nd->n", centred, centred))])
    lengths = np.einsum("nd,nd->n", sums, sums)
    costs: list[np.ndarray] = []
    n, block = len(centred), 256
    for begin in range(0, n + 1, block):
        ends = range(begin, min(begin + block, n + 1))
        low, high = int(first[ends[0] : ends[-1] + 1].min()), int(last[ends[-1]]) + 1
        products = sums[begin : ends[-1] + 1] @ sums[low : max(high, low)].T
        for j in ends:
            starts = np.arange(first[j], last[j] + 1)
            of_sums = lengths[j] + lengths[starts] - 2 * products[j - begin, starts - low]
            costs.append(np.maximum(squares[j] - squares[starts] - of_sums / (j - starts), 0.0))
    return costs


def _cheapest(
    costs: list[np.ndarray], first: np.ndarray, *, penalty: np.ndarray, dearest: float
) -> np.ndarray:
    """Minimise J(m) / n + penalty[m] by cutting planes (`find_shots`); no cut saves as much as `dearest`."""
    n = len(costs) - 1
    counts = np.arange(n)
    floor = np.zeros(n)  # no J(m) that could still win lies below this
    found: dict[int, tuple[float, np.ndarray]] = {}

    def try_price(price: float) -> int:
        bounds = _split(costs, first, price=price)
        cuts = len(bounds) - 2
        total = float(sum(costs[end][start - first[end]] for start, end in pairwise(bounds)))
        if cuts not in found or total < found[cuts][0]:
            found[cuts] = (total, bounds)
        np.maximum(floor, total + price * (cuts - counts), out=floor)
        return cuts

    floor[: try_price(dearest)] = np.inf  # so dear that no split has fewer cuts
    floor[try_price(0.0) + 1 :] = np.inf  # more cuts than this save nothing
    while True:
        for cuts, (total, _) in found.items():
            floor[cuts] = total
        promising = int(np.argmin(floor / n + penalty))
        if promising in found:
            return found[promising][1]
        left = max(cuts for cuts in found if cuts < promising)
        right = min(cuts for cuts in found if cuts > promising)
        if try_price((found[left][0] - found[right][0]) / (right - left)) in (left, right):
            # All between lie on or above the line through these two, so one of these is as good.
            floor[left + 1 : right] = np.inf


def _split(costs: list[np.ndarray], first: np.ndarray, *, price: float) -> np.ndarray:
    """The split with the least sum of costs + price a shot (optimal partitioning, Jackson et al. 2005)."""
    n = len(costs) - 1
    least = np.full(n + 1, np.inf)
    least[0] = 0.0
    start = np.zeros(n + 1, dtype=np.int64)
    for j in range(1, n + 1):
        if len(costs[j]):
            totals = costs[j] + least[first[j] : first[j] + len(costs[j])]
            best = int(totals.argmin())
            least[j] = totals[best] + price
            start[j] = first[j] + best
    bounds = [n]
    while bounds[-1]:
        bounds.append(int(start[bounds[-1]]))
    return np.array(bounds[::-1], dtype=np.int64)
