"""Arithmetic on stored vectors, in numpy alone: unit length when read, float16 when kept."""

import numpy as np
from numpy.typing import NDArray

# The greatest float16 is 65,504; rounding never reaches it from here.
_HALF_LIMIT = 6e4


def unit(vectors: np.ndarray) -> NDArray[np.float32]:
    """Scale each vector (the last axis) to length 1, in float32; vectors of zeros stay zeros."""
    wide = np.asarray(vectors, np.float32)
    length = np.linalg.norm(wide, axis=-1, keepdims=True)
    made: NDArray[np.float32] = np.divide(wide, length, out=np.zeros_like(wide), where=length > 0)
    return made


def to_half(vectors: np.ndarray) -> NDArray[np.float16]:
    """Raw features as float16, the way they rest in the lake.

    A vector (the last axis) with a value that float16 can't hold is scaled down as a whole: its direction is
    kept, and unit length leaves no more of it at reading.
    """
    wide = np.asarray(vectors, np.float32)
    if not wide.size:
        return wide.astype(np.float16)
    largest = np.abs(wide).max(axis=-1, keepdims=True)
    shrink = _HALF_LIMIT / np.maximum(largest, _HALF_LIMIT)
    made: NDArray[np.float16] = (wide * shrink).astype(np.float16)
    return made
