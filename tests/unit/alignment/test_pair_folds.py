"""Pairs, how they are split, and which stand in a batch together."""

import numpy as np
import pytest

from lib.alignment.batches import Batches, Duplicates
from lib.alignment.features import stacked
from lib.alignment.pairs import Pairs, split_by_group
from lib.errors import UsageError


def pairs_of(rows, groups, lonlat=None):
    rows = np.array(rows)
    sides = (np.zeros((rows[:, i].max() + 1, 3), np.float16) for i in (0, 1))
    return Pairs(*sides, rows, np.array(groups), lonlat)


def test_no_group_and_no_content_stands_on_both_sides_of_a_split():
    draw = np.random.default_rng(0)
    rows = np.stack([draw.integers(0, 150, 200), draw.integers(0, 600, 200)], axis=1)
    pairs = pairs_of(rows, draw.integers(0, 120, 200))
    folds = split_by_group(pairs, folds=4, seed=0)
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(200))
    for kept, held in folds:
        assert not set(pairs.groups[kept]) & set(pairs.groups[held])
        for side in (0, 1):
            assert not set(rows[kept, side]) & set(rows[held, side])


def test_a_single_group_gives_no_split():
    assert split_by_group(pairs_of([[0, 0], [1, 1]], [5, 5]), folds=4, seed=0) == []


def test_a_pair_that_names_no_row_is_refused():
    with pytest.raises(UsageError, match="isn't there"):
        Pairs(np.zeros((2, 3)), np.zeros((2, 3)), np.array([[0, 2]]), np.array([0]))


def test_another_caption_of_the_same_picture_is_a_positive_and_so_is_one_pair_further():
    pairs = pairs_of([[0, 0], [0, 1], [1, 1], [2, 2]], [0, 0, 0, 1])
    found = Duplicates(pairs).within(np.array([3, 0, 2]))
    # Of places 1 (left 0) and 2 (right 1), the pair (0, 1) itself isn't in the batch.
    assert list(zip(*(p.tolist() for p in found), strict=True)) == [(1, 2)]
    assert Duplicates(pairs_of([[0, 0], [1, 1]], [0, 1])).within(np.array([0, 1])) is None


def test_batches_hold_each_pair_once_and_neighbours_on_the_ground_first():
    n, draw = 4096, np.random.default_rng(0)
    lonlat = np.stack([draw.uniform(-180, 180, n), draw.uniform(-60, 60, n)], axis=1)
    rows = np.stack([np.arange(n)] * 2, axis=1)
    coarse = draw.normal(size=(n, 4)).astype(np.float32)
    batches = Batches(pairs_of(rows, rows[:, 0], lonlat), coarse, batch=512, seed=1)
    by_ground, by_feature = list(batches.epoch()), list(batches.epoch())
    assert sorted(np.concatenate(by_ground)) == sorted(np.concatenate(by_feature)) == list(range(n))

    def nearest(points, batch):
        apart = np.linalg.norm(points[batch][:, None] - points[batch][None], axis=-1)
        return np.median(np.sort(apart, axis=1)[:, 1])

    assert nearest(lonlat, by_ground[0]) < 0.5 * nearest(lonlat, by_feature[0])
    assert nearest(coarse, by_feature[0]) < 0.8 * nearest(coarse, by_ground[0])


def test_each_block_has_one_vote_whatever_its_length():
    big, small = np.full((1, 4), 100.0, np.float16), np.full((1, 2, 2), 0.01, np.float16)
    assert stacked({"cls": big, "grid": small}).tolist() == [[0.5] * 8]
    with pytest.raises(UsageError, match="equally many rows"):
        stacked({"cls": big, "grid": np.zeros((2, 3))})
