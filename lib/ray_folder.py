"""The folder of a local Ray: one a process, so that those of killed ones can be told and removed."""

import os
import shutil
import tempfile
from pathlib import Path

from lib.processes import is_alive

_NAME = "dlr-"


def ray_folder() -> str:
    """A new folder for this process's Ray; those of killed processes, which couldn't, are removed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_NAME}*-*"):
        pid = folder.name.removeprefix(_NAME).split("-")[0]
        if pid.isdigit() and not is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
    # Short, because Ray puts sockets below it and their paths end at 107 characters.
    return tempfile.mkdtemp(prefix=f"{_NAME}{os.getpid()}-")
