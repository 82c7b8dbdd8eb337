"""Scenes and pairs that were forgotten are out of every file, and the rest is as if they had been deleted."""

import shutil
from pathlib import Path

import pairs
import pytest
import scenes

from lib import forget, purge
from lib.catalog import Archive
from lib.collect import find_litter, remove
from lib.lake import Lake
from lib.search.pairs import PairSearcher
from lib.search.places import PlaceSearcher
from lib.stages.making import Work
from lib.stages.sources import register

pytestmark = pytest.mark.slow

DAYS = ("20240102", "20240109", "20240116", "20240123", "20240130")
# The first is what the tile was fitted on; the second one stands in others' histories, too.
FORGOTTEN = ("farm_20240102", "farm_20240116")
PAIR = "qxsecret"


def naming(lake: Lake, words: tuple[str, ...]) -> list[str]:
    """Every file of the lake that has one of the words in its bytes or its name."""
    found = []
    for path in (each for each in lake.root.rglob("*") if each.is_file()):
        data = path.read_bytes()
        if any(word.encode() in data or word in path.name for word in words):
            found.append(str(path.relative_to(lake.root)))
    return sorted(found)


def take_out(lake: Lake, archive: Archive, make_line=None) -> None:
    """What gc does; `make_line` in the place of Dagster's run."""
    purge.begin(lake, archive, forget.due(lake, archive.name, older_than_s=1e9))
    if make_line is not None:
        make_line(lake, archive)
    purge.finish(lake, archive)
    forget.drop_dates(lake, archive.name)
    remove(lake, find_litter(lake, {archive.name: archive}, [archive.name], older_than_s=1e9).litter)


@pytest.fixture(scope="module")
def farm(tmp_path_factory) -> tuple[Path, Archive]:
    """Five dates of one place, made to their changes and their index; the folder and the archive."""
    folder = tmp_path_factory.mktemp("farm")
    archive = scenes.scene_archive(folder / "scenes", history=6)
    for number, day in enumerate(DAYS):
        scenes.write_scene(Path(archive.root or ""), day, built=number // 2)
    scenes.make_line(Lake(folder / "lake"), archive)
    return folder, archive


@pytest.fixture
def disturbed(farm, tmp_path) -> tuple[Lake, Archive]:
    folder, archive = farm
    shutil.copytree(folder / "lake", tmp_path / "lake")
    lake = Lake(tmp_path / "lake")
    assert {path.split("/")[1] for path in naming(lake, FORGOTTEN) if path.startswith("fields/")} >= {
        "items", "tiles", "windows", "window_embeddings", "changes", "scene_index",
    }  # fmt: skip
    forget.forget(lake, "fields", FORGOTTEN)
    return lake, archive


def test_scenes_are_out_of_every_file_and_the_rest_is_as_if_they_had_been_deleted(disturbed, farm, tmp_path):
    lake, archive = disturbed
    take_out(lake, archive, scenes.make_line)
    assert naming(lake, FORGOTTEN) == []

    folder, _ = farm
    shutil.copytree(folder / "lake", tmp_path / "twin")
    shutil.copytree(folder / "scenes", tmp_path / "scenes")
    twin, moved = Lake(tmp_path / "twin"), archive.model_copy(update={"root": str(tmp_path / "scenes")})
    for item in FORGOTTEN:
        (tmp_path / "scenes" / f"{item}.tif").unlink()
    scenes.make_line(twin, moved)
    for stage in ("windows", "window_embeddings", "changes"):
        assert scenes.contents(lake, archive, stage) == [
            row for row in scenes.contents(twin, moved, stage) if row["item"] not in FORGOTTEN
        ]
    names = set(PlaceSearcher(Work(lake, archive)).rows.column("item").to_pylist())
    assert names == {f"farm_{day}" for day in DAYS} - set(FORGOTTEN)


def test_scenes_whose_source_is_gone_and_that_nothing_was_made_anew_of_are_struck(disturbed):
    lake, archive = disturbed
    take_out(lake, archive)
    assert naming(lake, FORGOTTEN) == []
    searcher = PlaceSearcher(Work(lake, archive))
    assert set(searcher.names[searcher.alive]) == {f"farm_{day}" for day in DAYS} - set(FORGOTTEN)
    assert searcher.index.rows == searcher.rows.num_rows == int(searcher.alive.sum())
    made = scenes.make_line(lake, archive)
    assert not any(facts.made for facts in made["window_embeddings"].values()), "vectors were lost"


def test_forgotten_scenes_stay_out_of_answers_when_the_ledger_is_lost_before_gc(disturbed):
    lake, archive = disturbed
    for path in lake.root.glob("ledger.sqlite*"):
        path.unlink()
    searcher = PlaceSearcher(Work(Lake(lake.root), archive))
    assert set(searcher.names) >= set(FORGOTTEN)
    assert not set(searcher.names[searcher.alive]) & set(FORGOTTEN)


def test_a_purge_that_is_killed_half_way_is_finished_by_the_next(disturbed):
    lake, archive = disturbed
    purge.begin(lake, archive, forget.due(lake, "fields", older_than_s=1e9))
    # Killed here: the ledger doesn't know them any more, and nothing else tells which they were.
    assert not forget.due(lake, "fields", older_than_s=1e9) and naming(lake, FORGOTTEN)
    searcher = PlaceSearcher(Work(lake, archive))
    assert set(searcher.names) >= set(FORGOTTEN), "the index still holds them"
    assert not set(searcher.names[searcher.alive]) & set(FORGOTTEN), "and no answer does"
    take_out(Lake(lake.root), archive)
    assert naming(lake, FORGOTTEN) == [] and not forget.purged_shards(lake, "fields")


def test_a_forgotten_pair_is_out_of_every_file_and_stays_out_with_its_table_unchanged(tmp_path):
    folder = tmp_path / "views"
    rows = []
    for number in range(12):
        left, right = pairs.write_views(folder, number)
        rows.append({"id": f"pair{number}", "left": left, "right": right, "split": "train"})
    for side in ("left", "right"):
        (folder / rows[3][side]).rename(folder / f"{PAIR}_{side}.png")
        rows[3][side] = f"{PAIR}_{side}.png"
    rows[3]["id"] = PAIR
    table = pairs.write_table(folder / "pairs.csv", rows, ("id", "left", "right", "split"))
    archive, lake = pairs.pair_archive(table), Lake(tmp_path / "lake")
    pairs.make_line(lake, archive)
    told = {path.split("/")[1] for path in naming(lake, (PAIR,)) if path.startswith("towns/")}
    assert {"items", "left_embeddings", "aligner", "shared_embeddings", "gallery_index"} <= told

    forget.forget(lake, "towns", [PAIR])
    searcher = PairSearcher(Work(lake, archive))
    assert PAIR not in set(searcher.names[searcher.alive])
    take_out(lake, archive, pairs.make_line)
    assert naming(lake, (PAIR,)) == []
    assert PairSearcher(Work(lake, archive)).rows.num_rows == 2 * 11
    assert register(archive, lake).new == 0
    assert PAIR not in {item.item for item in lake.ledger.items("towns")}
