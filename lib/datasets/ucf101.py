"""UCF101: 13,320 clips of 101 human actions from YouTube, with three official splits.

Layout and lists: https://www.crcv.ucf.edu/data/UCF101.php. The archive's size is what its server answered
(6,932,971,618 bytes); both SHA-256 are the ones that torchvision pins in its prototype datasets. The archive
is reported to be a solid RAR, which `bsdtar` can't open: `unrar` and `unar` can. The server is reported to
send an incomplete certificate chain: the pinned hashes vouch for the bytes then (lib/download.py).
"""

from collections.abc import Iterator
from pathlib import Path

from lib.datasets import Dataset, Licence, RemoteFile, SourceItem
from lib.datasets.folders import VIDEO_SUFFIXES, files_below, find_file

_AT = "https://www.crcv.ucf.edu/data/UCF101"


def read_items(root: Path, *, split: int = 1) -> Iterator[SourceItem]:
    """The clips of the official lists, with the class as label.

    Lines are `Class/v_Class_g01_c01.avi`, in the train lists followed by the class's number; they end in
    CRLF. Names are compared without regard to case: the files of class `HandstandPushups` are called
    `v_HandStandPushups_…` in the RAR and `v_HandstandPushups_…` in the zip that others hand on. The label is
    the class as the lists spell it, which is classInd.txt's spelling too.

    Args:
        root: Folder that holds the clips and the lists, at any depth.
        split: Official split, 1 to 3.
    """
    listed: dict[str, tuple[str, str]] = {}
    for part in ("train", "test"):
        for line in find_file(root, f"{part}list{split:02d}.txt").read_text(encoding="utf-8").splitlines():
            if line.strip():
                label, _, name = line.split()[0].partition("/")
                listed[Path(name).stem.casefold()] = (label, part)
    for path in files_below(root, VIDEO_SUFFIXES):
        if path.stem.casefold() in listed:
            label, part = listed[path.stem.casefold()]
            yield SourceItem(str(path), label, part)


DATASET = Dataset(
    name="ucf101",
    kind="video",
    title="UCF101, a dataset of 101 human actions from videos in the wild",
    licence=Licence(
        name="no licence stated by the publisher",
        url="https://www.crcv.ucf.edu/data/UCF101.php",
        asks="The clips are other people's YouTube uploads, published for research: use them for research "
        "only, don't pass them on, and cite Soomro, Zamir and Shah, CRCV-TR-12-01 (2012).",
        needs_acknowledgement=True,
    ),
    files=(
        RemoteFile(
            url=f"{_AT}/UCF101TrainTestSplits-RecognitionTask.zip",
            name="UCF101TrainTestSplits-RecognitionTask.zip",
            size_bytes=113_943,
            sha256="5c0d1a53b8ed364a2ac830a73f405e51bece7d98ce1254fd19ed4a36b224bd27",
        ),
        RemoteFile(
            url=f"{_AT}/UCF101.rar",
            name="UCF101.rar",
            size_bytes=6_932_971_618,
            sha256="ca8dfadb4c891cb11316f94d52b6b0ac2a11994e67a0cae227180cd160bd8e55",
        ),
    ),
    # The clips alone are about as large as their archive, and the unpacker writes them once.
    size_bytes=14_000_000_000,
    read_items=read_items,
    notes="Split 1 is read: 9,537 clips to train on, 3,783 to test. Clips of one group (g01 … g25) are cut "
    "from one video and never straddle a split. A zip of the same clips works as a `root` too.",
)
