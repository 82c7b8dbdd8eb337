"""xBD's reader on a miniature of its true layout; polygons as its JSON writes them."""

import json
from pathlib import Path

import pytest

from lib.datasets import ChangePair
from lib.datasets.xbd import DATASET, read_buildings, read_items, read_pairs
from lib.errors import DatasetError, FetchError
from lib.fetch import fetch

FLORENCE = "hurricane-florence_00000013"
SQUARE = "POLYGON ((10 20, 16 20, 16 24, 10 24, 10 20))"


def feature(subtype: str | None, *, kind: str = "building", wkt: str = SQUARE) -> dict:
    told = {"feature_type": kind, "uid": f"uid of {subtype}"} | ({"subtype": subtype} if subtype else {})
    return {"properties": told, "wkt": wkt}


def labels(*features: dict) -> str:
    return json.dumps({"features": {"lng_lat": [], "xy": features}, "metadata": {"width": 1024}})


def lay_out(tier: Path, ident: str, *, targets: bool = True) -> None:
    for folder in ("images", "labels", *(("targets",) if targets else ())):
        (tier / folder).mkdir(parents=True, exist_ok=True)
    for date in ("pre_disaster", "post_disaster"):
        (tier / "images" / f"{ident}_{date}.png").touch()
        (tier / "labels" / f"{ident}_{date}.json").write_text(labels(feature("destroyed")))
        if targets:
            (tier / "targets" / f"{ident}_{date}_target.png").touch()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for tier in ("train", "test", "hold"):
        lay_out(tmp_path / f"{tier}_images_labels_targets" / tier, FLORENCE)
    lay_out(tmp_path / "tier3", "joplin-tornado_00000000", targets=False)
    return tmp_path


def test_pairs_have_the_damage_as_mask_and_as_polygons(root: Path) -> None:
    tier = "test_images_labels_targets/test"
    assert [pair for pair in read_pairs(root) if pair.split == "test"] == [
        ChangePair(
            name=f"{tier}/{FLORENCE}",
            before=f"{tier}/images/{FLORENCE}_pre_disaster.png",
            after=f"{tier}/images/{FLORENCE}_post_disaster.png",
            label=f"{tier}/targets/{FLORENCE}_post_disaster_target.png",
            split="test",
            polygons=f"{tier}/labels/{FLORENCE}_post_disaster.json",
        )
    ]


def test_tiers_1_and_3_are_to_train_on_and_tier_3_may_have_polygons_alone(root: Path) -> None:
    lay_out(root / "tier1", FLORENCE)
    found = {pair.name.split("/")[0]: pair for pair in read_pairs(root)}
    assert {name: pair.split for name, pair in found.items()} == {
        "hold_images_labels_targets": "hold",
        "test_images_labels_targets": "test",
        "tier1": "train",
        "tier3": "train",
        "train_images_labels_targets": "train",
    }
    assert (found["tier3"].label, found["tier3"].polygons) == (
        None,
        "tier3/labels/joplin-tornado_00000000_post_disaster.json",
    )


def test_items_are_the_pictures_and_not_the_targets(root: Path) -> None:
    assert all("/images/" in item.path for item in read_items(root))
    assert len(list(read_items(root))) == 8


@pytest.mark.parametrize(
    "lost", [f"images/{FLORENCE}_post_disaster.png", f"targets/{FLORENCE}_post_disaster_target.png"]
)
def test_a_lost_file_is_an_error_that_names_it(root: Path, lost: str) -> None:
    tier = root / "test_images_labels_targets" / "test"
    lay_out(tier, "palu-tsunami_00000001")
    (tier / lost).unlink()
    with pytest.raises(DatasetError, match=f"pairs lack test_images_labels_targets/test/{lost}"):
        list(read_pairs(root))


def test_buildings_have_their_outline_in_pixels_and_their_damage(tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    file.write_text(labels(feature("minor-damage"), feature("no-damage", kind="smoke")))
    (building,) = read_buildings(file)
    assert (building.uid, building.damage) == ("uid of minor-damage", "minor-damage")
    assert (building.outline.area, building.outline.bounds) == (24, (10, 20, 16, 24))


def test_damage_is_unknown_before_the_disaster_and_where_nobody_could_tell(tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    file.write_text(labels(feature(None), feature("un-classified")))
    assert [building.damage for building in read_buildings(file)] == [None, None]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"features": []}',
        labels(feature("destroyed", wkt="POLYGON ((0 0")),
        labels(feature("slightly wet")),
    ],
)
def test_a_broken_label_file_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "broken.json"
    file.write_text(text)
    with pytest.raises(DatasetError, match=r"broken\.json is no xBD label file"):
        read_buildings(file)


def test_it_is_fetched_by_hand_after_registration(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"after registration: log in at https://xview2\.org"):
        fetch(DATASET, tmp_path / "made", acknowledged=True)
