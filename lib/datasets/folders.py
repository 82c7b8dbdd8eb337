"""Finding a dataset's parts below a folder, whether it was unpacked here or by the user in their own way."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lib.errors import DatasetError

VIDEO_SUFFIXES = frozenset({".avi", ".mp4", ".mkv", ".webm", ".mov"})


def files_below(root: Path, suffixes: frozenset[str]) -> Iterator[PurePosixPath]:
    """Paths relative to the root of all files with one of these endings, in a stable order."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            if PurePosixPath(name).suffix.lower() in suffixes:
                yield PurePosixPath(Path(folder, name).relative_to(root).as_posix())


def find_file(root: Path, name: str) -> Path:
    """The file of that name nearest to the root.

    Raises:
        DatasetError: There is none below the root.
    """
    suffix = PurePosixPath(name).suffix.lower()
    found = [path for path in files_below(root, frozenset({suffix})) if path.name == name]
    if not found:
        raise DatasetError(
            f"there is no {name} below {root}. Unpack the dataset's annotations into that folder too, "
            f"or point `root` at the folder that holds both the videos and the annotations."
        )
    return root / min(found, key=lambda path: (len(path.parts), path))
