"""OSCD, Onera Satellite Change Detection: 24 cities in two Sentinel-2 pictures each, with urban change.

Three zips on the authors' share; MD5 and two of the addresses as torchgeo pins them. The third, of the train
labels, has the same key there under another host name, whose certificate is reported not to match. Sizes
aren't published. Layout: `… - Images/<city>/` with `imgs_1` and `imgs_2` (13 bands as delivered),
`imgs_1_rect` and `imgs_2_rect` (B01.tif … B12.tif and B8A.tif, one band a file, all on one 10 m grid),
`pair/img1.png` and `img2.png` (true colour) and `dates.txt`; `… - Train Labels/<city>/cm/cm.png` (0 or 255;
beside it `<city>-cm.tif` with 1 or 2), the same for `Test Labels`. `train.txt` and `test.txt` beside the
cities name them in one line, with commas.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lib.datasets import ChangePair, Dataset, Licence, RemoteFile, SourceItem
from lib.datasets.change_folders import items_of_pairs, require_all
from lib.datasets.folders import files_below
from lib.errors import DatasetError

_AT = "https://partage.imt.fr/index.php/s"
_TITLE = "Onera Satellite Change Detection dataset"
_LABEL_FOLDER = re.compile(r"(train|test)[ _]labels", re.IGNORECASE)
_BANDS = ("imgs_1_rect", "imgs_2_rect")


def read_pairs(root: Path) -> Iterator[ChangePair]:
    """A pair for each city: the true-colour pictures, the change mask, and the official split.

    The 13 bands of a pair are not in it: they are the single-band files of `imgs_1_rect` and `imgs_2_rect`
    beside the folder `pair`. A city has no mask where none of its split has one, for the labels come in two
    archives of their own.

    Args:
        root: Folder that holds pictures, labels and lists, at any depth.

    Raises:
        DatasetError: No cities below the root, or a city that lacks a picture, or the mask that others of its
            split have.
    """
    cities = _cities(root)
    if not cities:
        raise DatasetError(
            f"there is no <city>/pair/img1.png below {root}. Unpack `{_TITLE} - Images.zip` into that folder."
        )
    masks = {
        path.parent.parent.name: path
        for path in files_below(root, frozenset({".png"}))
        if path.parts[-2:] == ("cm", "cm.png")
    }
    splits = _listed(root) or {city: split for city, mask in masks.items() if (split := _split_of(mask))}
    labelled = {splits.get(city) for city in masks}
    for city, folder in cities.items():
        before, after = (folder / "pair" / f"img{number}.png" for number in (1, 2))
        mask = masks.get(city)
        if mask is None and splits.get(city) in labelled:
            mask = PurePosixPath(city, "cm", "cm.png")
        require_all(root, [before, after, *([mask] if mask else [])])
        yield ChangePair(city, str(before), str(after), str(mask) if mask else None, splits.get(city))


def read_items(root: Path) -> Iterator[SourceItem]:
    """The true-colour pictures, with their splits.

    Raises:
        DatasetError: As `read_pairs`.
    """
    yield from items_of_pairs(read_pairs(root))


def _cities(root: Path) -> dict[str, PurePosixPath]:
    # Found by its bands too, so that a city whose pictures are gone is missed.
    found = {
        path.parent.parent
        for path in files_below(root, frozenset({".png", ".tif"}))
        if path.parts[-2:-1] == ("pair",) or path.parent.name in _BANDS
    }
    return {folder.name: folder for folder in sorted(found)}


def _listed(root: Path) -> dict[str, str]:
    listed = {}
    for path in files_below(root, frozenset({".txt"})):
        if path.name in ("train.txt", "test.txt"):
            text = (root / path).read_text(encoding="utf-8")
            listed.update({city: path.stem for city in re.split(r"[,\s]+", text) if city})
    return listed


def _split_of(mask: PurePosixPath) -> str | None:
    found = _LABEL_FOLDER.search(str(mask))
    return found[1].lower() if found else None


DATASET = Dataset(
    name="oscd",
    kind="scene",
    title="OSCD, Onera Satellite Change Detection with Sentinel-2",
    licence=Licence(
        name="CC BY-NC-SA (change maps); modified Copernicus Sentinel data 2015-2018 (pictures)",
        url="https://rcdaudt.github.io/oscd/",
        asks="Attribution: cite Caye Daudt, Le Saux, Boulch and Gousseau, IGARSS 2018. The change maps are "
        "not for commercial use.",
        needs_acknowledgement=True,
    ),
    files=(
        RemoteFile(
            url=f"{_AT}/gKRaWgRnLMfwMGo/download",
            name=f"{_TITLE} - Images.zip",
            md5="c50d4a2941da64e03a47ac4dec63d915",
        ),
        RemoteFile(
            url=f"{_AT}/2D6n03k58ygBSpu/download",
            name=f"{_TITLE} - Train Labels.zip",
            md5="4d2965af8170c705ebad3d6ee71b6990",
        ),
        RemoteFile(
            url=f"{_AT}/gpStKn4Mpgfnr63/download",
            name=f"{_TITLE} - Test Labels.zip",
            md5="8177d437793c522653c442aa4e66c617",
        ),
    ),
    # An estimate: .55 GB of 16-bit rectified bands, less of those as delivered, and the archive.
    size_bytes=2_000_000_000,
    read_items=read_items,
    read_pairs=read_pairs,
    beside=(
        "*/imgs_[12]/*",
        "*/imgs_[12]_rect/*",
        "*/cm/*-cm.tif",
        "*/dates.txt",
        "*/train.txt",
        "*/test.txt",
    ),
    notes="14 cities to train on, 10 to test. The annotated changes are urban: new buildings and roads.",
)
