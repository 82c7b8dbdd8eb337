"""EuroSAT: 27,000 Sentinel-2 pictures of 64 x 64 px at 10 m, of ten kinds of land cover.

The RGB edition, `2750/<Class>/<Class>_<number>.jpg`. The zip is fetched from torchgeo's account on the
Hugging Face Hub, redistributed without change (94.3 MB as listed there); the SHA-256 is the one that
torchvision's prototype datasets pin for the authors' own server, the MD5 the one that torchvision pins for
the copy.
The authors define no split. Two are in use, as lists of file names with MD5 that torchgeo pins: the random
one of Neumann et al. (In-domain representation learning for remote sensing, 2019) and EuroSAT-spatial, which
parts by longitude, so that neighbours stay on one side.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lib.datasets import Dataset, Licence, RemoteFile, SourceItem
from lib.datasets.folders import files_below
from lib.errors import DatasetError

_AT = "https://huggingface.co/datasets/torchgeo/eurosat/resolve"
_PICTURES = "c877bcd43f099cd0196738f714544e355477f3fd"
_LISTS = "1ce6f1bfb56db63fd91b6ecc466ea67f2509774c"
_LIST_MD5 = {
    "eurosat-train.txt": "908f142e73d6acdf3f482c5e80d851b1",
    "eurosat-val.txt": "95de90f2aa998f70a3b2416bfe0687b4",
    "eurosat-test.txt": "7ae5ab94471417b6e315763121e67c5f",
    "eurosat-spatial-train.txt": "7be3254be39f23ce4d4d144290c93292",
    "eurosat-spatial-val.txt": "acf392290050bb3df790dc8fc0ebf193",
    "eurosat-spatial-test.txt": "5ec1733f9c16116bf0aa2d921fc613ef",
}


def read_items(root: Path, *, spatial: bool = False) -> Iterator[SourceItem]:
    """The pictures with their class, and with their split where its lists are there.

    Args:
        root: Folder that holds the classes' folders and the lists, at any depth.
        spatial: EuroSAT-spatial's lists instead of the random ones.

    Raises:
        DatasetError: No pictures in the published layout.
    """
    splits = _listed(root, "eurosat-spatial" if spatial else "eurosat")
    found = [path for path in files_below(root, frozenset({".jpg"})) if _is_named_by_class(path)]
    if not found:
        raise DatasetError(
            f"there is no <Class>/<Class>_<number>.jpg below {root}. Point `root` at the unpacked "
            "EuroSAT.zip (the RGB edition)."
        )
    for path in found:
        yield SourceItem(str(path), path.parent.name, splits.get(path.stem))


def _is_named_by_class(path: PurePosixPath) -> bool:
    label, _, number = path.stem.rpartition("_")
    return label == path.parent.name and number.isdigit()


def _listed(root: Path, lists: str) -> dict[str, str]:
    listed = {}
    for path in files_below(root, frozenset({".txt"})):
        for split in ("train", "val", "test"):
            if path.name == f"{lists}-{split}.txt":
                # By stem: the lists name the `.tif` of the edition with all bands, or the `.jpg` of this one.
                names = (root / path).read_text(encoding="utf-8").split()
                listed.update({PurePosixPath(name).stem: split for name in names})
    return listed


DATASET = Dataset(
    name="eurosat",
    kind="image",
    title="EuroSAT, land use and land cover classification with Sentinel-2",
    licence=Licence(
        name="MIT",
        url="https://github.com/phelber/EuroSAT",
        asks="Keep the copyright notice; cite Helber, Bischke, Dengel and Borth, IEEE JSTARS 12(7), 2019.",
        needs_acknowledgement=False,
    ),
    files=(
        RemoteFile(
            url=f"{_AT}/{_PICTURES}/EuroSAT.zip",
            name="EuroSAT.zip",
            size_bytes=94_300_000,
            sha256="8ebea626349354c5328b142b96d0430e647051f26efc2dc974c843f25ecf70bd",
            md5="c8fa014336c82ac7804f0398fcb19387",
        ),
        *(
            RemoteFile(url=f"{_AT}/{_LISTS}/{name}", name=name, md5=md5, unpack=False)
            for name, md5 in _LIST_MD5.items()
        ),
    ),
    size_bytes=250_000_000,
    read_items=read_items,
    notes="The random split is read: 16,200 pictures to train on, 5,400 to validate, 5,400 to test.",
)
