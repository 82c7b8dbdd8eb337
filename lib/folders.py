"""What lies in folders: entries, bytes, dates. Others may be at work in them."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def entries_of(folder: Path) -> list[Path]:
    """What lies in a folder, by name; [] where there is none."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _below(path: Path) -> Iterator[os.stat_result]:
    for inside, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):  # another process may be at work here
                yield os.lstat(Path(inside, name))


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    return sum(told.st_size for told in _below(path)) if path.is_dir() else path.lstat().st_size


def newest_in(path: Path) -> float:
    """When anything in it was last written."""
    return (
        max((told.st_mtime for told in _below(path)), default=mtime_of(path))
        if path.is_dir()
        else mtime_of(path)
    )


def mtime_of(path: Path) -> float:
    """When it was last written, in seconds since 1970; 0 where it isn't."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0
