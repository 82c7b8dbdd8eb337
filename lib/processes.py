"""Processes of this machine: which are alive, and when this one may be told to end."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any


def is_alive(pid: int) -> bool:
    """Whether a process of that number runs, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait for the end of the block, which must be short.

    For calls into compiled code that breaks where a handler raises: Ray's then crashes, or swallows it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread anyway
        return
    came: list[tuple[int, Any]] = []
    formers = {
        number: signal.signal(number, lambda *told: came.append(told))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, former in formers.items():
            signal.signal(number, former)
        for told, frame in came[:1]:
            heeds = formers[signal.Signals(told)]
            if callable(heeds):
                heeds(told, frame)
            elif heeds is signal.SIG_DFL:
                signal.raise_signal(told)
