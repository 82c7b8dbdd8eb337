"""The baseline without a network: what its maps say, and that turning them is turning the picture."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lib.tasks.gradient_baseline import (
    CELLS,
    ORIENTATIONS,
    best_turn_similarity,
    gradient_map,
    gradient_vectors,
)


def pictures(count, *, seed=0):
    """Smooth shapes with gradients in all directions: (count, 96, 96, 3) uint8."""
    grain = np.random.default_rng(seed).normal(size=(count, 96, 96))
    smooth = np.stack([gaussian_filter(one, 8) for one in grain])
    grey = np.clip(128 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint8)
    return grey[..., None].repeat(3, axis=-1)


def turned(picture, which):
    made = np.rot90(picture, which % 4)
    return np.ascontiguousarray(np.fliplr(made) if which >= 4 else made)


def test_an_edge_counts_in_its_cell_under_its_orientation():
    picture = np.zeros((96, 96, 3), np.uint8)
    picture[24:48, 36:] = (
        200  # an upright edge in the second row's second cell; lying ones above and below it
    )
    made = gradient_map(picture)
    assert made[1, 1].argmax() == 0  # brightness grows to the right
    assert made[1, 3].argmax() == ORIENTATIONS // 2  # and downwards, where only lying edges are
    assert made[3].max() == 0.0
    assert np.linalg.norm(made) == pytest.approx(1.0)


def test_brightness_the_other_way_round_is_the_same_map():
    (picture,) = pictures(1)
    assert np.allclose(gradient_map(picture), gradient_map(255 - picture), atol=1e-6)


@pytest.mark.parametrize("which", range(8))
def test_a_picture_turned_or_flipped_is_found_by_the_turn_that_fits(which):
    shown = pictures(6)
    left = gradient_vectors(shown)
    right = gradient_vectors(turned(picture, which) for picture in shown)
    assert np.allclose(best_turn_similarity(left, right).diagonal(), 1.0, atol=1e-5)
    # Only the picture that isn't turned is found as it stands.
    assert ((left * right).sum(axis=1) > 0.999).any() == (which == 0)


@pytest.mark.parametrize("which", range(8))
def test_an_averaged_vector_is_the_same_for_all_turns_and_not_for_all_pictures(which):
    shown = pictures(6)
    plain = gradient_vectors(shown, averaged=True)
    same = gradient_vectors((turned(picture, which) for picture in shown), averaged=True)
    assert np.allclose(plain, same, atol=1e-5)
    assert (plain @ plain.T - np.eye(6)).max() < 0.99


def test_a_flat_picture_has_no_direction_and_matches_nothing():
    flat = gradient_vectors([np.full((40, 60, 3), 7, np.uint8)])
    assert flat.shape == (1, CELLS * CELLS * ORIENTATIONS)
    assert not flat.any()
