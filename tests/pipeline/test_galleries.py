"""A pair archive's heads on another archive: every window of its scenes, under one contract or not at all."""

import numpy as np
import pytest
from pairs import make_line as make_pairs
from pairs import pair_archive, write_table, write_views
from scenes import make_line as make_scenes
from scenes import scene_archive, write_scene

from lib.alignment.features import stacked
from lib.columns import vectors_of
from lib.embedding.vectors import unit
from lib.errors import ContractMismatchError, QueryError
from lib.lake import Lake
from lib.search.galleries import require_gallery, search_gallery
from lib.search.pairs import PairSearcher
from lib.sections import EmbeddingConfig
from lib.stages.making import Work


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Pairs whose sides are under the contract of a scene archive, and two weeks of that."""
    folder = tmp_path_factory.mktemp("galleries")
    lake = Lake(folder / "lake")
    scenes = scene_archive(folder / "scenes")
    for day in ("20240102", "20240109"):
        write_scene(folder / "scenes", day)
    make_scenes(lake, scenes)
    rows = [
        dict(zip(("left", "right"), write_views(folder / "views", place), strict=True)) | {"split": "train"}
        for place in range(10)
    ]
    table = write_table(folder / "views" / "pairs.csv", rows, ("left", "right", "split"))
    pairs = pair_archive(
        table, views="upright", embedding=EmbeddingConfig(backbone="efficientnet_lite0", size_px=256)
    )
    make_pairs(lake, pairs)
    return Work(lake, pairs), Work(lake, scenes)


def test_the_best_windows_are_those_of_exact_search_each_place_once(built):
    pairs, scenes = built
    require_gallery(pairs, "right", scenes)
    searcher = PairSearcher(pairs)
    query = searcher.of_item(searcher.rows.column("item")[0].as_py(), "left")
    hits = search_gallery(searcher, query, "right", scenes, k=3)
    best: dict[tuple[float, float], float] = {}
    for shard in scenes.prints.shards:
        table = scenes.rows("window_embeddings", shard)
        vectors = searcher.aligner.right(stacked({n: vectors_of(table, n) for n in ("cls", "patch_mean")}))
        scores = vectors @ unit(query.vectors)[0]
        windows = {row["sample"]: row for row in scenes.rows("windows", shard).to_pylist()}
        for sample, score in zip(table.column("sample").to_pylist(), scores, strict=True):
            place = windows[sample]["lon"], windows[sample]["lat"]
            best[place] = max(best.get(place, -1.0), float(score))
    assert [hit.score for hit in hits] == pytest.approx(sorted(best.values(), reverse=True)[:3], abs=1e-3)
    assert len({(hit.lon, hit.lat) for hit in hits}) == 3
    assert np.isfinite([hit.score for hit in hits]).all()


def test_a_side_under_another_contract_is_refused_with_what_to_set(built, tmp_path):
    pairs, scenes = built
    other = pairs.archive.model_copy(update={"embedding": EmbeddingConfig(backbone="efficientnet_lite0")})
    with pytest.raises(ContractMismatchError, match=r"embedding.size_px = 256"):
        require_gallery(Work(pairs.lake, other), "right", scenes)
    with pytest.raises(QueryError, match="of kind pair"):
        require_gallery(pairs, "right", pairs)
