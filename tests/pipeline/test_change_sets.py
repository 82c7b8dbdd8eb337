"""Public change sets in miniature, in their true layouts, from their files to the report's figures."""

import json
import math
import tomllib
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from factories import ground
from PIL import Image

from assets_defs.change_sets import change_set_line
from lib.catalog import SCENE_SIZE_PX, Archive, read_catalog
from lib.compute import InlineCompute
from lib.errors import DatasetError
from lib.lake import Lake
from lib.plan import plan_archive
from lib.sections import EmbeddingConfig
from lib.stages.change_set_figures import auroc_best, damage_of, f1_iou, read_pairs
from lib.stages.change_set_items import make_change_set_items
from lib.stages.change_set_line import CHANGE_SET_LINE
from lib.stages.change_set_report import make_change_set_report
from lib.stages.making import Work
from lib.stages.pair_changes import make_pair_changes
from lib.stages.sources import register
from lib.tasks.change_ablation import DISTANCES, MASKS
from lib.tasks.damage_scores import chance_damage_score, damage_score
from orchestration.adding import Asked, add_archive_entry

SIZE = (160, 192)
ROOF = slice(40, 104), slice(60, 124)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def pictures(seed: int, *, built: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seeded ground, the same with a new roof on it, and the roof's mask."""
    before = ground(SIZE, seed=seed)
    after, mask = before.copy(), np.zeros(SIZE, np.uint8)
    if built:
        after[ROOF] = (225, 80, 60)
        after[ROOF][::8] = 40
        mask[ROOF] = 255
    return before, after, mask


def write_levir(root: Path, split: str, name: str, seed: int, *, built: bool = True) -> None:
    for side, pixels in zip(("A", "B", "label"), pictures(seed, built=built), strict=True):
        save(root / split / side / f"{name}.png", pixels)


def archive_of(root: Path, dataset: str, **more) -> Archive:
    embedding = EmbeddingConfig(backbone="efficientnet_lite0", size_px=SCENE_SIZE_PX)
    return Archive(name="mini", kind="scene", root=str(root), dataset=dataset, embedding=embedding, **more)


def run(lake: Lake, archive: Archive) -> dict[str, dict]:
    """Items and measures of every shard, as a run makes them: stage -> shard -> what it came to."""
    register(archive, lake)
    work = Work(lake, archive)
    items = {shard: make_change_set_items(work, shard) for shard in work.prints.shards}
    work = Work(lake, archive)
    made = {shard: make_pair_changes(work, shard, InlineCompute()) for shard in work.prints.shards}
    return {"items": items, "pair_changes": made}


def figures_of(work: Work) -> dict[tuple[str, str], dict]:
    report = make_change_set_report(work)
    metrics = json.loads(report.path.with_name("report.json").read_text())["metrics"]
    return {(row["task"], row["metric"]): row for row in metrics}


@pytest.fixture(scope="module")
def levir(tmp_path_factory):
    """Two test pairs, one of them broken, two to train on, one of them without a change; and a stray."""
    root = tmp_path_factory.mktemp("levir")
    write_levir(root, "test", "test_1", 1)
    write_levir(root, "test", "test_2", 2)
    (root / "test" / "B" / "test_2.png").write_bytes(b"\x89PNG cut short")
    write_levir(root, "train", "train_1", 3)
    write_levir(root, "train", "train_2", 4, built=False)
    save(root / "examples" / "poster.png", ground((20, 20)))
    lake, archive = Lake(root.parent / f"{root.name}_lake"), archive_of(root, "levir_cd")
    return lake, archive, run(lake, archive)


def test_every_file_is_an_item_in_its_splits_shard_or_a_row_with_its_reason(levir):
    lake, archive, made = levir
    work = Work(lake, archive)
    assert work.prints.shards == ["rest_00000", "test_00000", "train_00000"]
    assert {shard: (f.made, f.rejected) for shard, f in made["items"].items()} == {
        "rest_00000": (0, 1), "test_00000": (6, 0), "train_00000": (6, 0),
    }  # fmt: skip
    assert made["items"]["rest_00000"].reasons == {"examples/poster.png": "belongs to no pair of levir_cd"}
    sides = {(row["pair"], row["side"]) for row in work.rows("items", "train_00000").to_pylist()}
    assert sides == {(f"train/train_{n}", side) for n in (1, 2) for side in ("before", "after", "label")}


def test_a_broken_picture_refuses_its_pair_and_no_other(levir):
    _, _, made = levir
    facts = made["pair_changes"]["test_00000"]
    assert (facts.made, facts.rejected) == (1, 1)
    assert "can't be decoded" in facts.reasons["test/A/test_2.png"] or "not a picture" in str(facts.reasons)


def test_the_report_has_chance_naive_and_ours_of_the_test_split_and_of_all(levir):
    lake, archive, _ = levir
    rows = figures_of(Work(lake, archive))
    assert {task for task, _ in rows} == {"change detection, test split", "change detection, all pairs"}
    assert {metric for _, metric in rows} == {"F1", "IoU", "pixel AUROC", "best F1"}
    f1, all_f1 = rows["change detection, test split", "F1"], rows["change detection, all pairs", "F1"]
    assert (f1["n"], all_f1["n"]) == (1, 3)
    assert (
        f1["ours"] > 0.7 > f1["chance"] and rows["change detection, test split", "pixel AUROC"]["ours"] > 0.9
    )
    share = 64 * 64 / (160 * 192)
    assert f1["chance"] == pytest.approx(2 * share / (1 + share))
    assert all_f1["gain_interval"] is not None


def test_pooled_figures_are_those_of_the_pixels_of_all_pairs(levir):
    from lib.embedding.embed import Embedder
    from lib.tasks.change_benchmark import LabelledPair, evaluate
    from lib.tasks.window_views import POOLING

    lake, archive, _ = levir
    work = Work(lake, archive)
    pairs = read_pairs(work)
    assert [pair.name for pair in pairs] == ["test/test_1", "train/train_1", "train/train_2"]
    files = [
        LabelledPair(*(work.root / split / side / f"{name}.png" for side in ("A", "B", "label")))
        for split, name in (pair.name.split("/") for pair in pairs)
    ]
    whole = evaluate(files, Embedder("efficientnet_lite0", size_px=SCENE_SIZE_PX, pooling=POOLING))
    for method, scores in whole.methods.items():
        assert f1_iou(pairs, method) == pytest.approx((scores.f1, scores.iou))
        assert auroc_best(pairs, method) == pytest.approx((scores.auroc, scores.best_f1), abs=2e-3)


def test_every_part_of_the_ablation_stands_in_the_shard(levir):
    lake, archive, _ = levir
    for pair in read_pairs(Work(lake, archive)):
        assert set(MASKS) < pair.counts.keys() and set(DISTANCES) < pair.bins.keys()
        pixels = {name: int(bins.sum()) for name, bins in pair.bins.items()}
        assert set(pixels.values()) == {160 * 192}


def test_a_second_run_makes_nothing(levir):
    lake, archive, _ = levir
    make_change_set_report(Work(lake, archive))
    again = run(lake, archive)
    assert not any(facts.made for shards in again.values() for facts in shards.values())
    assert not any(plan.due for plan in plan_archive(Work(lake, archive)).values())


def test_a_new_pair_and_a_mended_mask_make_just_those_pairs_again(tmp_path):
    for number in (1, 2):
        write_levir(tmp_path / "root", "test", f"test_{number}", number)
    lake, archive = Lake(tmp_path / "lake"), archive_of(tmp_path / "root", "levir_cd")
    run(lake, archive)
    write_levir(tmp_path / "root", "test", "test_0", 3)
    save(tmp_path / "root/test/label/test_1.png", np.zeros(SIZE, np.uint8))
    facts = run(lake, archive)["pair_changes"]["test_00000"]
    assert (facts.made, facts.kept) == (2, 1)
    changed = {pair.name: pair.changed_px for pair in read_pairs(Work(lake, archive))}
    assert changed == {"test/test_0": 64 * 64, "test/test_1": 0, "test/test_2": 64 * 64}


def test_a_full_shard_opens_the_next_and_keeps_pairs_whole(tmp_path):
    for number in range(3):
        write_levir(tmp_path / "root", "test", f"test_{number}", number)
    lake, archive = Lake(tmp_path / "lake"), archive_of(tmp_path / "root", "levir_cd", shard_items=7)
    register(archive, lake)
    # Two pairs have six files: a seventh would part the third from its own.
    by_shard = {s: len(lake.ledger.items("mini", s)) for s in lake.ledger.shards("mini")}
    assert by_shard == {"test_00000": 6, "test_00001": 3}
    write_levir(tmp_path / "root", "test", "test_3", 3)
    register(archive, lake)
    assert len(lake.ledger.items("mini", "test_00001")) == 6


def test_a_lost_ledger_puts_every_pair_where_it_was(tmp_path):
    write_levir(tmp_path / "root", "test", "test_1", 1)
    lake, archive = Lake(tmp_path / "lake"), archive_of(tmp_path / "root", "levir_cd")
    run(lake, archive)
    before = {item.path: (item.shard, item.facts) for item in lake.ledger.items("mini")}
    for file in (tmp_path / "lake").glob("ledger.sqlite*"):
        file.unlink()
    lake = Lake(tmp_path / "lake")
    facts = run(lake, archive)["pair_changes"]["test_00000"]
    assert (facts.made, facts.kept) == (0, 1)
    assert {item.path: (item.shard, item.facts) for item in lake.ledger.items("mini")} == before


def write_xbd(tier: Path, ident: str, seed: int, *, targets: bool) -> None:
    before, after, _ = pictures(seed)
    for date, pixels in (("pre", before), ("post", after)):
        save(tier / "images" / f"{ident}_{date}_disaster.png", pixels)
        if targets:
            values = np.zeros(SIZE, np.uint8)
            values[ROOF], values[10:30, 10:30] = 4, 1
            save(tier / "targets" / f"{ident}_{date}_disaster_target.png", values)
        features = [
            {"properties": {"feature_type": "building", "uid": name, "subtype": name}, "wkt": wkt}
            for name, wkt in (
                ("destroyed", "POLYGON ((60 40, 124 40, 124 104, 60 104, 60 40))"),
                ("no-damage", "POLYGON ((10 10, 30 10, 30 30, 10 30, 10 10))"),
                ("un-classified", "POLYGON ((150 120, 170 120, 170 140, 150 140, 150 120))"),
            )
        ]
        path = tier / "labels" / f"{ident}_{date}_disaster.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"features": {"lng_lat": [], "xy": features}, "metadata": {}}))


def test_xbd_has_a_damage_score_and_masks_or_polygons_say_what_changed(tmp_path):
    write_xbd(tmp_path / "root" / "test", "joplin_00000001", 1, targets=True)
    write_xbd(tmp_path / "root" / "tier3", "joplin_00000002", 2, targets=False)
    lake, archive = Lake(tmp_path / "lake"), archive_of(tmp_path / "root", "xbd")
    made = run(lake, archive)
    # Labels of the earlier picture belong to the set, and to no pair.
    assert sum(f.rejected for f in made["items"].values()) == 0
    pairs = read_pairs(Work(lake, archive))
    # No damage is no change; an outline touches 64 x 64 px, a mask has as many.
    assert [pair.changed_px for pair in pairs] == [64 * 64] * 2
    for pair in pairs:
        assert pair.damage["ours"].sum(axis=1).tolist() == [400, 0, 0, 64 * 64]
        # A roof that is another one is told from an unharmed one, by whatever class.
        assert pair.damage["ours"][3, 1:].sum() == 64 * 64 and pair.damage["ours"][0, 0] == 400
    row = figures_of(Work(lake, archive))["damage of given buildings", "xView2 damage score"]
    both = damage_of(pairs, "ours")
    assert (row["n"], row["ours"], row["chance"]) == (2, damage_score(both), chance_damage_score(both))


def test_oscd_bands_are_not_seen_and_its_splits_are_the_lists(tmp_path):
    root = tmp_path / "root" / "Onera Satellite Change Detection dataset - Images"
    for city, seed in (("abudhabi", 1), ("brasilia", 2)):
        before, after, mask = pictures(seed)
        save(root / city / "pair" / "img1.png", before)
        save(root / city / "pair" / "img2.png", after)
        save(root / city / "imgs_1_rect" / "B04.tif", before[..., 0])
        (root / city / "dates.txt").write_text("date_1: 20160101\n")
        if city == "abudhabi":
            labels = root.with_name("Onera Satellite Change Detection dataset - Train Labels")
            save(labels / city / "cm" / "cm.png", mask)
            save(labels / city / "cm" / f"{city}-cm.tif", mask // 255 + 1)
    (root / "train.txt").write_text("abudhabi")
    (root / "test.txt").write_text("brasilia")
    lake, archive = Lake(tmp_path / "lake"), archive_of(tmp_path / "root", "oscd")
    made = run(lake, archive)
    assert {shard: f.made for shard, f in made["items"].items()} == {"test_00000": 2, "train_00000": 3}
    refused = made["pair_changes"]["test_00000"]
    assert (refused.made, list(refused.reasons.values())) == (
        0,
        ["it has no mask: its labels are withheld, or aren't unpacked"],
    )
    rows = figures_of(Work(lake, archive))
    assert rows["change detection, train split", "F1"]["ours"] > 0.7
    assert not any(math.isnan(row["ours"]) for row in rows.values())


def test_s2looking_s_partial_masks_are_not_seen(tmp_path):
    sides = ("Image1", "Image2", "label", "label1", "label2")
    for side in sides:
        save(tmp_path / "root" / "test" / side / "1.png", ground((20, 20)))
    lake = Lake(tmp_path / "lake")
    register(archive_of(tmp_path / "root", "s2looking"), lake)
    seen = [item.path for item in lake.ledger.items("mini")]
    assert sorted(seen) == [f"test/{side}/1.png" for side in sides[:3]]


def test_an_added_change_set_has_no_settings_of_scenes_and_comes_back_as_one(tmp_path, monkeypatch):
    write_levir(tmp_path / "root", "test", "test_1", 1)
    monkeypatch.setenv("DINOLAKE_CATALOG", str(tmp_path / "catalog.toml"))
    asked = Asked("mini", "scene", str(tmp_path / "root"), dataset="levir_cd", backbone="efficientnet_lite0")
    add_archive_entry(asked, say=lambda line: None)
    entry = tomllib.loads((tmp_path / "catalog.toml").read_text())["archives"]["mini"]
    assert entry.keys() >= {"dataset", "shard_items"}
    assert not entry.keys() & {"scenes", "change", "land_cover", "index", "frames"}
    assert read_catalog(tmp_path / "catalog.toml").archive("mini").line == "change_set"


def test_a_folder_without_pairs_says_what_was_looked_for(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "notes.txt").write_text("nothing here")
    with pytest.raises(DatasetError, match="no pictures in folders A and B"):
        register(archive_of(tmp_path / "root", "levir_cd"), Lake(tmp_path / "lake"))


def test_what_stands_above_a_stage_is_the_same_in_dagster_and_in_its_fingerprint(tmp_path):
    assets = [
        part
        for part in change_set_line(archive_of(tmp_path, "levir_cd"))
        if isinstance(part, dg.AssetsDefinition)
    ]
    graph = dg.Definitions(assets=assets, resources={"lake": None, "compute": None}).resolve_asset_graph()
    for stage in CHANGE_SET_LINE.stages:
        above = {key.path[-1] for key in graph.get(dg.AssetKey(["mini", stage.name])).parent_keys}
        assert above - {"sources"} == set(stage.upstream), stage.name
