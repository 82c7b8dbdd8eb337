"""Pairs told by a dataset's own lists: where a list lies, and where pictures do."""

import os
from pathlib import Path

from lib.errors import DatasetError

_PICTURE_ENDINGS = (".jpg", ".jpeg", ".png")


def nearest(root: Path, *names: str) -> Path:
    """The folder nearest to the root, it included, that holds one of these, and that name in it.

    Folders are looked through level by level, and no further than the first that has one: a set of a million
    files with its lists on top is not walked.

    Args:
        root: Folder to look in and below.
        names: Files or folders relative to what is sought, with "/"; the earlier is preferred.

    Raises:
        DatasetError: There is none; the message tells the first name.
    """
    level = [root]
    while level:
        for name in names:
            for folder in level:
                if (folder / name).exists():
                    return folder / name
        level = [below for folder in level for below in folders_in(folder)]
    raise DatasetError(
        f"there is no {names[0]} below {root}. Unpack the dataset's lists into that folder too, "
        "or point `root` at the folder that holds both them and the files."
    )


def is_picture(name: str) -> bool:
    """Whether a file's name ends like a picture's; what macOS adds to archives (`._a.jpg`) is none."""
    return name.lower().endswith(_PICTURE_ENDINGS) and not name.startswith(".")


def pictures_below(root: Path) -> dict[str, str]:
    """Where each picture lies, by its name; of two with one name, the one nearer to the root.

    By folders and not by paths: of COCO's 123,287 pictures, .5 s in place of 3.8.
    """
    found: dict[str, tuple[int, str]] = {}
    for folder, folders, names in os.walk(root):
        folders.sort()
        told = relative(Path(folder), root)
        depth = told.count("/")
        for name in names:
            if is_picture(name) and (name not in found or depth < found[name][0]):
                found[name] = depth, told
    return {name: f"{told}{name}" for name, (_, told) in found.items()}


def relative(path: Path, root: Path) -> str:
    """A path below the root as rows tell it: "" for the root itself, else with "/" at its end."""
    told = path.relative_to(root).as_posix()
    return "" if told == "." else f"{told}/"


def folders_in(folder: Path) -> list[Path]:
    """The folders in one, in order; none of one that can't be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
