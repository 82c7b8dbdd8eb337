"""University-1652: 1,652 buildings of 72 universities, each in one satellite picture and 54 drone pictures.

Handed out upon request (https://github.com/layumi/University1652-Baseline). `train/{drone,satellite,street,
google}/<building>/…` and `test/{query_drone,gallery_drone,query_satellite,gallery_satellite,query_street,
gallery_street,4K_drone}/<building>/…`; satellite pictures are `<building>.jpg`, drone pictures
`image-01.jpeg` to `image-54.jpeg`, rendered along a spiral down around the building. Train and test share no
university.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lib.datasets import Dataset, Licence, PairRow, Side
from lib.datasets.listed_pairs import folders_in, is_picture, nearest, relative

# The drone circles and the satellite has north up: the heading of one in the other is unknown.
SIDES = (Side("picture", views="turned"), Side("picture", views="turned"))
_FOLDERS = {
    "train": ("train/drone", "train/satellite"),
    "test": ("test/query_drone", "test/gallery_satellite"),
}


def read_pair_rows(root: Path) -> Iterator[PairRow]:
    """Each drone picture with its building's satellite picture; then the gallery's other buildings alone.

    The group is the building. Nothing is listed anywhere: the folders tell, and a building whose satellite
    picture is gone is a row that names where it was.

    Raises:
        DatasetError: There is no `test/gallery_satellite` below the root.
    """
    base = nearest(root, "test/gallery_satellite").parent.parent
    above = relative(base, root)
    for split, (drone, satellite) in _FOLDERS.items():
        below = {
            building: pictures[0]
            for building, pictures in _buildings(base / satellite, above + satellite).items()
        }
        views = _buildings(base / drone, above + drone)
        for building, pictures in views.items():
            right = below.get(building, f"{above}{satellite}/{building}/{building}.jpg")
            for picture in pictures:
                name = f"{building}_{PurePosixPath(picture).stem}"
                yield PairRow(name, picture, right, split, building)
        if split == "test":
            for building in sorted(below.keys() - views.keys()):
                yield PairRow(f"{building}_satellite", None, below[building], split, building)


def _buildings(folder: Path, told: str) -> dict[str, list[str]]:
    """The pictures of each building in a folder, in order, as paths from the root."""
    found: dict[str, list[str]] = {}
    for building in folders_in(folder):
        if names := sorted(path.name for path in building.iterdir() if is_picture(path.name)):
            found[building.name] = [f"{told}/{building.name}/{name}" for name in names]
    return found


DATASET = Dataset(
    name="university1652",
    kind="pair",
    title="University-1652, drone and satellite pictures of buildings",
    licence=Licence(
        name="by agreement with the authors: research only",
        url="https://github.com/layumi/University1652-Baseline/blob/master/Request.md",
        asks="For research only, not to be passed on nor sold: ask with the letter on that page, and cite "
        "Zheng, Wei and Yang, ACM Multimedia 2020. The pictures are Google's.",
        needs_acknowledgement=True,
    ),
    files=(),
    # An estimate: 146,000 JPEGs of 512 x 512 px, and their archive.
    size_bytes=30_000_000_000,
    read_pair_rows=read_pair_rows,
    sides=SIDES,
    by_hand="University-1652 is handed out upon request: write to its authors as "
    "https://github.com/layumi/University1652-Baseline/blob/master/Request.md says, unpack what they send, "
    "and set `root` to the folder that holds train and test.",
    notes="701 buildings in train and 701 in test (37,855 drone pictures); 250 more are in the gallery. From "
    "satellite to drone, the gallery is short of those buildings' 13,500 drone pictures: figures for that "
    "direction are of 37,855 and not of 51,355. Street pictures aren't read.",
)
