"""Opening a source file that nobody vouches for: regular files only, never waiting on a pipe or a device."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from lib.errors import UnreadableMediaError


def open_regular(path: Path | str) -> BinaryIO:
    """Open a file for reading, unbuffered.

    Decoders are handed this object and no name, so that a name such as `http:x`, `concat:a|b` or `%d.mp4`
    can't be taken for an address or a pattern.

    Raises:
        UnreadableMediaError: Not a regular file, empty, gone, or not permitted.
    """
    try:
        # Before opening, because opening alone can do things to a device.
        _refuse_special(os.stat(path).st_mode)  # noqa: PTH116  (paths may be plain strings)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise UnreadableMediaError("no such file: moved, removed, or a link to nothing") from error
    except PermissionError as error:
        raise UnreadableMediaError("no permission to read it") from error
    except (OSError, ValueError) as error:
        raise UnreadableMediaError(f"can't be opened: {getattr(error, 'strerror', None) or error}") from error
    file = os.fdopen(descriptor, "rb", buffering=0)
    try:
        # And after, because the name may have come to mean another file in between.
        status = os.fstat(descriptor)
        _refuse_special(status.st_mode)
        if status.st_size == 0:
            raise UnreadableMediaError("empty file (0 bytes)")
    except UnreadableMediaError:
        file.close()
        raise
    return file


def _refuse_special(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise UnreadableMediaError("a folder, not a file")
    if not stat.S_ISREG(mode):
        raise UnreadableMediaError("a pipe, socket or device, not a regular file")
