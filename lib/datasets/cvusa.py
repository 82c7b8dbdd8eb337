"""CVUSA: 44,416 street panoramas from all over the United States, each with its satellite picture.

Handed out after a form (https://mvrl.cse.wustl.edu/datasets/cvusa/), as the subset of Zhai et al. (CVPR
2017). `splits/train-19zl.csv` (35,532 rows) and `splits/val-19zl.csv` (8,884) have no header; a row is
`bingmap/19/<number>.jpg,streetview/panos/<number>.jpg,streetview/annotations/<number>.png`, relative to the
folder above `splits`. The folders `bingmap/18` and `bingmap/20` are other zoom levels, which aren't read. Row
n of `split_locations/all.csv` (or `split/all.csv`), which not every copy has, tells the place of picture n:
latitude and longitude twice, for both sides, and a heading. Public readers of it disagree on which of the two
is which side's; the first is taken.
"""

import csv
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lib.datasets import Dataset, Licence, PairRow, Side
from lib.datasets.listed_pairs import nearest, relative
from lib.errors import DatasetError

SIDES = (Side("picture", panorama=True), Side("picture"))
# There is no other test: the figures that everyone publishes are of what is called val.
_LISTS = {"train": "train-19zl.csv", "test": "val-19zl.csv"}


def read_pair_rows(root: Path) -> Iterator[PairRow]:
    """Panorama and satellite picture of each listed number, `val` read as test; one to one, no groups.

    Raises:
        DatasetError: A list is missing, or a row of it has no two paths.
    """
    places = _read_places(root)
    for split, name in _LISTS.items():
        file = nearest(root, f"splits/{name}", name)
        is_below = file.parent.name == "splits" and file.parent != root
        base = relative(file.parent.parent if is_below else file.parent, root)
        for line, row in enumerate(_rows(file), start=1):
            if len(row) < 2 or not row[0].strip() or not row[1].strip():
                raise DatasetError(
                    f"{file}, line {line}: {','.join(row)!r} has no satellite picture and panorama. "
                    "Fetch the list again."
                )
            satellite, panorama = row[0].strip(), row[1].strip()
            number = PurePosixPath(satellite).stem
            lat, lon = places.get(number, (None, None))
            yield PairRow(number, f"{base}{panorama}", f"{base}{satellite}", split, lon=lon, lat=lat)


def _read_places(root: Path) -> dict[str, tuple[float, float]]:
    """Latitude and longitude by the pictures' number of seven digits; none without the file."""
    try:
        file = nearest(root, "split_locations/all.csv", "split/all.csv")
    except DatasetError:
        return {}
    places = {}
    for number, row in enumerate(_rows(file), start=1):
        try:
            places[f"{number:07d}"] = float(row[0]), float(row[1])
        except (ValueError, IndexError) as error:
            raise DatasetError(
                f"{file}, line {number}: {','.join(row)!r} doesn't begin with a latitude and a longitude. "
                "Fetch it again, or take it away: it is wanted for coordinates only."
            ) from error
    return places


def _rows(file: Path) -> Iterator[list[str]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            yield from (row for row in csv.reader(lines) if row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{file} can't be read ({error}). Fetch it again.") from error


DATASET = Dataset(
    name="cvusa",
    kind="pair",
    title="CVUSA, street panoramas and satellite pictures across the United States",
    licence=Licence(
        name="by agreement with the authors; the pictures are Google's, Flickr users' and Microsoft's",
        url="https://mvrl.cse.wustl.edu/datasets/cvusa/",
        asks="For academic research: ask with the form on that page, don't pass the pictures on, and cite "
        "Workman, Souvenir and Jacobs, ICCV 2015, and Zhai, Bessinger, Workman and Jacobs, CVPR 2017.",
        needs_acknowledgement=True,
    ),
    files=(),
    # An estimate: 88,832 pictures of .1 to .2 MB, and the archive.
    size_bytes=30_000_000_000,
    read_pair_rows=read_pair_rows,
    sides=SIDES,
    by_hand="CVUSA is handed out after a form: ask at https://mvrl.cse.wustl.edu/datasets/cvusa/ for the "
    "subset of CVPR 2017, unpack it, and set `root` to the folder that holds splits, bingmap and streetview.",
    notes="Panoramas have 1232 x 224 px and are aligned with their satellite pictures (750 x 750 px).",
)
