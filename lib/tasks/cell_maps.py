"""From cells of 16 px to pixels, a part at a time: a map of cells is small, the same map of pixels is not."""

import numpy as np

from lib.tasks.window_views import CELL_PX


def filled(cells: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Cells (rows, columns, ...) that aren't known take their nearest known neighbour's value."""
    from scipy import ndimage

    if known.all() or not known.any():
        return cells
    at = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(cells[tuple(at)])


def at_pixels(cells: np.ndarray, window: tuple[int, int, int, int], *, step: int = 1) -> np.ndarray:
    """Values at a window's pixels, bilinear between the middles of cells and even beyond the outermost.

    Args:
        cells: (rows, columns) or (rows, columns, channels).
        window: Top, left, height, width in pixels.
        step: Every how many pixels.

    Returns:
        (height, width, ...) float32, or fewer by the step.
    """
    top, left, height, width = window
    for axis, start, length in ((0, top, height), (1, left, width)):
        place = (np.arange(start, start + length, step) + 0.5) / CELL_PX - 0.5
        place = np.clip(place, 0, cells.shape[axis] - 1)
        low = np.minimum(place.astype(int), max(cells.shape[axis] - 2, 0))
        high = np.minimum(low + 1, cells.shape[axis] - 1)
        share = (place - low).astype(np.float32)
        share = share.reshape([-1 if at == axis else 1 for at in range(cells.ndim)])
        cells = cells.take(low, axis) * (1 - share) + cells.take(high, axis) * share
    return np.asarray(cells, np.float32)
