import numpy as np
import pytest

from lib.tasks import frame_scores
from lib.tasks.frame_scores import score_frames


def film(scenes, *, seed=0):
    """Unit features: 8 noisy frames of each scene in turn."""
    rng = np.random.default_rng(seed)
    looks = rng.normal(size=(max(scenes) + 1, 24))
    features = np.repeat(looks[scenes], 8, axis=0) + 0.15 * rng.normal(size=(8 * len(scenes), 24))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)


def slow_scores(features, others=None):
    n = len(features)
    distance = [[2 - 2 * float(a @ b) for b in features] for a in features]
    near = round(0.1 * n)
    unlike = [np.mean(sorted(d for j, d in enumerate(distance[i]) if j != i)[:near]) for i in range(n)]
    typical = [np.log(np.mean([np.exp(-2 * d) for d in row])) for row in distance]
    terms = [np.array(unlike), np.array(typical)]
    if others is not None:
        common = [np.log(np.mean([np.exp(4 * float(f @ o)) for o in others])) for f in features]
        terms.append(-np.array(common))
    product = np.prod([(t - t.min()) / (t.max() - t.min()) for t in terms], axis=0)
    raw = np.exp(product - 1)
    weights = np.exp(-0.5 * np.arange(-4, 5) ** 2)
    mirrored = np.concatenate([raw[3::-1], raw, raw[:-5:-1]])
    return np.convolve(mirrored, weights / weights.sum(), mode="valid")


@pytest.mark.parametrize("with_others", [False, True])
def test_frame_scores_equal_their_definition_computed_pair_by_pair(with_others, monkeypatch):
    monkeypatch.setattr(frame_scores, "_BLOCK_CELLS", 700)  # several blocks
    features = film([0, 1, 2, 0, 3, 1])
    others = film([0, 1], seed=9) if with_others else None
    assert score_frames(features, others=others) == pytest.approx(slow_scores(features, others), abs=1e-5)
