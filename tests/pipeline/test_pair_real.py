"""Real pairs: what the heads are worth on drone and satellite views of 160 places."""

import numpy as np
import pytest

from lib.alignment.config import AlignerConfig
from lib.alignment.features import stacked
from lib.alignment.ladder import fit_ladder
from lib.alignment.pairs import Pairs
from lib.embedding.embed import Embedder
from lib.embedding.views import pooling_for, side_blocks
from lib.media.image import read_image
from lib.retrieval import retrieval_of_vectors

FEATURES, PLACES, SEEDS = ("grid", "deep"), 160, 5


@pytest.mark.slow
@pytest.mark.real_data
def test_half_of_the_places_teach_to_find_the_other_half(real_data):
    embedder = Embedder("efficientnet_lite0", pooling=pooling_for(FEATURES))
    sides, plain = [], []
    for side in ("drone", "satellite"):
        files = [real_data / "crossview" / f"university1652_{side}" / f"{n:04d}.jpg" for n in range(PLACES)]
        made = list(side_blocks(embedder, map(read_image, files), views="turned", features=FEATURES))
        sides.append(stacked({name: np.stack([blocks[name] for blocks in made]) for name in FEATURES}))
        plain.append(stacked({"cls": np.stack([blocks["plain"] for blocks in made])}))
    ours, raw = [], []
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(PLACES)
        train, test = order[: PLACES // 2], order[PLACES // 2 :]
        rows = np.stack([train, train], axis=1)
        seen = Pairs(*sides, rows, train)
        fitted = fit_ladder(seen, AlignerConfig(seed=seed), plain=Pairs(*plain, rows, train))
        own = np.stack([np.arange(len(test))] * 2, axis=1)
        for aligner, features, told in (
            (fitted.aligner, sides, ours),
            (fitted.rung_aligners["raw_cosine"], plain, raw),
        ):
            vectors = aligner.left(features[0][test]), aligner.right(features[1][test])
            told.append(retrieval_of_vectors(*vectors, own).figures().recall_1)
    told = f"R@1 {np.mean(ours):.3f} ± {np.std(ours):.3f}, raw cosine {np.mean(raw):.3f}"
    assert np.mean(ours) >= 0.65, told
    assert np.mean(ours) >= 3.5 * np.mean(raw), told
