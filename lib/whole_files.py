"""Files that are there whole or not at all."""

import os
import sys
from pathlib import Path


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a small file beside its place and move it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(data.encode() if isinstance(data, str) else data)
    # Loaded only where a lake on S3 was opened.
    stores = sys.modules.get("lib.working_copy")
    copy = stores.copy_of(path) if stores else None
    copy.commit(partial, path) if copy else partial.replace(path)


def sync(path: Path) -> None:
    """Have the disk hold what was written, before anything points to it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
