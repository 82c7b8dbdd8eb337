import numpy as np
import pytest
import torch

from lib.embedding.embed import Embedder
from lib.embedding.pictures import seeded_pictures
from lib.embedding.vectors import unit
from lib.errors import BackboneUnavailableError

TINY = "random:vit_64x2_patch16_dinov3"


@pytest.fixture(scope="module")
def embedder():
    return Embedder(TINY, size_px=64, pooling=("cls", "patch_mean", "patch_grid"))


def test_no_pictures_give_no_vectors(embedder):
    assert list(embedder.embed([])) == []
    none = embedder.embed_all([])
    assert (none.cls.shape, none.patch_mean.shape, none.patch_grid.shape) == ((0, 64), (0, 64), (0, 4, 4, 64))


def test_vectors_have_the_contracts_shapes_in_float16(embedder):
    made = embedder.embed_all(seeded_pictures(5, 90))
    assert made.cls.dtype == made.patch_mean.dtype == made.patch_grid.dtype == np.float16
    shapes = {name: getattr(made, name).shape[1:] for name in embedder.contract.pooling}
    assert shapes == embedder.contract.dims


def test_the_mean_patch_is_the_mean_over_the_grid(embedder):
    made = embedder.embed_all(seeded_pictures(5, 64))
    np.testing.assert_allclose(made.patch_mean, made.patch_grid.astype(np.float32).mean((1, 2)), atol=0.01)


def test_a_grid_lies_as_the_picture_does(embedder):
    """A picture that differs from another in one patch differs there most."""
    plain = np.full((64, 64, 3), 128, np.uint8)
    marked = plain.copy()
    marked[16:32, 48:64] = (250, 20, 20)
    grids = embedder.embed_all([plain, marked]).patch_grid.astype(np.float32)
    moved = np.linalg.norm(grids[1] - grids[0], axis=-1)
    assert np.unravel_index(moved.argmax(), moved.shape) == (1, 3)


def test_a_contract_without_patches_keeps_none():
    made = Embedder(TINY, size_px=64, pooling=("cls",)).embed_all(seeded_pictures(1, 64))
    assert made.cls.shape == (1, 64)
    assert made.patch_mean.shape == (1, 0)
    assert made.patch_grid is None


def test_seeds_make_other_networks_and_the_same_seed_the_same():
    picture = seeded_pictures(1, 64)
    first, again, other = (
        Embedder(f"{TINY}{seed}", size_px=64, runtime="torch").embed_all(picture).cls
        for seed in ("?seed=1", "?seed=1", "?seed=2")
    )
    np.testing.assert_array_equal(first, again)
    assert abs((unit(first) * unit(other)).sum()) < 0.9


def test_damaged_weights_are_found_by_what_they_answer(tmp_path, monkeypatch):
    broken = torch.nn.Module()
    patches = (0, 2, 3, 1)
    broken.forward = lambda images: (
        images.mean((2, 3)) * torch.nan,
        images.permute(patches),
        images.permute(patches),
    )
    monkeypatch.setattr("lib.embedding.backbones.load", lambda spec: broken)
    with pytest.raises(BackboneUnavailableError, match="not finite"):
        Embedder(TINY, size_px=64, runtime="torch").embed_all(seeded_pictures(1, 64))


@pytest.mark.real_data
def test_nearest_pictures_by_the_packaged_backbone_are_mostly_of_the_same_class(real_data):
    from PIL import Image

    files = sorted((real_data / "imagenette").rglob("*.JPEG"))
    classes = np.array([file.parent.name for file in files])
    embedder = Embedder("efficientnet_lite0")
    vectors = unit(embedder.embed_all(np.asarray(Image.open(file).convert("RGB")) for file in files).cls)
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -1)
    # By chance it would be 9 in 99.
    assert (classes[similar.argmax(1)] == classes).mean() > 0.85
