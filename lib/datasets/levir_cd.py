"""LEVIR-CD: 637 pairs of 1024 x 1024 px at .5 m from Google Earth, with masks of new and vanished buildings.

The authors' page (https://chenhao.in/LEVIR/, formerly justchenhao.github.io/LEVIR) links to three zips on
Google Drive; addresses and MD5 as torchgeo pins them. Layout as in the authors' STANet: `train`, `val` and
`test`, each with `A` (before), `B` (after) and `label` (0 or 255). The zips themselves hold `A`, `B` and
`label` with names such as `train_1.png`, so that three unpacked into one folder can be told apart too.
LEVIR-CD+ (985 pairs, `train` and `test`) and the usual 256-px crops have the same layout.
"""

from collections.abc import Iterator
from pathlib import Path

from lib.datasets import ChangePair, Dataset, Licence, SourceItem
from lib.datasets.change_folders import items_of_pairs, pairs_in_folders

_DRIVE = "https://drive.google.com/file/d"
_FILES = (
    ("train.zip", "18GuoCuBn48oZKAlEo-LrNwABrFhVALU-", "a638e71f480628652dea78d8544307e4"),
    ("val.zip", "1BqSt4ueO7XAyQ_84mUjswUSJt13ZBuzG", "f7b857978524f9aa8c3bf7f94e3047a4"),
    ("test.zip", "1jj3qJD_grJlgIhUWO09zibRGJe0R4Tn0", "07d5dd89e46f5c1359e2eca746989ed9"),
)


def read_pairs(root: Path) -> Iterator[ChangePair]:
    """The pairs that are there, with their masks (0 unchanged, 255 changed) and splits.

    Raises:
        DatasetError: No pairs below the root, or files missing from some.
    """
    yield from pairs_in_folders(root, before="A", after="B", label="label")


def read_items(root: Path) -> Iterator[SourceItem]:
    """The pictures of the pairs, with their splits.

    Raises:
        DatasetError: As `read_pairs`.
    """
    yield from items_of_pairs(read_pairs(root))


DATASET = Dataset(
    name="levir_cd",
    kind="scene",
    title="LEVIR-CD, building change in very high resolution pairs",
    licence=Licence(
        name="no licence known to us: read the publisher's page",
        url="https://chenhao.in/LEVIR/",
        asks="The pictures are Google Earth's, published for research: use them for research only, don't "
        "pass them on, and cite Chen and Shi, Remote Sensing 12(10), 2020.",
        needs_acknowledgement=True,
    ),
    files=(),
    # 637 pairs of 6 MB unpacked at most; the zips' sizes aren't published.
    size_bytes=8_000_000_000,
    read_items=read_items,
    read_pairs=read_pairs,
    by_hand="Google Drive hands out LEVIR-CD to browsers only. Download "
    + ", ".join(f"{name} ({_DRIVE}/{key}, MD5 {md5})" for name, key, md5 in _FILES)
    + ", unpack each into a folder of its name (train, val, test), and set `root` to the folder that holds "
    "the three.",
    notes="445 pairs to train on, 64 to validate, 128 to test. Published F1 are on test, mostly over crops "
    "of 256 px; pooled over all pixels, crops and whole pictures are the same protocol.",
)
