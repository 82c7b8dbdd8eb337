"""Files that are there whole or not at all."""

import os
import shutil
import sys
from pathlib import Path


def write_whole(path: Path, data: bytes | str, *, lasting: bool = False) -> None:
    """Write a small file beside its place and move it there; of a lake on S3, into the store first.

    Args:
        path: Where.
        data: All of it.
        lasting: Have the disk hold it before it is in place, so that no power cut leaves half of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(data.encode() if isinstance(data, str) else data)
        if lasting:
            sync(partial)
        # Loaded only where a lake on S3 was opened.
        stores = sys.modules.get("lib.working_copy")
        copy = stores.copy_of(path) if stores else None
        copy.commit(partial, path) if copy else partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    if lasting:
        sync(path.parent)


def remove_whole(path: Path) -> None:
    """Remove a file, or a folder with all in it; one that is gone already is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have the disk hold what was written, before anything points to it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
