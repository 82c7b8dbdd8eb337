"""How one side of a pair is seen, on a stand-in for a network whose answers are known."""

from itertools import repeat
from types import SimpleNamespace

import numpy as np
import pytest

from lib.embedding.embed import Embedder, Vectors
from lib.embedding.pictures import seeded_pictures
from lib.embedding.vectors import unit
from lib.embedding.views import block_dims, pooling_for, side_blocks, views_of
from lib.errors import UsageError

FEATURES = ("cls", "patch_mean", "grid", "deep")


class Eye:
    """Answers with the picture's own pixels as its grid, 10 x 10 cells of 3 channels."""

    contract = SimpleNamespace(
        id="eye", dims={"cls": (3,), "patch_mean": (3,), "patch_grid": (10, 10, 3), "deep_grid": (10, 10, 3)}
    )

    def __init__(self):
        self.taken = 0

    def embed(self, pictures):
        for picture in pictures:
            self.taken += 1
            grid = picture.astype(np.float16)[None, ::2, ::2]
            mean = grid.mean((1, 2))
            yield Vectors(mean, mean, grid, grid)


def test_turned_blocks_are_the_same_however_the_picture_is_turned():
    picture = seeded_pictures(1, 20)[0]
    turned = [picture, np.rot90(picture), picture[::-1], np.rot90(picture)[:, ::-1]]
    grown = [np.kron(p, np.ones((1, 1, 1), np.uint8)) for p in turned]
    made = list(side_blocks(Whole(), grown, views="turned", features=FEATURES))
    for other in made[1:]:
        for name in FEATURES:
            np.testing.assert_allclose(other[name], made[0][name], atol=2e-3)


class Whole(Eye):
    """The same without the crop, which has another size: its middle is grown to the whole."""

    def embed(self, pictures):
        yield from super().embed(np.resize(p, (20, 20, 3)) if len(p) < 20 else p for p in _grown(pictures))


def _grown(pictures):
    from lib.embedding.pictures import squash

    for picture in pictures:
        yield squash(picture, 20)


def test_an_upright_grid_is_the_means_of_its_cells():
    picture = seeded_pictures(1, 20)[0]
    blocks = next(side_blocks(Eye(), [picture], views="upright", features=("grid",)))
    grid = picture.astype(np.float32)[::2, ::2].reshape(5, 2, 5, 2, 3).mean((1, 3))
    np.testing.assert_allclose(blocks["grid"].astype(np.float32), unit(grid.reshape(-1)), atol=1e-3)


def test_cells_that_do_not_divide_the_grid_share_patches_by_area():
    picture = np.zeros((20, 20, 3), np.uint8)
    picture[6:8] = 90  # the fourth row of ten: a third of it lies in the first third of the grid
    blocks = next(side_blocks(Eye(), [picture], views="upright", features=("grid",), cells=3))
    rows = blocks["grid"].reshape(3, 3, 3)[:, 0, 0].astype(np.float32)
    np.testing.assert_allclose(rows / rows.sum(), [1 / 3, 2 / 3, 0], atol=1e-3)


def test_turned_pictures_keep_one_cell_of_each_ring():
    dims = block_dims(Eye.contract, views="turned", features=FEATURES)
    assert dims == {"cls": 3, "patch_mean": 3, "grid": 18, "deep": 18}
    made = next(side_blocks(Whole(), [seeded_pictures(1, 20)[0]], views="turned", features=FEATURES))
    # The picture as it is lies beside them.
    assert {name: block.shape for name, block in made.items()} == {
        n: (d,) for n, d in (dims | {"plain": 3}).items()
    }
    assert block_dims(Eye.contract, views="upright", features=("grid",), cells=4) == {"grid": 48}


def test_few_pictures_are_taken_ahead():
    eye, picture = Eye(), seeded_pictures(1, 20)[0]
    next(side_blocks(eye, repeat(picture), views="upright", features=("cls",)))
    assert eye.taken == 1


def test_a_real_network_sees_sixteen_views_of_any_shape():
    embedder = Embedder("random:vit_64x2_patch16_dinov3", size_px=64, pooling=pooling_for(("cls", "grid")))
    picture = seeded_pictures(1, 60)[0][:40]
    made = next(side_blocks(embedder, [picture], views="turned", features=("cls", "grid"), cells=3))
    seen = unit(embedder.embed_all(views_of(picture, "turned")).cls)
    assert len(seen) == 16
    np.testing.assert_allclose(made["cls"], seen.mean(0), atol=2e-3)
    assert made["grid"].shape == (3 * 64,)


def test_what_cannot_be_had_is_said():
    with pytest.raises(UsageError, match="no views 'sideways'"):
        views_of(np.zeros((2, 2, 3), np.uint8), "sideways")
    with pytest.raises(UsageError, match="pooling_for"):
        embedder = Embedder("random:vit_64x2_patch16_dinov3", size_px=64)
        next(side_blocks(embedder, [], views="upright", features=("grid",)))
    with pytest.raises(UsageError, match="can't be had"):
        pooling_for(("colour",))
