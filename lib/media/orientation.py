"""How a stored picture has to be turned and mirrored to stand upright."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Orientation:
    """Swap rows with columns first, then mirror."""

    is_transposed: bool = False
    flips_x: bool = False
    flips_y: bool = False

    @classmethod
    def of_frame(cls, frame: Any) -> "Orientation":
        """From the display matrix that a decoded video frame carries; as stored where it carries none.

        The nine numbers are ISO/IEC 14496-12's: (x, y) goes to (a x + c y, b x + d y), rows a b u, c d v,
        x y w.
        Phones write quarter turns and mirrorings only; any other angle is taken to the nearest.
        """
        raw = next((bytes(data) for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
        if raw is None:
            return cls()
        a, b, _, c, d = np.frombuffer(raw, np.int32)[:5].tolist()
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(is_transposed=True, flips_x=c < 0, flips_y=b < 0)
        return cls(flips_x=a < 0, flips_y=d < 0)

    @property
    def rotation_deg(self) -> int:
        """Degrees clockwise (of what is then only mirrored, if at all)."""
        if self.is_transposed:
            return 270 if self.flips_y else 90
        return 180 if self.flips_y else 0

    def upright_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after turning."""
        return (height, width) if self.is_transposed else (width, height)

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """Turn a picture of shape (height, width, channels)."""
        if self == Orientation():
            return picture
        turned = picture.swapaxes(0, 1) if self.is_transposed else picture
        return np.ascontiguousarray(turned[:: -1 if self.flips_y else 1, :: -1 if self.flips_x else 1])
