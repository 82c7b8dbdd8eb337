"""Labelled pairs: each column against sklearn or a value by hand, on the same pixels."""

import math
from pathlib import Path

import numpy as np
import pytest
from factories import ground
from PIL import Image

from lib.embedding.embed import Embedder, Vectors
from lib.errors import DatasetError
from lib.media.lattice import WINDOW_PX
from lib.tasks.change_benchmark import (
    Benchmark,
    LabelledPair,
    PixelPool,
    chance_scores,
    evaluate,
    raw_difference,
    window_distance,
)
from lib.tasks.window_views import POOLING

ROOF = slice(40, 104), slice(60, 124)


class MeanColour:
    """An embedder whose CLS vector is a picture's mean colour."""

    def embed(self, pictures):
        for picture in pictures:
            yield Vectors(picture.mean((0, 1))[None].astype(np.float16), np.zeros((1, 0), np.float16))


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def make_pair(folder: Path, *, seed: int, value: int = 255, lost_rows: int = 0) -> LabelledPair:
    """A new roof on seeded ground, marked by `value`; the later picture may lack its last rows."""
    before = ground((160, 192), seed=seed)
    after = before.copy()
    after[ROOF] = (225, 80, 60)
    after[ROOF][::8] = 40
    mask = np.zeros(before.shape[:2], np.uint8)
    mask[ROOF] = value
    return LabelledPair(
        save(folder / "before.png", before),
        save(folder / "after.png", after[: 160 - lost_rows]),
        save(folder / "label.png", mask),
        folder.name,
    )


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder("efficientnet_lite0", size_px=WINDOW_PX, pooling=POOLING)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> list[LabelledPair]:
    root = tmp_path_factory.mktemp("pairs")
    broken = make_pair(root / "broken", seed=3)
    broken.after.write_bytes(broken.after.read_bytes()[:200])
    turned = make_pair(root / "turned", seed=4)
    save(turned.label, np.zeros((192, 160), np.uint8))
    return [make_pair(root / "whole", seed=1), broken, make_pair(root / "cut", seed=2, lost_rows=5), turned]


@pytest.fixture(scope="module")
def made(pairs, embedder) -> Benchmark:
    return evaluate(pairs, embedder)


def test_a_planted_roof_is_ranked_above_chance_and_found(made):
    assert made.methods["ours"].auroc > 0.9 and made.methods["ours"].f1 > 0.7
    assert made.methods["ours"].best_f1 > 2 * made.chance.f1


def test_the_raw_column_is_what_sklearn_makes_of_all_pairs_pixels(made, pairs):
    from sklearn.metrics import roc_auc_score

    scores, labels = [], []
    for pair, rows in ((pairs[0], 160), (pairs[2], 155)):
        before, after, label = (
            np.asarray(Image.open(path))[:rows].astype(float)
            for path in (pair.before, pair.after, pair.label)
        )
        scores.append(np.abs(before - after).mean(-1).ravel())
        labels.append(label.ravel() > 0)
    auroc = roc_auc_score(np.concatenate(labels), np.concatenate(scores))
    assert made.methods["raw_difference"].auroc == pytest.approx(auroc, abs=1e-6)


def test_pixels_that_one_date_lacks_count_neither_way(made):
    assert [(pair.judged_px, pair.unjudged_px) for pair in made.pairs] == [
        (160 * 192, 0),
        (155 * 192, 5 * 192),
    ]
    for pair in made.pairs:
        assert pair.changed_px == 64 * 64
        assert all(hits + misses == 64 * 64 for hits, _, misses in pair.counts.values())


def test_pooled_f1_and_iou_are_of_summed_counts(made):
    for method, scores in made.methods.items():
        hits, false, missed = np.sum([pair.counts[method] for pair in made.pairs], axis=0)
        assert scores.f1 == pytest.approx(2 * hits / (2 * hits + false + missed))
        assert scores.iou == pytest.approx(hits / (hits + false + missed))


def test_pairs_that_cannot_be_compared_are_left_out_by_name_with_a_reason(made):
    assert [name for name, _ in made.left_out] == ["broken", "turned"]
    assert "decoded" in made.left_out[0][1]
    assert "160 x 192 px, and the earlier picture has 192 x 160" in made.left_out[1][1]
    assert [pair.name for pair in made.pairs] == ["whole", "cut"]


def test_with_no_pair_to_compare_there_is_no_result(pairs, embedder):
    with pytest.raises(DatasetError, match=r"of 1 labelled pairs, none could be compared: broken: .*decoded"):
        evaluate([pairs[1]], embedder)


def test_values_below_the_least_that_means_changed_are_unchanged(tmp_path, embedder):
    # xBD: 1 is a building without damage.
    same = make_pair(tmp_path / "same", seed=1, value=1)
    hit = make_pair(tmp_path / "hit", seed=1, value=2)
    found = evaluate([same, hit], embedder, changed_from=2)
    assert [pair.changed_px for pair in found.pairs] == [0, 64 * 64]
    assert math.isnan(found.pairs[0].methods["ours"].auroc)


def test_raw_difference_is_the_mean_of_the_channels_and_unknown_beyond_the_later_picture():
    before, after = np.zeros((3, 4, 3), np.uint8), np.full((2, 5, 3), (30, 60, 0), np.uint8)
    made = raw_difference(before, after)
    assert made[:2].tolist() == [[30.0] * 4] * 2
    assert np.isnan(made[2]).all()


def test_window_distance_is_the_cosine_of_each_windows_vectors():
    before = np.full((130, 200, 3), (100, 0, 0), np.uint8)
    after = before.copy()
    after[:65, :67] = (0, 100, 0)
    after[65:, 133:] = (100, 100, 0)
    made = window_distance(before, after, MeanColour())
    wanted = np.zeros((130, 200))
    wanted[:65, :67], wanted[65:, 133:] = 1, 1 - math.sqrt(0.5)
    np.testing.assert_allclose(made, wanted, atol=1e-6)


def test_chance_by_hand():
    # A quarter changed: marking everything has precision 1/4 and recall 1.
    found = chance_scores(25, 100)
    assert (found.auroc, found.f1, found.iou, found.best_f1) == (0.5, 0.4, 0.25, 0.4)


def test_the_pool_is_an_even_sample_of_all_pairs_whatever_their_order():
    pool = PixelPool(1, limit=2000, seed=0)
    sizes = (90_000, 500, 9_500)
    for number, size in enumerate(sizes):
        pool.add(np.full((size, 1), number, np.float32), np.zeros(size, bool))
    scores, changed = pool.pixels()
    assert len(scores) == len(changed) == 2000
    shares = np.bincount(scores[:, 0].astype(int), minlength=3) / 2000
    # Five standard deviations of a fair draw.
    np.testing.assert_allclose(shares, np.divide(sizes, sum(sizes)), atol=5 * math.sqrt(0.09 / 2000))


@pytest.mark.real_data
def test_real_pairs_raw_difference_is_worse_than_chance_as_the_protocol_says(real_data):
    from sklearn.metrics import roc_auc_score

    folder = real_data / "change" / "levir256"
    scores, labels = [], []
    for path in sorted((folder / "A").iterdir()):
        before, after, label = (
            np.asarray(Image.open(folder / side / path.name)) for side in ("A", "B", "label")
        )
        scores.append(raw_difference(before, after).ravel())
        labels.append(label.ravel() > 0)
    assert roc_auc_score(np.concatenate(labels), np.concatenate(scores)) == pytest.approx(0.33, abs=0.005)


@pytest.mark.real_data
def test_a_real_pair_has_its_three_columns(real_data, embedder):
    name = "test_55_0256_0000.png"
    pair = LabelledPair(*(real_data / "change" / "levir256" / side / name for side in ("A", "B", "label")))
    found = evaluate([pair], embedder).methods
    # Measured: .76, .40, .83. New roofs look like old ground; windows know better.
    assert found["raw_difference"].auroc < 0.5 < 0.7 < found["ours"].auroc
    assert found["window_cls"].auroc > 0.75
