"""Pairs of pictures in sibling folders: one for each date, one for the masks, one name for all three."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from lib.datasets import ChangePair, SourceItem
from lib.datasets.folders import files_below
from lib.errors import DatasetError

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
SPLITS: Mapping[str, str] = {"train": "train", "val": "val", "test": "test"}
_SHOWN = 3


def pairs_in_folders(root: Path, *, before: str, after: str, label: str) -> Iterator[ChangePair]:
    """Pictures of one name in the folders `before` and `after` beside each other, at any depth.

    A picture without its partner is a broken copy and an error. A mask may be missing only together with its
    whole folder: test sets are handed out that way.

    Args:
        root: Folder to look below.
        before: Name of the folders with the earlier pictures.
        after: Name of the folders with the later ones.
        label: Name of the folders with the masks.

    Raises:
        DatasetError: No such folders, or pictures or masks missing from them.
    """
    folders = _names_by_folder(root)
    groups = sorted({folder.parent for folder in folders if folder.name in (before, after)})
    if not groups:
        raise DatasetError(
            f"there are no pictures in folders {before} and {after} below {root}. "
            "Point `root` at the folder that the dataset was unpacked into."
        )
    for group in groups:
        names = sorted(folders.get(group / before, set()) | folders.get(group / after, set()))
        labels = folders.get(group / label)
        wanted = [before, after] if labels is None else [before, after, label]
        require_all(root, [group / side / name for name in names for side in wanted])
        for name in names:
            yield ChangePair(
                name=str(group / PurePosixPath(name).stem),
                before=str(group / before / name),
                after=str(group / after / name),
                label=None if labels is None else str(group / label / name),
                split=split_of(group, name),
            )


def require_all(root: Path, paths: list[PurePosixPath]) -> None:
    """See that files are there that others belong to.

    Raises:
        DatasetError: Some are missing; the message counts them and names a few.
    """
    missing = [str(path) for path in paths if not (root / path).is_file()]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise DatasetError(
            f"below {root}, pairs lack {', '.join(missing[:_SHOWN])}{more}. "
            "Unpack the dataset again, or remove the files of these pairs."
        )


def split_of(group: PurePosixPath, name: str = "", splits: Mapping[str, str] = SPLITS) -> str | None:
    """The split that the nearest folder is named after, else the start of the file's name; None if neither.

    The folder has the say: LEVIR-CD+ keeps `train_638.png` in `test`.
    """
    for part in reversed(group.parts):
        if part.lower() in splits:
            return splits[part.lower()]
    return splits.get(name.partition("_")[0])


def items_of_pairs(pairs: Iterator[ChangePair]) -> Iterator[SourceItem]:
    """The pictures of pairs, earlier and later; masks are none of them."""
    for pair in pairs:
        yield SourceItem(pair.before, split=pair.split)
        yield SourceItem(pair.after, split=pair.split)


def _names_by_folder(root: Path) -> dict[PurePosixPath, set[str]]:
    found: dict[PurePosixPath, set[str]] = defaultdict(set)
    for path in files_below(root, PICTURE_SUFFIXES):
        # What macOS adds to archives (`._a.png`) ends like a picture and is none.
        if not path.name.startswith("."):
            found[path.parent].add(path.name)
    return dict(found)
