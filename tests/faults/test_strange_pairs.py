"""Pairs that won't do: a row with its reason each, and the others go on."""

import numpy as np
import pytest
from factories import ground
from pairs import SIZE, make_line, pair_archive, rows_of, write_table, write_views
from PIL import Image

from lib.errors import CatalogError
from lib.lake import Lake
from lib.stages.items import OK
from lib.stages.sources import register

COLUMNS = ("id", "left", "right", "split", "group")


def verdicts(tmp_path, rows, **told):
    archive = pair_archive(write_table(tmp_path / "pairs.csv", rows, COLUMNS), **told)
    lake = Lake(tmp_path / "lake")
    made = make_line(lake, archive, until="embeddings")
    return {row["item"]: row["verdict"] for row in rows_of(lake, archive, "items")}, made


def pair(folder, place, **told):
    left, right = write_views(folder, place)
    return {"id": f"p{place}", "left": left, "right": right} | told


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"left": "missing.png"}, "left: missing.png: it isn't there"),
        ({"right": ""}, "a left without any right"),
        ({"right": "../outside.png"}, "lies outside"),
        ({"right": "/etc/hostname"}, "lies outside"),
        ({"right": "link.png"}, "lies outside"),
        ({"right": "empty.png"}, "empty file"),
        ({"right": "folder"}, "no regular file"),
        ({"right": "twin.png"}, "same picture"),
        ({"right": "day_001.png"}, "same file"),
        ({"right": "x\x00y.png"}, "can't be looked at"),
        ({"id": "p0"}, "stands in line 2 already"),
    ],
)
def test_a_bad_row_has_its_reason_and_the_good_one_goes_on(tmp_path, told, reason):
    bad = pair(tmp_path, 1) | told
    (tmp_path.parent / "outside.png").write_bytes((tmp_path / "day_001.png").read_bytes())
    (tmp_path / "link.png").symlink_to(tmp_path.parent / "outside.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "twin.png").write_bytes((tmp_path / "day_001.png").read_bytes())
    found, made = verdicts(tmp_path, [pair(tmp_path, 0), bad])
    assert found.pop("p0") == OK
    assert [reason in verdict for verdict in found.values()] == [True]
    assert sum(facts.rejected for facts in made["items"].values()) == 1


def test_an_unreadable_picture_is_refused_when_it_is_embedded_and_its_pair_is_left_out(tmp_path):
    bad = pair(tmp_path, 1)
    (tmp_path / bad["right"]).write_bytes(b"no picture at all")
    cut = pair(tmp_path, 2)
    (tmp_path / cut["right"]).write_bytes((tmp_path / cut["right"]).read_bytes()[:200])
    _, made = verdicts(tmp_path, [pair(tmp_path, 0), bad, cut])
    (facts,) = made["right_embeddings"].values()
    assert (facts.made, facts.rejected, set(facts.reasons)) == (1, 2, {"p1", "p2"})
    assert "picture" in facts.reasons["p1"]


def test_train_and_test_of_one_place_are_told_apart_from_those_that_are_sound(tmp_path):
    rows = [
        pair(tmp_path, 0, split="train", group="oslo"),
        pair(tmp_path, 1, split="test", group="oslo"),
        pair(tmp_path, 2, split="train", group="bergen"),
    ]
    found, _ = verdicts(tmp_path, rows)
    assert "shares its place" in found["p0"]
    assert found["p1"] == found["p2"] == OK


def test_the_same_tile_in_train_and_test_is_noticed_without_any_group(tmp_path):
    first, second = pair(tmp_path, 0, split="train"), pair(tmp_path, 1, split="test")
    (tmp_path / second["right"]).write_bytes((tmp_path / first["right"]).read_bytes())
    found, _ = verdicts(tmp_path, [first, second])
    assert "shares its place or a picture with 'p1'" in found["p0"]


def test_captions_empty_or_of_ten_thousand_words_stop_nothing(tmp_path):
    left, _ = write_views(tmp_path, 0)
    other, _ = write_views(tmp_path, 1)
    rows = [
        {"id": "long", "left": left, "right": "a dog runs along the beach " * 1700},
        {"id": "blank", "left": other, "right": " \t "},
        {"id": "nul", "left": other, "right": "a\x00b"},
        {"id": "short", "left": other, "right": "a cat"},
    ]
    found, made = verdicts(tmp_path, rows, right="text")
    assert found["long"] == found["short"] == OK
    assert "without any right" in found["blank"]
    assert found["nul"] != OK
    (facts,) = made["right_embeddings"].values()
    assert facts.made == 2


def test_a_caption_of_five_pictures_is_one_content_and_five_of_a_picture_one_picture(tmp_path):
    names = [write_views(tmp_path, place)[0] for place in range(2)]
    rows = [{"id": f"{p}{c}", "left": names[p], "right": f"caption {c}"} for p in range(2) for c in range(5)]
    _, made = verdicts(tmp_path, rows, right="text")
    assert [facts.made for facts in made["left_embeddings"].values()] == [2]
    assert [facts.made for facts in made["right_embeddings"].values()] == [5]


def test_a_depth_side_takes_16_bit_maps_and_refuses_a_photograph(tmp_path):
    depth = (1000 + 10 * np.arange(SIZE[0])[:, None] + np.zeros(SIZE)).astype(np.uint16)
    Image.fromarray(depth).save(tmp_path / "depth.png")
    Image.fromarray(ground(SIZE, seed=3)).save(tmp_path / "colour.png")
    rows = [
        {"id": "good", "left": write_views(tmp_path, 0)[0], "right": "depth.png"},
        {"id": "bad", "left": write_views(tmp_path, 1)[0], "right": "colour.png"},
    ]
    _, made = verdicts(tmp_path, rows, right="depth")
    (facts,) = made["right_embeddings"].values()
    assert (facts.made, set(facts.reasons)) == (1, {"bad"})


def test_a_table_that_is_gone_or_suddenly_empty_stops_the_run_and_not_the_archive(tmp_path):
    table = write_table(tmp_path / "pairs.csv", [pair(tmp_path, 0)], COLUMNS)
    archive, lake = pair_archive(table), Lake(tmp_path / "lake")
    register(archive, lake)
    write_table(table, [], COLUMNS)
    with pytest.raises(CatalogError, match="--accept-empty"):
        register(archive, lake)
    table.unlink()
    with pytest.raises(CatalogError, match="isn't there"):
        register(archive, lake)
    assert not lake.ledger.items("towns")[0].removed
