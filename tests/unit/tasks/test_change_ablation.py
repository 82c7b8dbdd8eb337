"""The recipe's parts: what the ablation starts from is what the recipe makes."""

from dataclasses import replace

import numpy as np
import pytest
from factories import ground
from PIL import Image

from lib.embedding.embed import Embedder
from lib.media.lattice import WINDOW_PX
from lib.tasks.change_ablation import DISTANCES, MASKS, masks_without, scores_without, whole_cells
from lib.tasks.change_pair import find_changes
from lib.tasks.window_views import POOLING

ROOF = slice(60, 124), slice(90, 154)


@pytest.fixture(scope="module")
def embedder():
    return Embedder("efficientnet_lite0", size_px=WINDOW_PX, pooling=POOLING)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A new roof; the later picture lies a pixel lower and lacks its last rows."""
    folder = tmp_path_factory.mktemp("pair")
    whole = ground((424, 300), seed=5)
    after = np.roll(whole, 1, axis=0)
    after[ROOF] = (225, 80, 60)
    after[ROOF][::8] = 40
    for name, pixels in (("before", whole), ("after", after[:-10])):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder / "before.png", folder / "after.png"


@pytest.fixture(scope="module")
def changes(pair, embedder):
    return find_changes(*pair, embedder)


def test_the_whole_distance_is_the_recipes_own(pair, embedder, changes):
    cells = whole_cells(*pair, embedder, changes)
    # The last rows, which one date lacks, have no distance of their own.
    judged = slice(0, (424 - 10) // 16)
    assert np.allclose(cells[judged], changes.cells[judged], atol=1e-4)


def test_each_simpler_distance_still_sees_the_roof_and_differs_from_the_whole(pair, embedder, changes):
    made = scores_without(*pair, embedder, changes)
    assert set(made) == set(DISTANCES)
    for name, score in made.items():
        assert score.shape == (424, 300)
        assert score[ROOF].mean() > 2 * np.median(score), name
    whole = np.nan_to_num(changes.score)
    assert all(np.abs(made[name] - whole)[:400].max() > 0.01 for name in DISTANCES[:-1])


def test_rules_are_cuts_of_the_recipes_own_score_where_it_has_one(changes):
    judged = np.isfinite(changes.score)
    masks = masks_without(replace(changes, gate=0.05, threshold=0.2), judged)
    assert tuple(masks) == MASKS
    otsu, gate, above = (masks[name] for name in MASKS)
    assert gate.sum() == (changes.score[judged] > 0.05).sum() > above.sum()
    assert above.sum() == (changes.score[judged] > 0.2).sum() > 0
    assert otsu[ROOF].mean() > 0.5
    assert not any(mask[~judged].any() for mask in masks.values())
