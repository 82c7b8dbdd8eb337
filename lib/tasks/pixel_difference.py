"""How far two dates' pixels are apart once their light is the same, and how far nothing at all moves them.

Features tell what changed and know it to a cell; pixels tell to the pixel where it ends, wherever the rest of
the scene is quiet.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from lib.ahead import ahead
from lib.tasks.cell_maps import at_pixels, filled
from lib.tasks.change import GATE_FACTOR, GATE_QUANTILE, perturbed
from lib.tasks.coregister import View
from lib.tasks.morphology import opened
from lib.tasks.window_views import CELL_PX

# Height and width of what is read at a time.
BLOCK_PX = 256, 2048
# Thinner than this are seams of half a pixel, rails and JPEG's rings, not changes.
THIN_PX = 5
_HALO_PX = 8
_SMOOTH_PX = 0.8
# Light is fitted to this share of the pixels, those that differ least.
_FITTED_SHARE, _FITTED, _FIT_STEPS, _FIT_PX = 0.6, 1 << 14, 12, 4
# Haze varies over hundreds of pixels; changes wider than half of this are known by their features.
_LIGHT_CELLS = 15
_SAME_LIGHT = 1.5  # grey levels
_SAMPLES, _SAMPLE_PX, _NOISE_STEP = 16, 256, 5
# Differences rest as bytes: the square root, so that small ones keep their steps. 0 is no data.
_PER_ROOT = 254 / np.sqrt(255.0)
UNKNOWN = 0
_AHEAD = 3  # blocks held at a time
GREY_LEVELS = np.concatenate([[0.0], (np.arange(255) / _PER_ROOT) ** 2]).astype(np.float32)

_Window = tuple[int, int, int, int]  # top, left, height, width
_Read = tuple[_Window, _Window, tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True, slots=True)
class Light:
    """How the later date's values become the earlier's: times a gain, plus an offset; (3,) each."""

    gain: np.ndarray
    offset: np.ndarray


def light_between(before: np.ndarray, after: np.ndarray) -> Light:
    """The gain and offset that most of (n, 3) pixels share: least trimmed squares (Rousseeuw 1984)."""
    if not len(before):
        return Light(np.ones(3, np.float32), np.zeros(3, np.float32))
    # Six numbers are told by fewer.
    step = -(-len(before) // _FITTED)
    one, other = (np.ascontiguousarray(side[::step].T, np.float32) for side in (before, after))
    medians = np.median(one, 1), np.median(other, 1)
    spreads = [np.median(np.abs(v - m[:, None]), 1) + 1 for v, m in zip((one, other), medians, strict=True)]
    gain = np.clip(spreads[0] / spreads[1], 0.5, 2)
    # Summed up over what is kept, these are all that a line's fit needs.
    terms = np.concatenate([other, one, other * other, other * one]).astype(np.float64)
    least = int(_FITTED_SHARE * (one.shape[1] - 1))
    found = []
    for start in (Light(np.ones(3), np.zeros(3)), Light(gain, medians[0] - gain * medians[1])):
        light, fitted = start, np.zeros(one.shape[1], bool)
        for _ in range(_FIT_STEPS):
            rest = _squares(one, other, light)
            kept = rest <= np.partition(rest, least)[least]
            if (kept == fitted).all():
                break
            light, fitted = _least_squares(terms, kept), kept
        rest = _squares(one, other, light)
        found.append((float(np.partition(rest, least)[least]), light))
    return min(found, key=lambda pair: pair[0])[1]


def _squares(one: np.ndarray, other: np.ndarray, light: Light) -> np.ndarray:
    rest = other * light.gain.astype(np.float32)[:, None]
    rest += light.offset.astype(np.float32)[:, None]
    rest -= one
    return np.asarray(np.einsum("cn,cn->n", rest, rest))


def _least_squares(terms: np.ndarray, kept: np.ndarray) -> Light:
    x, y, xx, xy = np.einsum("tn,n->t", terms, kept / kept.sum()).reshape(4, 3)
    spread = xx - x * x
    gain = (xy - x * y) / np.maximum(spread, 1e-6)
    # An even picture tells nothing of the gain.
    gain = np.where(spread < 4, 1.0, np.clip(gain, 0.5, 2))
    return Light(gain.astype(np.float32), (y - gain * x).astype(np.float32))


def apart(
    before: np.ndarray, after: np.ndarray, light: Light, *, offset: np.ndarray | None = None
) -> np.ndarray:
    """Differences of two (height, width, 3) uint8 pictures, (height, width) float32 in grey levels.

    Args:
        before: The earlier.
        after: The later.
        light: What most pixels share.
        offset: (height, width, 3), what is added to the light's own; None for nothing.
    """
    from scipy import ndimage

    total = np.zeros(before.shape[:2], np.float32)
    for channel, (gain, moved) in enumerate(zip(light.gain, light.offset, strict=True)):
        one, other = (side[..., channel].astype(np.float32) for side in (before, after))
        moved = np.float32(moved) if offset is None else moved + offset[..., channel]
        # Either date may be cut off at black or white where the other isn't: the milder of both views.
        other *= np.float32(gain)
        to_earlier = other + moved
        np.clip(to_earlier, 0, 255, out=to_earlier)
        to_earlier -= one
        np.subtract(one, moved, out=one)
        np.clip(one, 0, 255 * gain, out=one)
        other -= one
        np.copyto(other, to_earlier, where=np.abs(to_earlier) < np.abs(other))
        smooth = ndimage.gaussian_filter(other, _SMOOTH_PX)
        smooth *= smooth
        total += smooth
    total /= 3
    return np.asarray(np.sqrt(total, out=total))


def _as_bytes(differences: np.ndarray) -> np.ndarray:
    """As `GREY_LEVELS` knows them, without what is thinner than `THIN_PX`."""
    roots = np.sqrt(differences)
    roots *= _PER_ROOT
    # Bytes keep their order, so that what is thin is the same in them.
    return opened(1 + np.minimum(roots, 254).astype(np.uint8), THIN_PX)


def local_offsets(view: View, shape: tuple[int, int], light: Light, *, doubtful: np.ndarray) -> np.ndarray:
    """What haze and slopes add to the light from place to place: (rows, columns, 3) float32, a value a cell.

    Args:
        view: Reads both dates.
        shape: Height and width in pixels.
        light: What most pixels share.
        doubtful: (rows, columns) bool cells that may be changed; their neighbours tell.
    """
    from scipy import ndimage

    rows, columns = (-(-length // CELL_PX) for length in shape)
    usual = np.zeros((rows, columns, 3), np.float32)
    known = np.zeros((rows, columns), bool)

    def tell(read: _Read) -> None:
        (top, left, height, width), _, (before, after, valid) = read
        pads = (0, -height % CELL_PX), (0, -width % CELL_PX)
        before, after = (_coarse(np.pad(side, (*pads, (0, 0)), mode="edge")) for side in (before, after))
        cells = _by_cell(before - (after * light.gain + light.offset), CELL_PX // _FIT_PX)
        place = (
            slice(top // CELL_PX, top // CELL_PX + cells.shape[0]),
            slice(left // CELL_PX, left // CELL_PX + cells.shape[1]),
        )
        usual[place] = np.median(cells, axis=2)
        known[place] = _by_cell(np.pad(valid, pads, mode="edge")[..., None], CELL_PX).all((2, 3))

    for _, told_of in ahead(tell, ((block, block, view(*block)) for block in _blocks(shape)), most=_AHEAD):
        told_of.result()
    # Where the light is the same, a change as wide as a lake would be taken for light.
    told = np.abs(usual[known & ~doubtful])
    if told.size and np.median(told.max(-1)) <= _SAME_LIGHT:
        return np.zeros_like(usual)
    usual = filled(usual, known & ~doubtful)
    usual = ndimage.median_filter(usual, (_LIGHT_CELLS, _LIGHT_CELLS, 1), mode="nearest")
    return np.asarray(ndimage.gaussian_filter(usual, (2, 2, 0), mode="nearest"))


def _by_cell(values: np.ndarray, side: int) -> np.ndarray:
    """(rows, columns, values of a cell, channels) of whole cells' (height, width, channels)."""
    height, width, channels = values.shape
    rows, columns = height // side, width // side
    cells = values.reshape(rows, side, columns, side, channels).swapaxes(1, 2)
    return cells.reshape(rows, columns, side**2, channels)


def sampled_light(view: View, shape: tuple[int, int]) -> Light:
    """What most pixels of a pair share, from windows spread over it."""
    parts = []
    for before, after, valid in _samples(view, shape):
        is_known = _coarse(valid[..., None]).ravel() == 1
        parts.append([_coarse(side).reshape(-1, 3)[is_known] for side in (before, after)])
    if not parts:
        return Light(np.ones(3, np.float32), np.zeros(3, np.float32))
    before, after = (np.concatenate(part) for part in zip(*parts, strict=True))
    return light_between(before, after)


def _coarse(picture: np.ndarray) -> np.ndarray:
    """Means of 4 x 4 pixels: noise in what a gain is fitted to would pull it down."""
    rows, columns = (length // _FIT_PX for length in picture.shape[:2])
    channels = picture.shape[2]
    whole = picture[: rows * _FIT_PX, : columns * _FIT_PX]
    lines = whole.reshape(rows, _FIT_PX, columns * _FIT_PX * channels).sum(1, dtype=np.uint16)
    cells = lines.reshape(rows, columns, _FIT_PX, channels)
    return np.asarray(sum(cells[:, :, at] for at in range(_FIT_PX)), np.float32) / _FIT_PX**2


def difference_map(view: View, shape: tuple[int, int], *, doubtful: np.ndarray) -> np.ndarray:
    """Differences of a whole pair, (height, width) uint8.

    `GREY_LEVELS` of a value is the difference; `UNKNOWN` is no data.

    Args:
        view: Reads both dates.
        shape: Height and width in pixels.
        doubtful: (rows, columns) bool cells that may be changed, which light isn't fitted to.
    """
    light = sampled_light(view, shape)
    offsets = local_offsets(view, shape, light, doubtful=doubtful)
    made = np.zeros(shape, np.uint8)
    has_offsets = offsets.any()

    def fill(read: _Read) -> None:
        (top, left, height, width), window, (before, after, valid) = read
        values = apart(before, after, light, offset=at_pixels(offsets, window) if has_offsets else None)
        values[~valid] = 0
        stored = _as_bytes(values)
        stored[~valid] = UNKNOWN
        up, aside = top - window[0], left - window[1]
        made[top : top + height, left : left + width] = stored[up : up + height, aside : aside + width]

    def read() -> Iterator[_Read]:
        for top, left, height, width in _blocks(shape):
            up, aside = min(top, _HALO_PX), min(left, _HALO_PX)
            window = (
                top - up, left - aside,
                min(shape[0], top + height + _HALO_PX) - top + up,
                min(shape[1], left + width + _HALO_PX) - left + aside,
            )  # fmt: skip
            yield (top, left, height, width), window, view(*window)

    for _, filled_block in ahead(fill, read(), most=_AHEAD):
        filled_block.result()
    return made


def noise_of(before: np.ndarray, spoiled: Iterable[np.ndarray], valid: np.ndarray) -> np.ndarray:
    """How far perturbations alone move a picture's pixels: counts of differences, (kinds, 256) int64.

    Args:
        before: (height, width, 3) uint8.
        spoiled: The same, each kind of perturbation in turn.
        valid: (height, width) bool; what has no data isn't counted.
    """
    coarse = _coarse(before).reshape(-1, 3)[::_NOISE_STEP]
    made = []
    for other in spoiled:
        light = light_between(coarse, _coarse(other).reshape(-1, 3)[::_NOISE_STEP])
        made.append(np.bincount(_as_bytes(apart(before, other, light))[valid], minlength=256))
    return np.stack(made)


def gate_of_noise(noise: np.ndarray) -> float:
    """The difference that only a change exceeds, in grey levels; infinite where nothing was counted.

    Args:
        noise: (kinds, 256) counts of `noise_of`, summed over windows.
    """
    reached = [0.0]
    # What is counted as a byte lies below the next one's level.
    ends = np.append(GREY_LEVELS[1:], 255.0)
    for counts in noise:
        below = np.cumsum(counts)
        if not below[-1]:
            return np.inf
        reached.append(float(np.interp(GATE_QUANTILE * below[-1], below, ends)))
    return GATE_FACTOR * max(reached)


def pixel_gate(view: View, shape: tuple[int, int]) -> float:
    """The difference that only a change exceeds, from perturbations of the earlier date; in grey levels."""

    def spoiled(window: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        before, _, valid = window
        return noise_of(before, perturbed(before), valid)

    noise = [counts.result() for _, counts in ahead(spoiled, _samples(view, shape), most=_AHEAD)]
    return gate_of_noise(np.sum(noise, axis=0)) if noise else np.inf


def _samples(view: View, shape: tuple[int, int]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Windows spread over the pair, those with data at least in half of them."""
    sides = [min(_SAMPLE_PX, length) for length in shape]
    # The last ones overlap those before them, so that no edge is left out.
    tops, lefts = (
        np.linspace(0, length - side, -(-length // side)).astype(int).tolist()
        for length, side in zip(shape, sides, strict=True)
    )
    places = [(top, left) for top in tops for left in lefts]
    found = 0
    for at in np.random.default_rng(0).permutation(len(places))[: 4 * _SAMPLES]:
        top, left = places[at]
        before, after, valid = view(top, left, sides[0], sides[1])
        if valid.mean() >= 0.5:
            yield before, after, valid
            found += 1
            if found == _SAMPLES:
                return


def _blocks(shape: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    for top in range(0, shape[0], BLOCK_PX[0]):
        for left in range(0, shape[1], BLOCK_PX[1]):
            yield top, left, min(BLOCK_PX[0], shape[0] - top), min(BLOCK_PX[1], shape[1] - left)
