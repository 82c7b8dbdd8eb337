"""Outlines in a picture's own pixels, drawn. Imports rasterio, as `raster` does."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rasterio import features

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


def drawn_outlines(outlines: Sequence["BaseGeometry"], size: tuple[int, int]) -> np.ndarray:
    """Which outline each pixel belongs to: (height, width) int32, 0 for none, else 1 + its number.

    Every pixel that an outline touches is its own; where two touch the same pixel, the smaller has it.

    Args:
        outlines: Areas, x to the right and y down, in pixels.
        size: Height and width.
    """
    order = np.argsort([-outline.area for outline in outlines], kind="stable")
    # Later ones are drawn over earlier ones.
    drawn = [(outlines[at], int(at) + 1) for at in order if not outlines[at].is_empty]
    if not drawn:
        return np.zeros(size, np.int32)
    return np.asarray(features.rasterize(drawn, size, all_touched=True, dtype="int32"))
