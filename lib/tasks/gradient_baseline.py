"""Retrieval with no network: histograms of gradients, to be printed beside what features find.

Where both sides are of one moment and one viewpoint, light and dark meet at the same edges in every band. A
figure of ours that this reaches too measures registration, not meaning.
"""

from collections.abc import Iterable, Iterator

import numpy as np

CELLS = 4  # a side: as coarse as the features' own grid
ORIENTATIONS = 8
_SIDE_PX = 96  # pictures are brought to this size, so that pictures of any two sizes compare
_FLAT = 1e-6


def gradient_map(picture: np.ndarray) -> np.ndarray:
    """How strong gradients of each orientation are in each cell of a picture.

    A histogram of oriented gradients (Dalal and Triggs 2005) without its overlapping blocks. Orientation is
    taken without sign, as what is bright in one band may be dark in another.

    Args:
        picture: uint8, shape (height, width, 3).

    Returns:
        Unit float32, shape (CELLS, CELLS, ORIENTATIONS); zeros where the picture is flat.
    """
    from lib.embedding.pictures import squash

    grey = squash(picture, _SIDE_PX).astype(np.float32).mean(axis=2)
    down, right = np.gradient(grey)
    angle = np.mod(np.arctan2(down, right), np.pi)
    # Bins are centred on the axes, so that turns and flips take bins to bins.
    nearest = np.rint(angle / np.pi * ORIENTATIONS).astype(int) % ORIENTATIONS
    strength = np.zeros((_SIDE_PX, _SIDE_PX, ORIENTATIONS), np.float32)
    np.put_along_axis(strength, nearest[..., None], np.hypot(down, right)[..., None], axis=2)
    cell = _SIDE_PX // CELLS
    made = strength.reshape(CELLS, cell, CELLS, cell, ORIENTATIONS).mean(axis=(1, 3))
    length = float(np.linalg.norm(made))
    return made / length if length > _FLAT else np.zeros_like(made)


def gradient_vectors(pictures: Iterable[np.ndarray], *, averaged: bool = False) -> np.ndarray:
    """Unit vectors to be compared by cosine, float32, shape (pictures, CELLS² · ORIENTATIONS).

    Args:
        pictures: uint8, shape (height, width, 3) each.
        averaged: Take the mean over the eight turns and flips, as features do where the heading is unknown.
    """
    made = [gradient_map(picture) for picture in pictures]
    if averaged:
        made = [np.mean(list(_turns(one)), axis=0) for one in made]
    vectors = np.array(made, np.float32).reshape(len(made), CELLS * CELLS * ORIENTATIONS)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _FLAT))


def best_turn_similarity(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cosine of each left side with each right side in that one of its eight turns and flips that fits best.

    The strongest that gradients do where the heading is unknown: it looks for the heading pair by pair, which
    no single vector a side can.

    Args:
        left: What `gradient_vectors` made, not averaged, shape (n, dim).
        right: The same, shape (m, dim).

    Returns:
        float32, shape (n, m).
    """
    best = np.full((len(left), len(right)), -np.inf, np.float32)
    for turned in _turns(left.reshape(-1, CELLS, CELLS, ORIENTATIONS)):
        np.maximum(best, turned.reshape(len(left), -1) @ right.T, out=best)
    return best


def _turns(maps: np.ndarray) -> Iterator[np.ndarray]:
    """Maps (…, CELLS, CELLS, ORIENTATIONS) of the eight turns and flips of their pictures."""
    for quarter in range(4):
        turned = np.rot90(maps, quarter, axes=(-3, -2))
        # A quarter turn moves orientations, which come round after half a turn, by half of the bins.
        turned = np.roll(turned, quarter * ORIENTATIONS // 2, axis=-1)
        yield turned
        # Left and right swapped, an angle a becomes 180° - a.
        yield turned[..., ::-1, :][..., -np.arange(ORIENTATIONS) % ORIENTATIONS]
