"""Work spread over Ray actors that load their model once. The only module that imports ray.

A task yields chunks, and chunks come back in the order of the tasks, so that what is written doesn't depend
on who was quicker. Paths are sent, never pixels. A worker that dies or hangs costs its task, not the run.
"""

import contextlib
import functools
import logging
import math
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from lib.errors import DinolakeError
from lib.processes import interrupts_held, is_alive

# Chunks a worker may be ahead of the writer: bounds the object store whatever a video's length.
_CHUNKS_AHEAD = 4
_TRIES = 2
_HEED_S = 0.5
# Ray's folder of a run, by process, so that those of killed ones can be told.
_FOLDER = "dlr-"
# Beyond the decoder's own limit, which gives the better message.
HANG_MARGIN_S = 30.0
# Loading a large model takes a while; a worker that takes longer will not come.
_START_LIMIT_S = 300.0

Work = Callable[[Any], Iterator[Any]]


@dataclass(frozen=True, slots=True)
class Failed:
    """A task's last chunk when it could not be finished: why."""

    reason: str


class Compute(Protocol):
    """Anything that maps tasks over workers."""

    def map(
        self, make: Callable[[], Work], tasks: Sequence[Any], *, limit_s: float
    ) -> Iterator[tuple[int, Any]]:
        """Yield (task number, chunk) in task order; a failed task ends with a `Failed`."""
        ...

    def close(self) -> None:
        """Give back what was started."""
        ...


class InlineCompute:
    """Runs tasks in this process: for tests, and for a few files where starting Ray would take longer."""

    def map(
        self, make: Callable[[], Work], tasks: Sequence[Any], *, limit_s: float
    ) -> Iterator[tuple[int, Any]]:
        """As `Compute.map`; a hang can't be interrupted here."""
        work = make() if tasks else None
        for number, task in enumerate(tasks):
            if work is not None:
                for chunk in _run(work, task):
                    yield number, chunk

    def close(self) -> None:
        """Nothing was started."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _run(work: Work, task: Any) -> Iterator[Any]:
    try:
        yield from work(task)
    except DinolakeError as error:
        yield Failed(str(error))


class _Worker:
    """The body of a Ray actor."""

    def __init__(self, make: Callable[[], Work]):
        self._work = make()

    def ready(self) -> int:
        return os.getpid()

    def run(self, task: Any) -> Iterator[Any]:
        # The first item says that the task has begun: its time limit counts from here, not from the queue.
        yield None
        yield from _run(self._work, task)


class RayCompute:
    """A pool of Ray actors, on an existing cluster by address or on a local Ray that ends with the pool.

    Args:
        address: `host:port` of a running cluster, or None for a local one.
        workers: Actors; None takes one a GPU, else one for each eight CPUs. On a cluster it is one less than
            fits at most, because a pool that fills a cluster hangs for ever when a node dies.
        cpus_each: CPUs an actor may use; None shares them out.
    """

    def __init__(self, address: str | None = None, workers: int | None = None, cpus_each: int | None = None):
        self._address, self._workers, self._cpus_each = address, workers, cpus_each
        self._folder: str | None = None
        self._pool: _Pool | None = None
        self._is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def map(
        self, make: Callable[[], Work], tasks: Sequence[Any], *, limit_s: float
    ) -> Iterator[tuple[int, Any]]:
        """As `Compute.map`. Workers are kept between calls with an equal `make`."""
        if not tasks:
            return
        self._open()
        if self._pool is None or self._pool.make != make:
            # One pool at a time: two would wait for each other's CPUs for ever.
            if self._pool is not None:
                self._pool.close()
            self._pool = _Pool(make, *self._share())
        yield from self._pool.map(tasks, limit_s)

    def _open(self) -> None:
        if self._is_open:
            return
        import ray

        with interrupts_held():
            self._start(ray)

    def _start(self, ray: Any) -> None:
        # Ray's notes on tokens and sessions are for Ray's operators, not for users of the lake.
        logging.getLogger("ray").setLevel(logging.ERROR)
        quiet = {"log_to_driver": False, "configure_logging": False, "ignore_reinit_error": False}
        if self._address:
            ray.init(address=self._address, namespace="dinolake", **quiet)
        else:
            _sweep_folders()
            # Short, because Ray puts sockets below it and their paths end at 107 characters.
            self._folder = tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-")
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):  # noqa: PTH123
                ray.init(address="local", include_dashboard=False, _temp_dir=self._folder, **quiet)
        self._is_open = True

    def _share(self) -> tuple[int, int, int]:
        import ray

        there = ray.cluster_resources()
        cpus, gpus = int(there.get("CPU", 1)), int(there.get("GPU", 0))
        workers = self._workers or gpus or max(1, cpus // 8)
        each = self._cpus_each or max(1, cpus // workers)
        if self._address:
            workers = max(1, min(workers, cpus // each - 1))
        return workers, each, 1 if gpus else 0

    def close(self) -> None:
        """End the workers, and Ray where it was started here."""
        if not self._is_open:
            return
        import ray

        with interrupts_held():
            if self._pool is not None:
                self._pool.close()
                self._pool = None
            ray.shutdown()
            self._is_open = False
            if self._folder:
                shutil.rmtree(self._folder, ignore_errors=True)


def _sweep_folders() -> None:
    """Remove Ray's folders of processes that were killed: they couldn't."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*-*"):
        pid = folder.name.removeprefix(_FOLDER).split("-")[0]
        if pid.isdigit() and not is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


class _Pool:
    def __init__(self, make: Callable[[], Work], workers: int, cpus_each: int, gpus_each: int):
        import ray

        self.make = make
        self._actor = functools.partial(
            ray.remote(_Worker).options(num_cpus=cpus_each, num_gpus=gpus_each).remote, make
        )
        self._actors = [self._actor() for _ in range(workers)]
        try:
            for number in range(workers):
                self._await_start(number)
        except DinolakeError:
            self.close()
            raise

    def _await_start(self, number: int) -> None:
        import ray
        from ray.exceptions import ActorDiedError

        answer = self._actors[number].ready.remote()
        if not _is_ready(answer, _START_LIMIT_S):
            raise DinolakeError(
                f"no Ray worker started within {_START_LIMIT_S:.0f} s: is the cluster full? "
                "`ray status` tells."
            )
        try:
            ray.get(answer)
        except ActorDiedError as error:
            raise DinolakeError(f"a Ray worker can't load its model: {_innermost(error)}") from error

    def map(self, tasks: Sequence[Any], limit_s: float) -> Iterator[tuple[int, Any]]:
        """Keep two tasks queued for each actor, and hand their chunks out in task order."""
        queued: deque[tuple[int, int, Any]] = deque()
        following = iter(range(len(tasks)))

        def submit(number: int) -> tuple[int, int, Any]:
            at = number % len(self._actors)
            call = self._actors[at].run.options(
                num_returns="streaming", _generator_backpressure_num_objects=_CHUNKS_AHEAD
            )
            return number, at, call.remote(tasks[number])

        for number in following:
            queued.append(submit(number))
            if len(queued) >= 2 * len(self._actors):
                break
        while queued:
            number, at, stream = queued.popleft()
            given = 0
            for attempt in range(_TRIES):
                try:
                    for chunk in _chunks(stream, limit_s, skip=given):
                        yield number, chunk
                        given += 1
                    break
                except _WorkerLostError as lost:
                    self._replace(at)
                    is_over = lost.is_hang or attempt + 1 == _TRIES
                    # In this order: a worker does tasks as they came, and waits while none reads its chunks.
                    if not is_over:
                        stream = submit(number)[2]
                    # What was queued behind it on the same worker is lost as well.
                    queued = deque(submit(n) if a == at else (n, a, s) for n, a, s in queued)
                    if is_over:
                        yield number, Failed(str(lost))
                        break
            ahead = next(following, None)
            if ahead is not None:
                queued.append(submit(ahead))

    def _replace(self, at: int) -> None:
        import ray

        ray.kill(self._actors[at], no_restart=True)
        self._actors[at] = self._actor()
        self._await_start(at)

    def close(self) -> None:
        """End the actors."""
        import ray

        for actor in self._actors:
            ray.kill(actor, no_restart=True)


class _WorkerLostError(Exception):
    def __init__(self, message: str, *, is_hang: bool):
        super().__init__(message)
        self.is_hang = is_hang


def _chunks(stream: Any, limit_s: float, *, skip: int) -> Iterator[Any]:
    """A task's chunks; the first `skip` were handed out by an earlier try and are the same again."""
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    has_begun, seen = False, 0
    while True:
        if not _is_ready(stream, limit_s + HANG_MARGIN_S if has_begun else math.inf):
            raise _WorkerLostError(
                f"nothing came for {limit_s + HANG_MARGIN_S:.0f} s: the worker was ended", is_hang=True
            )
        try:
            with interrupts_held():
                chunk = ray.get(next(stream))
        except StopIteration:
            return
        except RayTaskError as error:
            raise error.as_instanceof_cause() from error
        except RayActorError as error:
            raise _WorkerLostError(
                "the worker died while decoding it, twice (out of memory, or a crash in the decoder)",
                is_hang=False,
            ) from error
        if not has_begun:
            has_begun = True
            continue
        seen += 1
        if seen > skip:
            yield chunk


def _is_ready(answer: Any, limit_s: float) -> bool:
    """Wait for an answer, at most so long; Ctrl-C is heeded twice a second."""
    import ray

    ends_at = time.monotonic() + limit_s
    while time.monotonic() < ends_at:
        with interrupts_held():
            ready, _ = ray.wait([answer], timeout=max(0.0, min(_HEED_S, ends_at - time.monotonic())))
        if ready:
            return True
    return False


def _innermost(error: BaseException) -> str:
    text = str(getattr(error, "cause", None) or error).strip().splitlines()
    return text[-1] if text else type(error).__name__
