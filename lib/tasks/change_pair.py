"""Two files of one place, GeoTIFFs or plain pictures: what changed, on the earlier one's grid."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.embedding.embed import Embedder
from lib.errors import QueryError, UnreadableMediaError
from lib.media.lattice import WINDOW_PX
from lib.media.raster import Grid
from lib.tasks.cell_maps import at_pixels, filled
from lib.tasks.change import as_score
from lib.tasks.change_dates import open_dates
from lib.tasks.change_windows import Reader, distances
from lib.tasks.coregister import Shift, View, shift_between
from lib.tasks.outline import CHANGED, UNJUDGED, Gates, outline
from lib.tasks.pixel_difference import pixel_gate

_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?!\d)")


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed. A byte a pixel and a number a cell: a whole scene's maps are made as they are asked for.

    Attributes:
        grid: The earlier date's.
        cells: (rows, columns) float32 distances of cells of 16 px, those without data filled.
        states: (height, width) uint8: 0 unchanged, 1 changed, 255 where it can't be judged.
        gate: The score that perturbations of the earlier date alone reach.
        threshold: The score from which on a cell was taken for changed; 1 where none was.
        forwards: Pictures that went through the network.
        dates: As the files tell, `YYYY-MM-DD`; "" where they don't.
        thumbnails: Both dates, (height, width, 3) uint8, at most 1,024 px a side.
        shift_px: Rows and columns by which the later date lay beside the earlier, and was moved back.
    """

    grid: Grid
    cells: np.ndarray
    states: np.ndarray
    gate: float
    threshold: float
    forwards: int
    dates: tuple[str, str]
    thumbnails: tuple[np.ndarray, np.ndarray]
    shift_px: Shift

    @property
    def score(self) -> np.ndarray:
        """(height, width) float32 in [0, 1), comparable between pairs; NaN where it can't be judged."""
        return self.score_of(0, self.grid.height)

    @property
    def mask(self) -> np.ndarray:
        """(height, width) bool, what changed."""
        return np.asarray(self.states == CHANGED)

    def score_of(self, top: int, bottom: int) -> np.ndarray:
        """Rows of the score."""
        made = as_score(at_pixels(self.cells, (top, 0, bottom - top, self.grid.width)))
        made[self.states[top:bottom] == UNJUDGED] = np.nan
        return made


def find_changes(before: Path, after: Path, embedder: Embedder) -> Changes:
    """Hold a later file against an earlier one.

    Raises:
        QueryError: One can't be read, or they show no common ground.
    """
    try:
        return _changes(before, after, embedder)
    except UnreadableMediaError as error:
        raise QueryError(f"{before} and {after} can't be compared: {error}.") from error


def _changes(before: Path, after: Path, embedder: Embedder) -> Changes:
    with open_dates(before, after) as found_at:
        view, shape = found_at.held(), found_at.shape
        shift = shift_between(view, shape)
        dates = found_at.moved(shift)
        view = view if dates is found_at else dates.held()
        found = distances(embedder, _reader(view, shape), shape)
        gates = Gates(found.gate, pixel_gate(view, shape))
        outlined = outline(found.cells, gates, view, shape=shape)
        shown = tuple(dates.scaling.apply(side.sample()[0]) for side in (dates.earlier, dates.later))
        return Changes(
            grid=dates.earlier.grid,
            cells=filled(found.cells, np.isfinite(found.cells)),
            states=outlined.states,
            gate=float(as_score(np.array(found.gate))),
            threshold=float(as_score(np.array(outlined.threshold))),
            forwards=found.forwards,
            dates=(_date_of(before), _date_of(after)),
            thumbnails=(shown[0], shown[1]),
            shift_px=shift,
        )


def _reader(view: View, shape: tuple[int, int]) -> Reader:
    height, width = shape

    def read(top: int, left: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = max(0, top), min(height, top + WINDOW_PX)
        columns = max(0, left), min(width, left + WINDOW_PX)
        pads = (rows[0] - top, top + WINDOW_PX - rows[1]), (columns[0] - left, left + WINDOW_PX - columns[1])
        before, after, valid = view(rows[0], columns[0], rows[1] - rows[0], columns[1] - columns[0])
        pictures = [np.pad(picture, (*pads, (0, 0)), mode="edge") for picture in (before, after)]
        return pictures[0], pictures[1], np.pad(valid, pads, mode="edge")

    return read


def _date_of(path: Path) -> str:
    """`YYYY-MM-DD` out of a file's name; "" where it has none."""
    found = _DATE.search(path.stem)
    return "-".join(found.groups()) if found else ""
