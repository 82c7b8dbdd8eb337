import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from lib.tasks.shots import ShotRules, find_shots, frame_edges


def film(lengths, *, noise, seed=0, dim=16):
    """Unit features of scenes that drift a little, one noisy vector a frame."""
    rng = np.random.default_rng(seed)
    frames = []
    for length in lengths:
        start, end = rng.normal(size=(2, dim))
        drift = np.linspace(0, 0.2, length)[:, None]
        frames.append(start + drift * (end - start) + noise * rng.normal(size=(length, dim)))
    features = np.concatenate(frames)
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)


def direct_kts(features, *, least, penalty):
    """The original algorithm: dynamic programming over every number of cuts, on the full Gram matrix."""
    gram = features.astype(float) @ features.T.astype(float)
    n = len(gram)
    cost = np.full((n + 1, n + 1), np.inf)
    for i in range(n):
        for j in range(i + least, n + 1):
            cost[i, j] = np.trace(gram[i:j, i:j]) - gram[i:j, i:j].sum() / (j - i)
    total = np.full((n // least + 1, n + 1), np.inf)
    start = np.zeros(total.shape, dtype=int)
    total[0, 0] = 0
    for shots in range(1, len(total)):
        for j in range(1, n + 1):
            options = total[shots - 1, :j] + cost[:j, j]
            start[shots, j], total[shots, j] = options.argmin(), options.min()
    cuts = np.arange(1, len(total) - 1)
    criterion = total[1:, n] / n
    criterion[1:] += penalty * cuts / (2 * n) * (np.log(n / cuts) + 1)
    shots = int(criterion.argmin()) + 1
    bounds = [n]
    for left in range(shots, 0, -1):
        bounds.append(int(start[left, bounds[-1]]))
    return bounds[::-1]


@pytest.mark.parametrize("penalty", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("least", [1, 3])
def test_shots_equal_dynamic_programming_over_every_number_of_cuts(least, penalty):
    for seed in range(12):
        lengths = np.random.default_rng(seed).integers(2, 12, 5)
        features = film(lengths, noise=(0.1, 0.5, 1.5)[seed % 3], seed=seed)
        edges = np.arange(len(features) + 1.0)  # a frame a second
        found = find_shots(features, edges, ShotRules(min_shot_s=least, penalty=penalty))
        assert found.tolist() == direct_kts(features, least=least, penalty=penalty)


@pytest.mark.parametrize("per_second", [1, 2, 4])
@pytest.mark.parametrize("scene_s", [2, 5])
def test_planted_cuts_of_a_short_film_are_found_and_no_others(per_second, scene_s):
    features = film([per_second * scene_s] * 8, noise=0.25, seed=per_second)
    edges = frame_edges(np.arange(len(features)) / per_second, len(features) / per_second)
    assert find_shots(features, edges).tolist() == list(range(0, len(features) + 1, per_second * scene_s))


def test_a_film_that_does_not_change_is_one_shot():
    features = np.repeat(film([1], noise=0), 50, axis=0)
    assert find_shots(features, np.arange(51.0)).tolist() == [0, 50]


@pytest.mark.parametrize(("frames", "expected"), [(0, [0]), (1, [0, 1])])
def test_a_film_of_one_frame_or_none_has_no_cut(frames, expected):
    assert find_shots(film([2], noise=1)[:frames], np.arange(frames + 1.0)).tolist() == expected


def test_a_film_shorter_than_a_shot_is_one_shot():
    features = film([4, 4], noise=0.1)
    assert find_shots(features, np.linspace(0, 0.9, 9)).tolist() == [0, 8]


def test_no_shot_is_shorter_than_allowed_however_unevenly_frames_were_sampled():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        times = np.cumsum(rng.choice([0.05, 0.4, 3.0], 60))
        edges = frame_edges(times, times[-1] + 0.5)
        found = find_shots(
            film([1] * 60, noise=0.5, seed=seed), edges, ShotRules(min_shot_s=1.5, penalty=0.01)
        )
        assert np.diff(edges[found]).min() >= 1.5 - 1e-6
        assert len(found) > 5


def test_many_frames_within_the_first_second_do_not_strand_the_search():
    edges = np.concatenate([np.linspace(0, 0.9, 40), np.arange(2.0, 12.0)])
    found = find_shots(film([45, 4], noise=0.1), edges, ShotRules(max_frames=3))
    assert (found[0], found[-1]) == (0, 49)


def test_a_shot_longer_than_the_limit_is_split_and_true_cuts_stay():
    found = find_shots(film([100, 20], noise=0.1), np.arange(121.0), ShotRules(max_frames=30))
    assert 100 in found
    assert np.diff(found).max() <= 30


def test_memory_grows_with_the_limit_on_a_shot_not_with_the_square_of_the_film():
    features = film([50] * 40, noise=0.3)
    tracemalloc.start()
    find_shots(features, np.arange(2001.0), ShotRules(max_frames=100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12e6  # a Gram matrix of float64 would take 32 MB


def test_frames_stand_for_the_film_up_to_the_middle_between_them():
    edges = frame_edges(np.array([0.0, 1.0, 3.0]), 3.5)
    assert edges.tolist() == [0.0, 0.5, 2.0, 3.5]
    assert all(a <= b for a, b in pairwise(frame_edges(np.array([0.0, 1.0, 9.0]), 8.0)))
