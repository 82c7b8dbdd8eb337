"""A public dataset's pairs from the folder that a user has them in, through the whole line."""

import json
from pathlib import Path

import pytest
from pairs import make_line, rows_of, write_views

from lib.catalog import read_catalog
from lib.lake import Lake
from lib.settings import read_settings
from orchestration.adding import Asked, add_archive_entry

TRAIN, TEST, LONE = range(6), range(6, 9), range(9, 11)


def university(root: Path) -> None:
    """University-1652's layout: drone pictures by building, and a gallery with others' tiles."""
    for building in (*TRAIN, *TEST, *LONE):
        name, views = f"{building:04d}", root / "views"
        drone, satellite = (views / view for view in write_views(views, building))
        is_train = building in TRAIN
        places = {
            satellite: f"train/satellite/{name}/{name}.jpg" if is_train
            else f"test/gallery_satellite/{name}/{name}.jpg",
        }  # fmt: skip
        if building not in LONE:
            places[drone] = f"{'train/drone' if is_train else 'test/query_drone'}/{name}/image-01.jpeg"
        for view, place in places.items():
            file = root / "University-1652" / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(view.read_bytes())
    (root / "University-1652" / "test" / "query_satellite").mkdir()
    (root / "University-1652" / "test" / "gallery_drone").mkdir()


def test_a_folder_of_university_1652_ends_in_its_report_with_the_lone_tiles_in_the_gallery(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("DINOLAKE_CATALOG", str(tmp_path / "catalog.toml"))
    root = tmp_path / "data"
    university(root)
    asked = Asked("uni", "pair", str(root), dataset="university1652", backbone="efficientnet_lite0")
    add_archive_entry(asked, say=lambda line: None)
    archive = read_catalog(read_settings().catalog).archive("uni")
    assert {archive.pair_sides().side(side).views for side in ("left", "right")} == {"turned"}
    lake = Lake(tmp_path / "lake")
    made = make_line(lake, archive)
    assert {row["verdict"] for row in rows_of(lake, archive, "items")} == {"ok"}
    assert sum(facts.made for facts in made["right_embeddings"].values()) == 11
    report = json.loads((lake.folder("uni", "retrieval_report") / "report.json").read_text())
    chance = {m["task"]: m["chance"] for m in report["metrics"] if m["metric"] == "R@1"}
    # Three buildings are asked for among their tiles and the two of no pair.
    assert chance == pytest.approx({"left → right": 1 / 5, "right → left": 1 / 3})
