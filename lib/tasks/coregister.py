"""How far the later of two dates lies beside the earlier, within two pixels or not at all."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from lib.ahead import ahead

# Top, left, height, width, within the picture -> both dates' (height, width, 3) uint8 and what both know.
View = Callable[[int, int, int, int], tuple[np.ndarray, np.ndarray, np.ndarray]]
Shift = tuple[float, float]

BOUND_PX = 2.25
# Nearer than this, resampling would cost more sharpness than it gains.
LEAST_PX = 0.2
# Of the windows, and within how many pixels of their median. Of made pairs with planted changes at least 94 %
# agree; of labelled pairs of other seasons at most 12 %, and phase correlation alone jumps.
_AGREE, _WITHIN_PX = 0.6, 0.5
_WINDOWS_A_SIDE, _LEAST_WINDOWS = 7, 3
_STEPS_PER_PX, _TAPS = 20, 8
_AHEAD = 8  # windows held at a time


def shift_between(view: View, shape: tuple[int, int]) -> Shift:
    """Rows and columns by which what the later date shows is moved; (0, 0) where windows don't agree on one.

    Windows' gradients are held against each other by correlation; only a shift that most windows share, and
    that is small, is the scene's.

    Args:
        view: Reads both dates.
        shape: Height and width in pixels.
    """
    side = 256 if min(shape) >= 768 else 128
    tops, lefts = (_starts(length, side) for length in shape)
    windows = (view(top, left, side, side) for top in tops for left in lefts)
    moved = [made.result() for _, made in ahead(_moved_in, windows, most=_AHEAD)]
    found = [shift for shift in moved if shift is not None]
    near = [shift for shift in found if np.abs(shift).max() <= BOUND_PX + _WITHIN_PX]
    if len(near) < max(_LEAST_WINDOWS, _AGREE * len(found)):
        return 0.0, 0.0
    usual = np.median(near, axis=0)
    agree = (np.abs(np.array(near) - usual) <= _WITHIN_PX).all(1).sum()
    size = np.abs(usual).max()
    if agree < _AGREE * len(found) or not LEAST_PX <= size <= BOUND_PX:
        return 0.0, 0.0
    return round(float(usual[0]), 2), round(float(usual[1]), 2)


def _moved_in(window: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray | None:
    """What a window of both dates tells; None where it lacks data, or is even."""
    before, after, valid = window
    one, other = _edges(before), _edges(after)
    return _moved(one, other) if valid.all() and one.any() and other.any() else None


def _moved(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Rows and columns by which what one (side, side) window shows lies further on in the other.

    Where their correlation is highest, to a pixel; around that, to a `_STEPS_PER_PX`-th of one, by Lanczos'
    interpolation. Unnormalised: a normalised one is drawn to whole pixels. As skimage's
    `phase_cross_correlation` has it, whose import alone takes longer than all of a scene's windows.
    """
    side = len(one)
    # numpy's: importing scipy's takes as long as a scene's windows.
    correlation = np.fft.irfft2(np.conj(np.fft.rfft2(one)) * np.fft.rfft2(other), s=one.shape)
    peak = np.array(np.unravel_index(int(np.argmax(correlation)), one.shape))
    whole = np.where(peak > side // 2, peak - side, peak)
    taps, near = np.arange(-_TAPS, _TAPS + 1), np.arange(-_STEPS_PER_PX, _STEPS_PER_PX + 1) / _STEPS_PER_PX
    patch = correlation.take(peak[0] + taps, 0, mode="wrap").take(peak[1] + taps, 1, mode="wrap")
    apart = near[:, None] - taps
    weights = np.sinc(apart) * np.sinc(apart / (_TAPS + 1))
    fine = weights @ patch @ weights.T
    at = np.unravel_index(int(np.argmax(fine)), fine.shape)
    return np.asarray(whole + near[list(at)])


def _starts(length: int, side: int) -> np.ndarray:
    if length < side:
        return np.array([], int)
    count = min(_WINDOWS_A_SIDE, max(2, length // side))
    return np.unique(np.linspace(0, length - side, count).astype(int))


def _edges(picture: np.ndarray) -> np.ndarray:
    """Gradients, which haze and gain leave where they are; tapered, for a window's edge is none."""
    red, green, blue = (picture[..., channel].astype(np.float32) for channel in range(3))
    grey = np.pad(red + green + blue, 1, mode="edge")
    # Sobel's, which are differences across one axis of sums along the other.
    down, aside = grey[2:] - grey[:-2], grey[:, 2:] - grey[:, :-2]
    down = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    aside = aside[:-2] + 2 * aside[1:-1] + aside[2:]
    strength = np.sqrt(down * down + aside * aside)
    # A few very strong edges, such as a new roof's, mustn't speak for the whole window.
    most = int(0.98 * (strength.size - 1))
    strength = np.minimum(strength, np.partition(strength, most, axis=None)[most])
    return np.asarray((strength - strength.mean()) * _taper(len(strength)))


@lru_cache(maxsize=2)
def _taper(side: int) -> np.ndarray:
    """Hann's window by the distance from the middle, 0 from the edges on, (side, side) float32."""
    apart = np.arange(side) - (side - 1) / 2
    distance = np.minimum(np.hypot(apart[:, None], apart) / (side / 2), 1)
    return np.asarray((1 + np.cos(np.pi * distance)) / 2, np.float32)
