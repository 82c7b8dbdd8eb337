"""Room on disk, asked for before anything is written."""

import shutil
from pathlib import Path

from lib.errors import FetchError


def require_room(folder: Path, needed_bytes: int, what: str) -> None:
    """Refuse what wouldn't fit.

    Args:
        folder: Where it will be written; it need not exist yet.
        needed_bytes: How much will be written.
        what: What needs the room, for the message.

    Raises:
        FetchError: Less is free on the folder's disk.
    """
    exists = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free_bytes = shutil.disk_usage(exists).free
    if needed_bytes > free_bytes:
        raise FetchError(
            f"{what} needs {size_text(needed_bytes)} in {folder}, and {size_text(free_bytes)} are free "
            "there. Free some room, or point DINOLAKE_LAKE at a larger disk."
        )


def size_text(size_bytes: int) -> str:
    """A size for people: `6.9 GB`, `113 kB`."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} bytes"
