"""What runs in a worker: read a block of a scene's windows, embed their views, hand the vectors back.

A window is seen whole and, in four parts, at twice its size. Some are seen spoiled as well: how far
that alone moves their cells is what a change has to exceed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.ahead import ahead
from lib.media.lattice import MARGIN_PX, WINDOW_PX
from lib.sections import ScenesConfig
from lib.stages.changing import Expected, Watch

if TYPE_CHECKING:
    from lib.embedding.embed import Embedder
    from lib.stages.tiles import Tile

# A spoiled window costs as much as a window: so many more forwards, but at least one of each kind.
PERTURBED_SHARE = 0.15
# Of the spoiled ones, those whose pixels are compared too: by the gate's spread over other choices of them.
_MEASURED = 12
_AHEAD = 4  # windows made ready ahead of the network
_Read = tuple[int, np.ndarray, np.ndarray]  # number of a window, its picture, what is known of it
_OWN = slice(MARGIN_PX, WINDOW_PX - MARGIN_PX)


@dataclass(frozen=True)
class WindowTask:
    """Some windows of one scene.

    Attributes:
        path: Of the scene.
        tile: Its lattice and scaling.
        config: Which of its bands are seen.
        windows: First pixels (row, column) on the lattice.
        spoiled: (number of the window, kind of perturbation), in the windows' order.
        measured: Numbers of windows whose pixels are spoiled in every way.
        expected: The file as it was registered: while it is read it has to be that one.
    """

    path: str
    tile: "Tile"
    config: ScenesConfig
    windows: tuple[tuple[int, int], ...]
    spoiled: tuple[tuple[int, int], ...]
    measured: tuple[int, ...] = ()
    expected: Expected | None = None


@dataclass(slots=True)
class WindowChunk:
    """What a task's windows came to.

    Attributes:
        cls: (n, D) float16.
        patch_mean: (n, P) float16.
        patch_grid: (n, rows, columns, P) float16, of the windows' own cells.
        deep_grid: (n, rows, columns, E) float16, the same.
        cell_valid: (n, rows, columns) uint8, percent of a cell's pixels that have data.
        perturbed: Number of the window -> [(kind, (rows, columns) float16 distance)].
        noise: Number of the window -> (kinds, 256) counts of how far its pixels are moved.
    """

    cls: np.ndarray
    patch_mean: np.ndarray
    patch_grid: np.ndarray
    deep_grid: np.ndarray
    cell_valid: np.ndarray
    perturbed: dict[int, list[tuple[int, np.ndarray]]] = field(default_factory=dict)
    noise: dict[int, np.ndarray] = field(default_factory=dict)
    runtime: str = ""


@dataclass(frozen=True)
class WindowWorkerFactory:
    """Makes the worker in the process that will run it. Hashable, so that a pool is kept for equal ones."""

    backbone: str
    size_px: int
    pooling: tuple[str, ...]

    def __call__(self) -> Callable[[Any], Iterator[Any]]:
        """Load the model once."""
        from lib.embedding.embed import Embedder

        return WindowWorker(Embedder(self.backbone, size_px=self.size_px, pooling=self.pooling))


class WindowWorker:
    """Turns window tasks into chunks."""

    def __init__(self, embedder: "Embedder"):
        self._embedder = embedder

    def __call__(self, task: WindowTask) -> Iterator[WindowChunk]:
        """One chunk a task.

        Raises:
            UnreadableMediaError: The scene is damaged, or isn't the one that was registered.
        """
        watch = Watch(task.path, task.expected) if task.expected else None
        try:
            chunk = self._chunk(task)
        finally:
            # Of a file that was changed under its reader, that is the reason, and not what came of it.
            if watch:
                watch.check()
        yield chunk

    def _chunk(self, task: WindowTask) -> WindowChunk:
        from lib.embedding.pictures import squash
        from lib.tasks.change import perturbed
        from lib.tasks.pixel_difference import noise_of
        from lib.tasks.window_views import cells_of, distance_of, features_of, views_of

        size_px = self._embedder.contract.preprocessing.size_px
        valid: list[np.ndarray] = []
        noise: dict[int, np.ndarray] = {}
        kinds: dict[int, list[int]] = {}
        for number, kind in task.spoiled:
            kinds.setdefault(number, []).append(kind)

        def seen(read: _Read) -> list[np.ndarray]:
            """What the network is shown of a window, and of it spoiled."""
            number, picture, known = read
            spoiled = list(perturbed(picture)) if number in kinds else []
            if number in task.measured:
                own = (each[_OWN, _OWN] for each in spoiled)
                noise[number] = noise_of(picture[_OWN, _OWN], own, known[_OWN, _OWN])
            shown = [picture, *(spoiled[kind] for kind in kinds.get(number, []))]
            return [squash(view, size_px) for each in shown for view in views_of(each)]

        def pictures() -> Iterator[np.ndarray]:
            with task.tile.open(Path(task.path), task.config) as scene:
                # An open file is read by one thread; the rest of the work on a window is done ahead.
                reads = ((number, *scene.read(*at)) for number, at in enumerate(task.windows))
                for (_, _, known), views in ahead(seen, reads, most=_AHEAD):
                    valid.append(known)
                    yield from views.result()

        made = features_of(self._embedder, pictures())
        chunk: dict[str, list[np.ndarray]] = {name: [] for name in ("cls", "patch_mean", "whole", "deep")}
        moved: dict[int, list[tuple[int, np.ndarray]]] = {}
        for number in range(len(task.windows)):
            window = next(made)
            for name, values in chunk.items():
                values.append(getattr(window, name))
            for kind in kinds.get(number, []):
                distance = distance_of(window, next(made)).astype(np.float16)
                moved.setdefault(number, []).append((kind, distance))
        return WindowChunk(
            cls=np.stack(chunk["cls"]),
            patch_mean=np.stack(chunk["patch_mean"]),
            patch_grid=np.stack(chunk["whole"]),
            deep_grid=np.stack(chunk["deep"]),
            cell_valid=np.stack([cells_of(known) for known in valid]),
            perturbed=moved,
            noise=noise,
            runtime=self._embedder.runtime_name,
        )


def spoiled_windows(windows: int, kinds: int, *, seed: int) -> list[tuple[int, int]]:
    """Which windows are seen spoiled, and how: spread evenly, each kind in turn.

    Args:
        windows: Of a scene.
        kinds: Ways to spoil one.
        seed: Of the first kind: another date's kinds fall on other windows.
    """
    count = max(kinds, int(PERTURBED_SHARE * windows))
    places = np.linspace(0, windows - 1, count).round().astype(int)
    return [(int(window), (turn + seed) % kinds) for turn, window in enumerate(places)]


def measured_windows(spoiled: list[tuple[int, int]]) -> list[int]:
    """Of the windows that are spoiled anyway, those whose pixels are held against each spoiled kind's."""
    windows = sorted({window for window, _ in spoiled})
    places = np.linspace(0, len(windows) - 1, min(_MEASURED, len(windows))).round().astype(int)
    return [windows[place] for place in places]
