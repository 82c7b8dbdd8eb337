"""The ladder: what it finds, what it must not find, and what it says of data that can't be fitted."""

import subprocess
import sys

import numpy as np
import pytest

from lib.alignment.closed_form import fit_whitened
from lib.alignment.config import AlignerConfig
from lib.alignment.heads import CONFIG, WEIGHTS, Aligner
from lib.alignment.ladder import fit_ladder
from lib.alignment.pairs import Pairs
from lib.alignment.recall import recalls
from lib.errors import AlignerError

QUICK = AlignerConfig(nets=2, hidden=32, epochs=6, folds=2)


def planted(n=120, dims=(24, 24), noise=0.8, seed=0):
    """Pairs of one hidden thing, seen through fixed maps, with noise that is loud in a few dimensions."""
    draw = np.random.default_rng(seed)
    hidden, maps = draw.normal(size=(n, 10)), [np.random.default_rng(9).normal(size=(10, d)) for d in dims]
    if dims[0] == dims[1]:
        maps[1] = maps[0]
    sides = []
    for number, seen in enumerate(maps):
        loud = noise * np.where(np.arange(seen.shape[1]) % 4, 0.3, 6) * draw.normal(size=(n, seen.shape[1]))
        sides.append((hidden @ seen + loud + 5 * number).astype(np.float16))
    rows = np.arange(n)
    return Pairs(*sides, np.stack([rows, rows], axis=1), rows)


def on(pairs, aligner):
    return recalls(pairs, aligner.left(pairs.left[pairs.used(0)]), aligner.right(pairs.right[pairs.used(1)]))


@pytest.fixture(scope="module")
def fitted():
    return fit_ladder(planted(), QUICK)


def test_the_chosen_head_finds_held_out_pairs(fitted):
    assert fitted.facts["is_above_chance"] and not fitted.facts["is_collapsed"]
    assert on(planted(seed=1), fitted.aligner)[0].at_1 > 0.9
    others = [rung for rung in fitted.rungs if rung.name != "naive"]
    assert fitted.chosen == max(others, key=lambda rung: rung.mrr).name in {"whitened", "residual"}


def test_sides_of_two_dimensions_are_aligned_and_what_needs_one_space_is_left_out():
    made = fit_ladder(planted(n=300, dims=(30, 12), noise=0.2), QUICK)
    assert set(made.facts["left_out"]) == {"raw_cosine", "standardised", "whitened"}
    assert on(planted(seed=1, dims=(30, 12), noise=0.2), made.aligner)[0].at_1 > 0.5


def test_a_shuffled_pairing_scores_chance():
    pairs = planted()
    mixed = np.random.default_rng(3).permutation(len(pairs))
    shuffled = Pairs(pairs.left, pairs.right[mixed], pairs.pairs, pairs.groups)
    made = fit_ladder(shuffled, QUICK)
    assert not made.facts["is_above_chance"]
    test = planted(seed=1)
    test = Pairs(test.left, test.right[mixed], test.pairs, test.groups)
    assert on(test, made.aligner)[0].at_1 <= 5 / 120


def test_equal_features_are_told_to_be_collapsed():
    pairs = planted()
    made = fit_ladder(Pairs(pairs.left * 0 + 1, pairs.right * 0 + 1, pairs.pairs, pairs.groups), QUICK)
    assert made.facts["is_collapsed"] and not made.facts["is_above_chance"]
    assert made.facts["validation"]["recall_at_1"] == [0.0, 0.0]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(fitted):
    again = fit_ladder(planted(), QUICK).rung_aligners
    other = fit_ladder(planted(), QUICK.model_copy(update={"seed": 1})).rung_aligners
    for name, aligner in fitted.rung_aligners.items():
        assert again[name].contract_id == aligner.contract_id
    assert other["naive"].contract_id != fitted.rung_aligners["naive"].contract_id


def test_a_training_head_starts_as_its_closed_form_and_leaves_it():
    from lib.alignment.residual import Training, calm_threads, with_nets

    pairs = planted()
    with calm_threads(len(pairs)):
        base = fit_whitened(pairs, QUICK)
        training = Training(pairs, base, QUICK, number=0)
        start = with_nets(base, [training])[0](pairs.left)
        first = training.epoch()
        last = [training.epoch() for _ in range(30)][-1]
        end = with_nets(base, [training])[0](pairs.left)
    np.testing.assert_allclose(start, base[0](pairs.left), atol=1e-6)
    assert last < first and np.abs(end - start).max() > 0.01


def test_within_pair_whitening_makes_paired_differences_round():
    # So many that the prior is nothing beside them, though some noise is 400 times stronger.
    pairs = planted(n=40_000)
    left, right = fit_whitened(pairs, AlignerConfig())
    apart = left.projected(pairs.left) - right.projected(pairs.right)
    np.testing.assert_allclose(apart.T @ apart / (2 * len(apart)), np.eye(24), atol=0.06)


@pytest.mark.parametrize("n, groups", [(1, [0]), (2, [0, 0]), (2, [0, 1]), (5, [0, 0, 0, 1, 1])])
def test_a_handful_of_pairs_gives_heads_of_finite_numbers(n, groups):
    pairs = planted(n=n, dims=(40, 40))
    made = fit_ladder(Pairs(pairs.left, pairs.right, pairs.pairs, np.array(groups)), QUICK)
    for aligner in made.rung_aligners.values():
        assert np.isfinite(aligner.left(pairs.left)).all()
    assert (made.facts["validation"] is None) == (len(set(groups)) < 2)


def test_five_captions_a_picture_count_as_right_answers_of_it():
    draw = np.random.default_rng(0)
    hidden = draw.normal(size=(60, 10))
    texts = np.repeat(hidden, 5, axis=0) + 0.2 * draw.normal(size=(300, 10))
    rows = np.stack([np.repeat(np.arange(60), 5), np.arange(300)], axis=1)
    pairs = Pairs(hidden.astype(np.float32), texts.astype(np.float32), rows, rows[:, 0])
    made = fit_ladder(pairs, QUICK)
    assert made.facts["validation"]["queries"] == [60, 300]
    assert min(made.facts["validation"]["recall_at_1"]) > 0.9


def test_a_saved_aligner_is_the_same_and_a_damaged_one_is_refused(fitted, tmp_path):
    aligner = fitted.rung_aligners["residual"].signed(left_contract="a", right_contract="b", fingerprint="c")
    aligner.save(tmp_path)
    opened = Aligner.open(tmp_path)
    features = planted().left
    assert opened.left(features).tobytes() == aligner.left(features).tobytes()
    assert (opened.contract_id, opened.fingerprint) == (aligner.contract_id, "c")
    whole = (tmp_path / WEIGHTS).read_bytes()
    for damaged in (whole[:-9], whole[:50] + b"x" + whole[51:], b""):
        (tmp_path / WEIGHTS).write_bytes(damaged)
        with pytest.raises(AlignerError, match="damaged"):
            Aligner.open(tmp_path)
    (tmp_path / CONFIG).write_text("[1]")
    with pytest.raises(AlignerError, match="damaged"):
        Aligner.open(tmp_path)
    (tmp_path / CONFIG).unlink()
    with pytest.raises(AlignerError, match="can't be read"):
        Aligner.open(tmp_path)


def test_applying_an_aligner_needs_no_torch(fitted, tmp_path):
    fitted.rung_aligners["residual"].save(tmp_path)
    program = (
        "import sys, pathlib, numpy as np; from lib.alignment.heads import Aligner; "
        f"a = Aligner.open(pathlib.Path({str(tmp_path)!r})); a.left(np.ones((2, 24), np.float16)); "
        "print([m for m in ('torch', 'scipy', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
