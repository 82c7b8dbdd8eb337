"""Where results go: never over what they are made of, never to a place that can't take them."""

from collections.abc import Iterable
from pathlib import Path

from lib.errors import UsageError
from orchestration.terminal import shown


def require_output(out: Path, option: str, *, inputs: Iterable[Path]) -> None:
    """Refuse a file to write that is one of the inputs, is a folder, lies under a file, or has an odd name.

    Raises:
        UsageError: The message names the option.
    """
    if not is_utf8(out):
        raise UsageError(f"{option} {shown(out)}: this name is no valid UTF-8; give another.")
    if out.is_dir():
        raise UsageError(f"{option} {out} is a folder; name a file in it.")
    require_folder(out.parent, f"{option} {out}: {out.parent}")
    if not out.exists():
        return
    # By device and inode, so that links and other spellings of the path count too.
    ours = (out.stat().st_dev, out.stat().st_ino)
    for path in inputs:
        if path.exists() and (path.stat().st_dev, path.stat().st_ino) == ours:
            raise UsageError(f"{option} {out} would overwrite {path}, which is read; give another name.")


def require_folder(folder: Path, named: str) -> None:
    """Refuse a folder to write to where a file is in the way; one that isn't there yet is fine.

    Raises:
        UsageError: The message begins with `named`.
    """
    for place in (folder, *folder.parents):
        if place.is_dir():
            return
        if place.exists():
            raise UsageError(f"{named} can't be a folder: {place} is a file. Name another place.")


def is_utf8(path: Path) -> bool:
    """Whether a path can be written into Parquet, JSON or a page."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
