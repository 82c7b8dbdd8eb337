"""UC Merced Land Use: 2,100 aerial pictures of 256 x 256 px at .3 m (one foot), 21 classes of 100.

`UCMerced_LandUse/Images/<class>/<class>NN.tif`. The authors' server (http://weegee.vision.ucmerced.edu) is
reported to time out; the zip is fetched from torchgeo's account on the Hugging Face Hub, redistributed
without change. Size and SHA-256 as several projects pin them for that file, MD5 as torchgeo does. 44 of the
pictures are a few pixels off 256. The authors define no split; the lists are the ones of Neumann et al.
(In-domain representation learning for remote sensing, 2019).
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lib.datasets import Dataset, Licence, RemoteFile, SourceItem
from lib.datasets.folders import files_below
from lib.errors import DatasetError

_AT = "https://huggingface.co/datasets/torchgeo/ucmerced/resolve/7c5ef3454d9b1cccfa7ccde0c01fc8f00a45909a"
_LIST_MD5 = {
    "uc_merced-train.txt": "f2fb12eb2210cfb53f93f063a35ff374",
    "uc_merced-val.txt": "11ecabfc52782e5ea6a9c7c0d263aca0",
    "uc_merced-test.txt": "046aff88472d8fc07c4678d03749e28d",
}


def read_items(root: Path) -> Iterator[SourceItem]:
    """The pictures with their class, and with their split where its lists are there.

    Args:
        root: Folder that holds the classes' folders and the lists, at any depth.

    Raises:
        DatasetError: No pictures in the published layout.
    """
    splits = _listed(root)
    found = [path for path in files_below(root, frozenset({".tif"})) if _is_named_by_class(path)]
    if not found:
        raise DatasetError(
            f"there is no <class>/<class><number>.tif below {root}. Point `root` at the unpacked "
            "UCMerced_LandUse.zip."
        )
    for path in found:
        yield SourceItem(str(path), path.parent.name, splits.get(path.name))


def _is_named_by_class(path: PurePosixPath) -> bool:
    return path.stem.startswith(path.parent.name) and path.stem.removeprefix(path.parent.name).isdigit()


def _listed(root: Path) -> dict[str, str]:
    listed = {}
    for path in files_below(root, frozenset({".txt"})):
        if path.name in _LIST_MD5:
            split = path.stem.rpartition("-")[2]
            listed.update(dict.fromkeys((root / path).read_text(encoding="utf-8").split(), split))
    return listed


DATASET = Dataset(
    name="uc_merced",
    kind="image",
    title="UC Merced Land Use",
    licence=Licence(
        name="public domain (USGS National Map Urban Area Imagery)",
        url="http://weegee.vision.ucmerced.edu/datasets/landuse.html",
        asks="Cite Yang and Newsam, ACM SIGSPATIAL GIS 2010.",
        needs_acknowledgement=False,
    ),
    files=(
        RemoteFile(
            url=f"{_AT}/UCMerced_LandUse.zip",
            name="UCMerced_LandUse.zip",
            size_bytes=332_468_434,
            sha256="06c539ef28703a58fb07bd2837991ac7c48b813b00bb12ac197efd813a18daeb",
            md5="5b7ec56793786b6dc8a908e8854ac0e4",
        ),
        *(
            RemoteFile(url=f"{_AT}/{name}", name=name, md5=md5, unpack=False)
            for name, md5 in _LIST_MD5.items()
        ),
    ),
    # 332 MB of archive, 413 MB of pixels in it.
    size_bytes=800_000_000,
    read_items=read_items,
    notes="The split of the lists is read: 1,260 pictures to train on, 420 to validate, 420 to test.",
)
