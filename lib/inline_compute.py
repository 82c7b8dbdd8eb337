"""Work over tasks, in the order of the tasks: what every way of computing offers, and the one without Ray."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from lib.errors import DinolakeError

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
                for chunk in run_task(work, task):
                    yield number, chunk

    def close(self) -> None:
        """Nothing was started."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def run_task(work: Work, task: Any) -> Iterator[Any]:
    """A task's chunks; an expected error is the last of them, as a `Failed`."""
    try:
        yield from work(task)
    except DinolakeError as error:
        yield Failed(str(error))
