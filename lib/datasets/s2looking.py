"""S2Looking: 5,000 pairs of 1024 x 1024 px, .5 to .8 m, rural and taken at a slant; building changes.

The authors' repository (https://github.com/S2Looking/Dataset, nearly 15 GB with LEVIR-CD+ in it) holds the
files themselves, in `S2Looking/S2Looking/`: `train`, `val` and `test`, each with `Image1` (before), `Image2`
(after), `label` (0 or 255, all changes), `label1` (newly built) and `label2` (demolished), the last two in
colour. Its README links to copies on Google Drive and Baidu.
"""

from collections.abc import Iterator
from pathlib import Path

from lib.datasets import ChangePair, Dataset, Licence, SourceItem
from lib.datasets.change_folders import items_of_pairs, pairs_in_folders

_REPOSITORY = "https://github.com/S2Looking/Dataset"
_DRIVE = "https://drive.google.com/drive/folders/1zzb6hif2hwWx4z8UIMLpMAInkhbmmrFY"


def read_pairs(root: Path) -> Iterator[ChangePair]:
    """The pairs that are there, with the masks of all changes and splits.

    Raises:
        DatasetError: No pairs below the root, or files missing from some.
    """
    yield from pairs_in_folders(root, before="Image1", after="Image2", label="label")


def read_items(root: Path) -> Iterator[SourceItem]:
    """The pictures of the pairs, with their splits.

    Raises:
        DatasetError: As `read_pairs`.
    """
    yield from items_of_pairs(read_pairs(root))


DATASET = Dataset(
    name="s2looking",
    kind="scene",
    title="S2Looking, a satellite side-looking dataset for building change detection",
    licence=Licence(
        name="no licence known to us: read the publisher's page",
        url=_REPOSITORY,
        asks="The authors state no terms beside the files: use them for research only, don't pass them on, "
        "and cite Shen et al., Remote Sensing 13(24), 2021.",
        needs_acknowledgement=True,
    ),
    files=(),
    # The repository and its work tree together.
    size_bytes=30_000_000_000,
    read_items=read_items,
    read_pairs=read_pairs,
    beside=("*/label1/*", "*/label2/*"),
    by_hand="S2Looking is a git repository of pictures, not a download: "
    f"`git clone --depth 1 {_REPOSITORY}` (nearly 15 GB), or take the copy at {_DRIVE}, "
    "and set `root` to the folder S2Looking in it.",
    notes="3,500 pairs to train on, 500 to validate, 1,000 to test. Both dates were taken at different "
    "angles: walls and shadows differ where nothing changed.",
)
