"""demo_pairs: one ground in visible and in infrared light, cut from localtileserver's Landsat 7 scene.

The left side shows bands 3, 2, 1 (red, green, blue), the right side bands 5, 4, 7 (mid, near and farther
infrared) of the same ground. Nothing is drawn and nothing interpolated: both are the scene's own pixels, the
right side's turned by a multiple of 90 degrees, perhaps flipped, and cut up to `SHIFT_PX` beside.

Upright and unmoved they would test registration: histograms of gradients, with no network, find every test
pair then (R@1 1.00). As they are these find .24, averaged over turns .46; tried in all eight turns pair by
pair, still .91. `lib.tasks.gradient_baseline` is there to be printed beside.

Training pairs are of the scene's upper part, test pairs of its lower one: what the two see lies a window's
width apart. Windows that are mostly dark water show nothing in infrared and are left out. The test windows
don't overlap, so that a gallery of n is n places; training windows do, within blocks that see no common
ground either: the blocks are the groups.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib.datasets import Dataset, Licence, PairRow, Side
from lib.datasets.demo_scenes import packaged
from lib.errors import DatasetError

if TYPE_CHECKING:
    import numpy as np

    from lib.media.geotiff import Bands

TABLE = "pairs.csv"
WINDOW_PX = 96
SHIFT_PX = 12
# Between the windows of the two parts; a shift on either side leaves a window's width between what they see.
GAP_PX = WINDOW_PX + 2 * SHIFT_PX
# Landsat 7 ETM+: what is shown as red, green and blue.
_VISIBLE, _INFRARED = (3, 2, 1), (5, 4, 7)
# Black and white are these percentiles of a band over the whole scene: one scale for all windows.
_BLACK_PCT, _WHITE_PCT = 0.5, 99.5
# Water takes in nearly all mid-infrared light: band 5 has two humps, one to 5 and one from 60 on.
_WATER_BAND, _WATER_BELOW, _MOST_WATER = 5, 20, 0.75
_TEST_ROWS, _TEST_COLUMNS = 7, 15
# Blocks of the upper part, and how far apart the windows in one stand.
_BLOCK_ROWS, _BLOCK_COLUMNS, _STEP_PX = 3, 6, 25
_SEED = 4
_HEADER = ("id", "left", "right", "split", "group", "lon", "lat")


@dataclass(frozen=True, slots=True)
class _Window:
    """Where a pair lies, in pixels of the scene, and how its right side differs."""

    split: str
    group: str
    top: int
    left: int

    @property
    def name(self) -> str:
        return f"r{self.top:04d}c{self.left:04d}"


def _read_pair_rows(root: Path) -> Iterator[PairRow]:
    for row in _rows(root):
        yield PairRow(
            id=row["id"], left=row["left"], right=row["right"], split=row["split"], group=row["group"],
            lon=float(row["lon"]), lat=float(row["lat"]),
        )  # fmt: skip


def _rows(root: Path) -> list[dict[str, str]]:
    path = root / TABLE
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DatasetError(f"{path} can't be read ({error.strerror}): prepare the dataset again") from error
    if rows and tuple(rows[0]) != _HEADER:
        raise DatasetError(f"{path} has other columns than {', '.join(_HEADER)}: delete it and prepare again")
    return rows


def _prepare(root: Path) -> None:
    """Make the pictures and the table that aren't there; what stands is left as it is."""
    if (root / TABLE).is_file() and all(
        (root / row[side]).is_file() for row in _rows(root) for side in ("left", "right")
    ):
        return
    from lib.lake import write_whole
    from lib.media.geotiff import read_bands

    scene = read_bands(packaged())
    visible, infrared = _as_picture(scene, _VISIBLE), _as_picture(scene, _INFRARED)
    rows = []
    for window in _windows(scene):
        left, right = f"visible/{window.name}.png", f"infrared/{window.name}.png"
        _write_picture(root / left, visible[_cut(window.top, window.left)])
        _write_picture(root / right, _moved(infrared, window))
        lon, lat = _middle(scene, window)
        rows.append((window.name, left, right, window.split, window.group, f"{lon:.6f}", f"{lat:.6f}"))
    # The table comes last: a root that has it has all of its pictures, unless someone took them away.
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_HEADER, *rows])
    table = text.getvalue().encode()
    if not (root / TABLE).is_file() or (root / TABLE).read_bytes() != table:
        write_whole(root / TABLE, table)


def _windows(scene: "Bands") -> Iterator[_Window]:
    water = scene.values[_WATER_BAND - 1] < _WATER_BELOW
    for window in (*_train_windows(scene.grid.height, scene.grid.width), *_test_windows(*water.shape)):
        if water[_cut(window.top, window.left)].mean() <= _MOST_WATER:
            yield window


def _test_top(height: int) -> int:
    return height - SHIFT_PX - _TEST_ROWS * WINDOW_PX


def _test_windows(height: int, width: int) -> Iterator[_Window]:
    """Side by side in the lower part, so far from the scene's edges that a shift stays within it."""
    left_most = (width - _TEST_COLUMNS * WINDOW_PX) // 2
    for row in range(_TEST_ROWS):
        for column in range(_TEST_COLUMNS):
            top, left = _test_top(height) + row * WINDOW_PX, left_most + column * WINDOW_PX
            yield _Window("test", f"t{row}_{column}", top, left)


def _train_windows(height: int, width: int) -> Iterator[_Window]:
    """In blocks of the upper part, so far from a block's edges that a shift stays within it."""
    # The gap counts from window to window; the last block's own edge is a shift below its last window.
    bottom = _test_top(height) - GAP_PX + SHIFT_PX
    block_height, block_width = bottom // _BLOCK_ROWS, width // _BLOCK_COLUMNS
    for row in range(_BLOCK_ROWS):
        for column in range(_BLOCK_COLUMNS):
            first, leftmost = row * block_height + SHIFT_PX, column * block_width + SHIFT_PX
            for top in range(first, (row + 1) * block_height - SHIFT_PX - WINDOW_PX + 1, _STEP_PX):
                for left in range(leftmost, (column + 1) * block_width - SHIFT_PX - WINDOW_PX + 1, _STEP_PX):
                    yield _Window("train", f"b{row}_{column}", top, left)


def _cut(top: int, left: int) -> tuple[slice, slice]:
    return slice(top, top + WINDOW_PX), slice(left, left + WINDOW_PX)


def _moved(picture: "np.ndarray", window: _Window) -> "np.ndarray":
    """The window beside its place, turned and perhaps flipped, by chance that its place alone seeds."""
    import numpy as np

    rng = np.random.default_rng((_SEED, window.top, window.left))
    down, right = rng.integers(-SHIFT_PX, SHIFT_PX + 1, 2).tolist()
    turned = np.rot90(picture[_cut(window.top + down, window.left + right)], int(rng.integers(4)))
    return np.fliplr(turned) if rng.integers(2) else turned


def _as_picture(scene: "Bands", bands: tuple[int, int, int]) -> "np.ndarray":
    """Three bands, 8 bits each, scaled by the whole scene's percentiles: (height, width, 3)."""
    import numpy as np

    scaled = []
    for band in bands:
        values = scene.values[band - 1].astype(np.float64)
        black, white = np.percentile(values, (_BLACK_PCT, _WHITE_PCT))
        scaled.append(np.clip(np.rint(255 * (values - black) / (white - black)), 0, 255))
    return np.stack(scaled, axis=-1).astype(np.uint8)


def _middle(scene: "Bands", window: _Window) -> tuple[float, float]:
    # The scene's CRS is EPSG:4326.
    lon, lat = scene.grid.transform * (window.left + WINDOW_PX / 2, window.top + WINDOW_PX / 2)
    return float(lon), float(lat)


def _write_picture(path: Path, picture: "np.ndarray") -> None:
    from lib.lake import write_whole
    from lib.media.image import png_bytes

    if not path.is_file():
        write_whole(path, png_bytes(picture))


DATASET = Dataset(
    name="demo_pairs",
    kind="pair",
    title="Visible and infrared windows of the Great Salt Lake, cut from a Landsat scene of localtileserver",
    licence=Licence(
        name="MIT (localtileserver); the Landsat scene is the USGS's, in the public domain",
        url="https://github.com/banesullivan/localtileserver/blob/main/LICENSE",
        asks="Keep its copyright notice, and credit the U.S. Geological Survey for the scene.",
        needs_acknowledgement=False,
    ),
    files=(),
    size_bytes=40 << 20,
    prepare=_prepare,
    read_pair_rows=_read_pair_rows,
    sides=(Side("picture", views="turned"), Side("picture", views="turned")),
)
