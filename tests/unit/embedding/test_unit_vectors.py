import numpy as np

from lib.embedding.vectors import to_half, unit


def test_unit_length_is_made_in_float32_from_float16():
    stored = np.random.default_rng(0).normal(scale=300, size=(3, 2, 384)).astype(np.float16)
    exact = stored.astype(np.float64) / np.sqrt((stored.astype(np.float64) ** 2).sum(-1, keepdims=True))
    assert unit(stored).dtype == np.float32
    np.testing.assert_allclose(unit(stored), exact, atol=1e-7)


def test_vectors_of_zeros_stay_zeros():
    assert unit(np.zeros((2, 4), np.float16)).tolist() == [[0.0] * 4] * 2


def test_a_vector_too_large_for_float16_keeps_its_direction_and_leaves_others_alone():
    features = np.array([[3e6, -4e6, 0.0], [3.0, 4.0, 0.0]], np.float32)
    kept = to_half(features)
    assert np.isfinite(kept).all()
    np.testing.assert_allclose(unit(kept), [[0.6, -0.8, 0.0], [0.6, 0.8, 0.0]], atol=1e-3)
    assert kept[1].tolist() == [3.0, 4.0, 0.0]
