"""VIGOR: 105,214 street panoramas and 90,618 satellite tiles of four cities, each tile near its neighbours.

Handed out after a form (https://github.com/Jeff-Zilence/VIGOR). `<City>/panorama/<id>,<lat>,<lon>,.jpg` and
`<City>/satellite/satellite_<lat>_<lon>.png`, cities Chicago, NewYork, SanFrancisco and Seattle; in
`splits/<City>`: `satellite_list.txt`, a tile a line, and `same_area_balanced_train.txt`,
`same_area_balanced_test.txt` and `pano_label_balanced.txt`, a panorama a line followed by four times a tile
and its offset in pixels (two numbers): first the one positive, then three semi-positives, which hold the
place too, but far from their middle. Offsets aren't read, so SliceMatch's corrections of them aren't either.

Two protocols: this one, same-area, with all cities and all tiles on both sides of the split, and cross-area
(`vigor_cross`). The gallery is every tile of the test cities, those without a panorama among them.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from lib.datasets import Dataset, Licence, PairRow, Side
from lib.datasets.listed_pairs import nearest, relative
from lib.errors import DatasetError

SIDES = (Side("picture", panorama=True), Side("picture"))
# By split: the cities, and their lists.
Protocol = Mapping[str, tuple[tuple[str, ...], str]]
_CITIES = ("Chicago", "NewYork", "SanFrancisco", "Seattle")
SAME_AREA: Protocol = MappingProxyType(
    {
        "train": (_CITIES, "same_area_balanced_train.txt"),
        "test": (_CITIES, "same_area_balanced_test.txt"),
    }
)
_TILES = "satellite_list.txt"
# Of a line's 13 fields, those that name tiles.
_FIELDS, _POSITIVE, _SEMI_POSITIVES = 13, 1, (4, 7, 10)


def read_pair_rows(root: Path, *, protocol: Protocol = SAME_AREA) -> Iterator[PairRow]:
    """Panorama and positive tile, with the semi-positives `near`; then the test cities' other tiles alone.

    Coordinates are the tile's middle: what a street picture is told is where its tile lies. The group is the
    positive tile, which has at most two panoramas.

    Args:
        root: Folder that holds cities and splits, at any depth.
        protocol: By split, the cities and the name of their lists.

    Raises:
        DatasetError: A list is missing, or a line of it doesn't have its 13 fields.
    """
    for split, (cities, name) in protocol.items():
        for city in cities:
            lists = nearest(root, f"splits/{city}/{_TILES}", f"{city}/{_TILES}").parent
            pictures = _pictures_of(city, lists, root)
            positives = set()
            for row in _labelled(lists / name, pictures, city, split):
                positives.add(row.right)
                yield row
            if split == "test":
                tiles = (f"{pictures}satellite/{tile}" for tile in _lines(lists / _TILES))
                yield from (_alone(tile, city) for tile in tiles if tile not in positives)


def _pictures_of(city: str, lists: Path, root: Path) -> str:
    above = [folder for folder in lists.parents if folder.is_relative_to(root)]
    found = [folder for folder in above if (folder / city / "panorama").is_dir()]
    return f"{relative(found[0] if found else root, root)}{city}/"


def _labelled(file: Path, pictures: str, city: str, split: str) -> Iterator[PairRow]:
    for number, line in enumerate(_lines(file), start=1):
        fields = line.split()
        if len(fields) != _FIELDS:
            raise DatasetError(
                f"{file}, line {number}, has {len(fields)} fields and not {_FIELDS}: a panorama, and four "
                "times a tile and its offset. Fetch the lists again."
            )
        tile = f"{pictures}satellite/{fields[_POSITIVE]}"
        lat, lon = _place_of(tile)
        yield PairRow(
            id=f"{city}_{PurePosixPath(fields[0]).stem.rstrip(',')}",
            left=f"{pictures}panorama/{fields[0]}",
            right=tile,
            split=split,
            group=tile,
            lon=lon,
            lat=lat,
            near=tuple(f"{pictures}satellite/{fields[at]}" for at in _SEMI_POSITIVES),
        )


def _alone(tile: str, city: str) -> PairRow:
    lat, lon = _place_of(tile)
    return PairRow(f"{city}_{PurePosixPath(tile).stem}", None, tile, "test", tile, lon, lat)


def _place_of(tile: str) -> tuple[float | None, float | None]:
    """Latitude and longitude as `satellite_<lat>_<lon>.png` tells them; None where it doesn't."""
    try:
        _, lat, lon = PurePosixPath(tile).stem.split("_")
        return float(lat), float(lon)
    except ValueError:
        return None, None


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{file} can't be read ({error}). Unpack VIGOR's splits again, all lists of each city."
        ) from error


DATASET = Dataset(
    name="vigor",
    kind="pair",
    title="VIGOR, street panoramas and satellite tiles of four cities, same-area",
    licence=Licence(
        name="by agreement with the authors: academic research only",
        url="https://github.com/Jeff-Zilence/VIGOR/blob/main/data/DATASET.md",
        asks="Only for academic research, and not to be distributed: ask with the form on that page, and "
        "cite Zhu, Yang and Chen, CVPR 2021. The pictures are Google's.",
        needs_acknowledgement=True,
    ),
    files=(),
    # An estimate: 105,214 JPEGs of 2048 x 1024 px, 90,618 PNGs of 640 x 640 px, and their archives.
    size_bytes=200_000_000_000,
    read_pair_rows=read_pair_rows,
    sides=SIDES,
    shares_places=True,
    by_hand="VIGOR is handed out after a form: follow "
    "https://github.com/Jeff-Zilence/VIGOR/blob/main/data/DATASET.md, unpack the cities and splits.zip into "
    "one folder, and set `root` to it.",
    notes="Panoramas have north in their middle, tiles have it up. All tiles are gallery, and test panoramas "
    "stand in tiles that were trained on: cross-area asks for more. A hit rate counts those queries whose "
    "tile comes first once the semi-positives are left out.",
)
