"""VIGOR's reader, both protocols, on a miniature of its true layout."""

from pathlib import Path

import pytest

from lib.datasets import PairRow, dataset
from lib.datasets.vigor import read_pair_rows
from lib.datasets.vigor_cross import read_pair_rows as read_cross
from lib.errors import DatasetError

# A corner of each city: latitude, longitude.
CITIES = {"Chicago": (41, -87), "NewYork": (40, -73), "SanFrancisco": (37, -122), "Seattle": (47, -122)}


def tile(city: str, number: int) -> str:
    lat, lon = CITIES[city]
    return f"satellite_{lat}.{number}8584553507432_{lon}.6{number}181147737129.png"


def panorama(city: str, number: int) -> str:
    lat, lon = CITIES[city]
    return f"_id-{number}_{city[:2]},{lat}.{number}00001,{lon}.600002,.jpg"


def line(city: str, number: int, *tiles: int) -> str:
    told = " ".join(f"{tile(city, n)} {n}0.25 -{n}1.5" for n in tiles)
    return f"{panorama(city, number)} {told}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four cities of six tiles each; tile 1 is the positive of a panorama in train and of one in test."""
    for city in CITIES:
        lists = tmp_path / "VIGOR" / "splits" / city
        lists.mkdir(parents=True)
        (tmp_path / "VIGOR" / city / "panorama").mkdir(parents=True)
        train, test = line(city, 0, 1, 4, 2, 3), line(city, 1, 1, 2, 4, 3)
        (lists / "satellite_list.txt").write_text("".join(f"{tile(city, n)}\n" for n in range(6)))
        (lists / "same_area_balanced_train.txt").write_text(train)
        (lists / "same_area_balanced_test.txt").write_text(test)
        (lists / "pano_label_balanced.txt").write_text(train + test)
    return tmp_path


def test_the_first_tile_is_right_and_the_other_three_are_near_in_their_order(root: Path) -> None:
    at = "VIGOR/Chicago/satellite/"
    assert next(read_pair_rows(root)) == PairRow(
        id="Chicago__id-0_Ch,41.000001,-87.600002",
        left="VIGOR/Chicago/panorama/_id-0_Ch,41.000001,-87.600002,.jpg",
        right=at + tile("Chicago", 1),
        split="train",
        group=at + tile("Chicago", 1),
        lon=-87.61181147737129,
        lat=41.18584553507432,
        near=(at + tile("Chicago", 4), at + tile("Chicago", 2), at + tile("Chicago", 3)),
    )


def test_same_area_tests_every_city_against_all_of_its_tiles(root: Path) -> None:
    test = [row for row in read_pair_rows(root) if row.split == "test"]
    for city in CITIES:
        rows = [row for row in test if row.id.startswith(f"{city}_")]
        assert [row.left is None for row in rows] == [False] + [True] * 5
        assert {row.right for row in rows} == {f"VIGOR/{city}/satellite/{tile(city, n)}" for n in range(6)}
    assert len(test) == 24


def test_a_tile_alone_has_its_own_coordinates(root: Path) -> None:
    alone = next(row for row in read_pair_rows(root) if row.left is None)
    assert (alone.lat, alone.lon) == (41.08584553507432, -87.60181147737129)


def test_cross_area_puts_whole_cities_on_either_side(root: Path) -> None:
    rows = [row for row in read_cross(root) if row.left]
    assert [(row.id.partition("_")[0], row.split) for row in rows[::2]] == [
        ("NewYork", "train"),
        ("Seattle", "train"),
        ("Chicago", "test"),
        ("SanFrancisco", "test"),
    ]
    assert len(rows) == 8


def test_cross_areas_gallery_is_of_the_test_cities_only(root: Path) -> None:
    alone = [row.id for row in read_cross(root) if row.left is None]
    assert {name.partition("_")[0] for name in alone} == {"Chicago", "SanFrancisco"}
    assert len(alone) == 2 * 5


def test_only_same_area_has_tiles_on_both_sides_of_its_split(root: Path) -> None:
    for name in ("vigor", "vigor_cross"):
        told = dataset(name)
        assert told.read_pair_rows is not None
        sides = {
            part: {r.group for r in told.read_pair_rows(root) if r.left and r.split == part}
            for part in ("train", "test")
        }
        assert bool(sides["train"] & sides["test"]) is told.shares_places


def test_ids_are_unique(root: Path) -> None:
    names = [row.id for row in read_pair_rows(root)]
    assert len(set(names)) == len(names)


def test_a_line_short_of_semi_positives_is_named(root: Path) -> None:
    (root / "VIGOR/splits/Seattle/same_area_balanced_train.txt").write_text(line("Seattle", 0, 1, 2))
    with pytest.raises(DatasetError, match="line 1, has 7 fields and not 13"):
        list(read_pair_rows(root))


def test_a_missing_list_is_named(root: Path) -> None:
    (root / "VIGOR/splits/Chicago/same_area_balanced_test.txt").unlink()
    with pytest.raises(DatasetError, match=r"Chicago/same_area_balanced_test\.txt can't be read"):
        list(read_pair_rows(root))
