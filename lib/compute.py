"""Work spread over Ray actors that load their model once. The only module that imports ray.

A task yields chunks, and chunks come back in the order of the tasks, so that what is written doesn't depend
on who was quicker. Paths are sent, never pixels. A worker that dies or hangs costs its task, not the run; a
node that dies costs not even that: what it had is done again by those that are left.
"""

import contextlib
import functools
import logging
import math
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from lib.errors import DinolakeError
from lib.inline_compute import Compute, Failed, InlineCompute, Work, run_task
from lib.processes import interrupts_held
from lib.ray_folder import ray_folder

__all__ = ["Compute", "Failed", "InlineCompute", "RayCompute"]

# Chunks a worker may be ahead of the writer: bounds the object store whatever a video's length.
_CHUNKS_AHEAD = 4
_TRIES = 2
_HEED_S = 0.5
# Beyond the decoder's own limit, which gives the better message.
HANG_MARGIN_S = 30.0
# Loading a large model takes a while; a worker that takes longer will not come.
_START_LIMIT_S = 300.0
# The first worker is up: one that isn't by then waits for room that somebody else has.
_GRACE_S = 60.0
# Nodes that a task may lose under it before it is given up.
_NODES_LOST = 3
_CPUS_A_WORKER = 8


class _Worker:
    """The body of a Ray actor."""

    def __init__(self, make: Callable[[], Work]):
        self._work = make()

    def ready(self) -> int:
        return os.getpid()

    def run(self, task: Any) -> Iterator[Any]:
        # The first item says that the task has begun: its time limit counts from here, not from the queue.
        yield None
        yield from run_task(self._work, task)


class RayCompute:
    """A pool of Ray actors, on an existing cluster by address or on a local Ray that ends with the pool.

    Args:
        address: `host:port` of a running cluster, or None for a local one.
        workers: Actors at most; None takes one a GPU, else one for each eight CPUs of a node.
        cpus_each: CPUs an actor may use; None shares them out. An actor lies on one node, whole.
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
        # Of a node that dies it would print a line to standard output, where results go.
        ray._private.worker._worker_logs_enabled = False
        quiet = {"log_to_driver": False, "configure_logging": False, "ignore_reinit_error": False}
        if self._address:
            ray.init(address=self._address, namespace="dinolake", **quiet)
        else:
            self._folder = ray_folder()
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):  # noqa: PTH123
                ray.init(address="local", include_dashboard=False, _temp_dir=self._folder, **quiet)
        self._is_open = True

    def _share(self) -> tuple[int | None, int, int]:
        """Workers at most, and the CPUs and GPUs of each: the same for all, so that each fits on any node."""
        nodes = [(cpus, gpus) for cpus, gpus in _nodes().values() if cpus]
        if any(gpus for _, gpus in nodes):
            each = self._cpus_each or min(max(1, cpus // gpus) for cpus, gpus in nodes if gpus)
            return self._workers, each, 1
        # A node of 20 CPUs has two workers of 10.
        each = min((cpus // max(1, cpus // _CPUS_A_WORKER) for cpus, _ in nodes), default=1)
        if self._workers:
            each = max(1, min(sum(cpus for cpus, _ in nodes) // self._workers, max(nodes, default=(1, 0))[0]))
        return self._workers, self._cpus_each or each, 0

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


def _nodes() -> dict[str, tuple[int, int]]:
    """CPUs and GPUs of every node that is up."""
    import ray

    with interrupts_held():
        known = ray.nodes()
    return {
        node["NodeID"]: (int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0)))
        for node in known
        if node["Alive"]
    }


class _Pool:
    """As many actors as the nodes have room for: fewer, once a node is lost that nothing replaces."""

    def __init__(self, make: Callable[[], Work], most: int | None, cpus_each: int, gpus_each: int):
        import ray

        self.make = make
        self._most, self._cpus_each, self._gpus_each = most, cpus_each, gpus_each
        self._actor = functools.partial(
            ray.remote(_Worker).options(num_cpus=cpus_each, num_gpus=gpus_each).remote, make
        )
        self._actors: list[Any] = []
        self._fill()

    def _room(self) -> int:
        """Actors that the nodes that are up could hold."""
        return sum(
            min(cpus // self._cpus_each, gpus // self._gpus_each if self._gpus_each else cpus)
            for cpus, gpus in _nodes().values()
        )

    def _fill(self) -> None:
        for _ in range(_NODES_LOST):
            self.close()
            self._stood_on = set(_nodes())
            wanted = max(1, self._room())
            self._actors = [self._actor() for _ in range(min(self._most or wanted, wanted))]
            try:
                self._keep_started()
                return
            except _NodeLostError:
                continue
            except BaseException:
                self.close()
                raise
        raise DinolakeError(
            "the Ray cluster lost one node or worker after another; `ray status` tells of the others."
        )

    def _keep_started(self) -> None:
        """Wait for the first actor; the others are let go where somebody else has their room."""
        started: list[Any] = []
        for actor in self._actors:
            if self._has_started(actor, _GRACE_S if started else _START_LIMIT_S):
                started.append(actor)
            else:
                self._end(actor)
        if not started:
            raise DinolakeError(
                f"no Ray worker started within {_START_LIMIT_S:.0f} s: is the cluster full, or has it no "
                f"node with {self._cpus_each} CPUs? `ray status` tells."
            )
        self._actors = started

    def _has_started(self, actor: Any, limit_s: float) -> bool:
        import ray
        from ray.exceptions import ActorDiedError

        answer, ends_at = actor.ready.remote(), time.monotonic() + limit_s
        while not _is_ready(answer, 2 * _HEED_S):
            if max(1, self._room()) < len(self._actors):
                raise _NodeLostError
            if time.monotonic() > ends_at:
                return False
        try:
            ray.get(answer)
        except ActorDiedError as error:
            # One that was killed while it started says nothing against its model: another is tried.
            if self._stood_on - set(_nodes()) or not error.actor_init_failed:
                raise _NodeLostError from error
            raise DinolakeError(f"a Ray worker can't load its model: {_innermost(error)}") from error
        return True

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
            given = workers_lost = nodes_lost = 0
            while True:
                try:
                    for chunk in _chunks(stream, limit_s, skip=given):
                        yield number, chunk
                        given += 1
                    break
                except _WorkerLostError as lost:
                    was_node = self._renew(at)
                    nodes_lost += was_node
                    workers_lost += not was_node
                    is_hang = lost.is_hang and not was_node
                    is_over = is_hang or workers_lost == _TRIES or nodes_lost == _NODES_LOST
                    # In this order: a worker does tasks as they came, and waits while none reads its chunks.
                    again = None if is_over else submit(number)
                    # What was queued behind it on the same worker is lost as well.
                    queued = deque(submit(n) if was_node or a == at else (n, a, s) for n, a, s in queued)
                    if again is None:
                        yield number, Failed(str(lost))
                        break
                    _, at, stream = again
            ahead = next(following, None)
            if ahead is not None:
                queued.append(submit(ahead))

    def _renew(self, at: int) -> bool:
        """A new actor for a lost one; whether its node was lost with it, and all of them are new."""
        if not self._stood_on - set(_nodes()):
            self._end(self._actors[at])
            self._actors[at] = self._actor()
            with contextlib.suppress(_NodeLostError):
                if self._has_started(self._actors[at], _START_LIMIT_S):
                    return False
        # On those that are left nothing is worth keeping: one that waits for its chunks to be read would
        # keep what is moved to it waiting, and be read only after that.
        self._fill()
        return True

    def _end(self, actor: Any) -> None:
        import ray

        ray.kill(actor, no_restart=True)

    def close(self) -> None:
        """End the actors."""
        while self._actors:
            self._end(self._actors.pop())


class _NodeLostError(Exception):
    pass


class _WorkerLostError(Exception):
    def __init__(self, message: str, *, is_hang: bool):
        super().__init__(message)
        self.is_hang = is_hang


def _chunks(stream: Any, limit_s: float, *, skip: int) -> Iterator[Any]:
    """A task's chunks; the first `skip` were handed out by an earlier try and are the same again."""
    import ray
    from ray.exceptions import ObjectLostError, RayActorError, RayTaskError

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
        except (RayActorError, ObjectLostError) as error:
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
