"""HMDB51: 6,766 clips of 51 human actions, mostly from films, with three official splits.

The lab's first server no longer has the files; they are fetched from the lab's own account on the Hugging
Face Hub (Serrelab/hmdb51). The SHA-256 are those that torchvision's prototype datasets pin for the same files
on the first server, so that what is fetched is what the literature used; the two copies weren't compared
here. The exact size isn't known to us (about 2.1 GB). `hmdb51_org.rar` holds one RAR a class.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lib.datasets import Dataset, Licence, RemoteFile, SourceItem
from lib.datasets.folders import VIDEO_SUFFIXES, files_below
from lib.errors import DatasetError

_AT = "https://huggingface.co/datasets/Serrelab/hmdb51/resolve/main"
_PARTS = {"0": None, "1": "train", "2": "test"}


def read_items(root: Path, *, split: int = 1) -> Iterator[SourceItem]:
    """The clips that the split's files name, with the class as label; what a split leaves out has no split.

    `<class>_test_split<n>.txt` has lines `<file>.avi <0|1|2> `: 1 train, 2 test, 0 unused. File names hold
    `#`, `[`, `]`, `(`, `&` and the like. The same file name may stand in two classes, so the clip's folder
    has to be the class.

    Args:
        root: Folder that holds the classes' folders and the split files, at any depth.
        split: Official split, 1 to 3.

    Raises:
        DatasetError: No split file is there, or one has a line of another form.
    """
    ending = f"_test_split{split}.txt"
    lists = [path for path in files_below(root, frozenset({".txt"})) if path.name.endswith(ending)]
    if not lists:
        raise DatasetError(
            f"there is no <class>{ending} below {root}. Unpack test_train_splits.rar into that folder too."
        )
    listed: dict[tuple[str, str], str | None] = {}
    for path in lists:
        listed.update(_read_list(root, path, path.name.removesuffix(ending)))
    for path in files_below(root, VIDEO_SUFFIXES):
        key = (path.parent.name, path.stem)
        if key in listed:
            yield SourceItem(str(path), path.parent.name, listed[key])


def _read_list(root: Path, path: PurePosixPath, label: str) -> Iterator[tuple[tuple[str, str], str | None]]:
    for number, line in enumerate((root / path).read_text(encoding="utf-8").splitlines(), start=1):
        name, _, part = line.strip().rpartition(" ")
        if not line.strip():
            continue
        if not name or part not in _PARTS:
            raise DatasetError(
                f"{root / path}, line {number} is {line!r}, not '<file>.avi <0|1|2>'. Unpack the list again."
            )
        yield (label, PurePosixPath(name.strip()).stem), _PARTS[part]


DATASET = Dataset(
    name="hmdb51",
    kind="video",
    title="HMDB51, a large video database for human motion recognition",
    licence=Licence(
        name="CC BY 4.0",
        url="https://serre-lab.clps.brown.edu/resources/HMDB/",
        asks="Attribution: cite Kuehne, Jhuang, Garrote, Poggio and Serre, ICCV 2011. The clips are cut "
        "from films and web videos whose own rights remain.",
        needs_acknowledgement=False,
    ),
    files=(
        RemoteFile(
            url=f"{_AT}/test_train_splits.rar",
            name="test_train_splits.rar",
            sha256="229c94f845720d01eb3946d39f39292ea962d50a18136484aa47c1eba251d2b7",
            md5="15e67781e70dcfbdce2d7dbb9b3344b5",
        ),
        RemoteFile(
            url=f"{_AT}/hmdb51_org.rar",
            name="hmdb51_org.rar",
            sha256="9e714a0d8b76104d76e932764a7ca636f929fff66279cda3f2e326fa912a328e",
            is_nested=True,
        ),
    ),
    # 2.1 GB three times over: the archive, the classes' archives in it, and the clips.
    size_bytes=6_500_000_000,
    read_items=read_items,
    notes="Split 1 is read: 70 clips a class to train on, 30 to test; the rest is unused and has no split.",
)
