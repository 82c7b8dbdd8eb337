"""What runs in a worker on a change set: a pair's pictures through the network, its measures handed back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lib.embedding.embed import Embedder
    from lib.tasks.change_measures import Measures


@dataclass(frozen=True)
class ChangePairTask:
    """One pair: paths of its files, and what its mask means."""

    before: str
    after: str
    label: str | None
    polygons: str | None
    changed_from: int
    is_ablated: bool


@dataclass(slots=True)
class MeasuredPair:
    """What a pair came to, and what ran the network."""

    measures: "Measures"
    runtime: str


@dataclass(frozen=True)
class ChangePairWorkerFactory:
    """Makes the worker in the process that will run it. Hashable, so that a pool is kept for equal ones."""

    backbone: str
    size_px: int
    pooling: tuple[str, ...]

    def __call__(self) -> Callable[[Any], Iterator[Any]]:
        """Load the model once."""
        from lib.embedding.embed import Embedder

        return ChangePairWorker(Embedder(self.backbone, size_px=self.size_px, pooling=self.pooling))


class ChangePairWorker:
    """Turns pairs into measures."""

    def __init__(self, embedder: "Embedder"):
        self._embedder = embedder

    def __call__(self, task: ChangePairTask) -> Iterator[MeasuredPair]:
        """One chunk a pair.

        Raises:
            QueryError, UnreadableMediaError, DatasetError: Pictures or labels are no good.
        """
        from lib.tasks.change_measures import Labels, measure_pair

        labels = Labels(
            Path(task.label) if task.label else None,
            task.changed_from,
            Path(task.polygons) if task.polygons else None,
        )
        made = measure_pair(
            Path(task.before), Path(task.after), labels, self._embedder, is_ablated=task.is_ablated
        )
        yield MeasuredPair(made, self._embedder.runtime_name)
