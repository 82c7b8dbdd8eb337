"""Which failures may pass by themselves, and trying again after a pause."""

import errno
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from lib.errors import BackboneUnavailableError, FetchError, StageFailedError, StoreError

T = TypeVar("T")
PAUSES_S = (1.0, 4.0, 16.0)
_PASSING = frozenset(
    [
        errno.EAGAIN, errno.EINTR, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ECONNRESET,
        errno.ECONNREFUSED, errno.ECONNABORTED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPIPE,
        errno.EBUSY,
    ]
)  # fmt: skip


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came of, the outermost first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def may_pass(error: BaseException) -> bool:
    """Whether trying again may help: a lost connection, a busy store; not a full or read-only disk."""
    for each in causes(error):
        if isinstance(each, TimeoutError | ConnectionError) or getattr(each, "may_pass", False):
            return True
        if isinstance(each, OSError) and each.errno in _PASSING:
            return True
    return False


def is_its_own(error: BaseException) -> bool:
    """Whether a shard failed by itself, rather than by what is around it: a disk, a network, weights."""
    around = (
        OSError, sqlite3.Error, MemoryError, StoreError, BackboneUnavailableError, FetchError,
        StageFailedError,
    )  # fmt: skip
    return not any(isinstance(each, around) for each in causes(error))


def with_retries(
    make: Callable[[], T], *, say: Callable[[str], None], pauses_s: Sequence[float] = PAUSES_S
) -> T:
    """Do something, again after each pause while its failure may pass; the last failure is raised."""
    for pause_s in pauses_s:
        try:
            return make()
        except Exception as error:
            if not may_pass(error):
                raise
            say(f"{error}; tried again in {pause_s:g} s")
            time.sleep(pause_s)
    return make()
