"""Work done in threads ahead of whoever takes it: in order, and only so much at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Thing = TypeVar("_Thing")
_Made = TypeVar("_Made")

_MOST_THREADS = 8


def ahead(
    work: Callable[[_Thing], _Made], things: Iterable[_Thing], *, most: int
) -> "Iterator[tuple[_Thing, Future[_Made]]]":
    """Things in their order, with what `work` makes of them; what it raises, the future raises.

    For work that holds no lock for long: decoding, arithmetic on arrays. Things are taken from their iterator
    by the calling thread alone.

    Args:
        work: Called in a thread, for several things at once.
        things: Taken as they are needed.
        most: How many are worked on, or wait to be taken, at a time.
    """
    from lib.embedding.runtimes import usable_threads

    threads = ThreadPoolExecutor(min(_MOST_THREADS, usable_threads()), thread_name_prefix="ahead")
    waiting: deque[tuple[_Thing, Future[_Made]]] = deque()
    try:
        for thing in things:
            waiting.append((thing, threads.submit(work, thing)))
            if len(waiting) >= most:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        # Whoever stops early waits for what is being worked on, and for nothing else.
        threads.shutdown(cancel_futures=True)
