"""NYU Depth V2: 1,449 labelled pairs of a colour picture and a depth map in 464 indoor scenes, from a Kinect.

One MATLAB 7.3 file, which is HDF5 (its size and MD5 as others report them): `images` of 480 x 640 x 3 x 1,449
bytes, `depths` of 480 x 640 x 1,449 in metres, holes filled by the authors, and `scenes`, the name of each
pair's scene. HDF5 tells the axes the other way round. `splits.mat` (MATLAB 5; 2,626 bytes, MD5 seen) is the
official split, 795 and 654 pairs, numbered from 1.

The official split is the one used, and it is scene-disjoint: Eigen et al. (2014) count 249 scenes in train
and 215 in test, 464 in all. Long scenes were recorded in parts (`kitchen_0028a`, `kitchen_0028b`), which
count as one: the raw data's 284 folders of train are 249 scenes once the letter is taken off.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lib.datasets import Dataset, Licence, PairRow, RemoteFile, Side
from lib.datasets.listed_pairs import nearest
from lib.errors import DatasetError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SIDES = (Side("picture"), Side("depth"))
LABELLED, SPLITS = "nyu_depth_v2_labeled.mat", "splits.mat"
_PICTURES, _DEPTHS = "rgb", "depth"
_MM = 1000
_AT = "http://horatio.cs.nyu.edu/mit/silberman"
_PART = re.compile(r"(?<=\d)[a-z]$")


def prepare(root: Path) -> None:
    """Unpack the pairs to `rgb/<number>.png` and `depth/<number>.png`, the latter 16-bit in millimetres.

    Where no depth is known the map has 0. What stands is left as it is, so that a killed call goes on.

    Raises:
        DatasetError: There is no labelled file below the root, or it isn't laid out as published.
    """
    import h5py
    import numpy as np
    from PIL import Image

    file = nearest(root, LABELLED)
    try:
        with h5py.File(file) as opened:
            pictures, depths = opened["images"], opened["depths"]
            if pictures.ndim != 4 or depths.shape != (len(pictures), *pictures.shape[2:]):
                raise DatasetError(
                    f"{file} has pictures of shape {pictures.shape} for depths of {depths.shape}. "
                    "Fetch it again."
                )
            for number in range(1, len(pictures) + 1):
                shown, depth = (root / path for path in _paths(number))
                if not shown.is_file():
                    _write_png(shown, Image.fromarray(np.ascontiguousarray(pictures[number - 1].T)))
                if not depth.is_file():
                    _write_png(depth, Image.fromarray(_in_mm(depths[number - 1].T)))
    except (OSError, KeyError, TypeError) as error:
        raise DatasetError(f"{file} can't be unpacked ({type(error).__name__}: {error}).") from error


def read_pair_rows(root: Path) -> Iterator[PairRow]:
    """Picture and depth map of each number, in the official split; the group is the scene, parts as one.

    Raises:
        DatasetError: A file is missing, the pairs aren't unpacked, or the split doesn't go with them.
    """
    labelled, split_file = nearest(root, LABELLED), nearest(root, SPLITS)
    scenes, splits = _scenes(labelled), _splits(split_file)
    if splits.keys() != set(range(1, len(scenes) + 1)):
        raise DatasetError(
            f"{split_file} splits {len(splits)} pairs, {labelled} has {len(scenes)}. Fetch both again."
        )
    if not (root / _PICTURES).is_dir():
        raise DatasetError(
            f"the pairs of {labelled} aren't unpacked. Leave `root` out, and they are when it is downloaded; "
            f'or run python -c "from pathlib import Path; from lib.datasets.nyu_depth_v2 import prepare; '
            f'prepare(Path({str(root)!r}))"'
        )
    for number, scene in enumerate(scenes, start=1):
        shown, depth = _paths(number)
        yield PairRow(f"{scene}_{number:04d}", shown, depth, splits[number], _PART.sub("", scene))


def _paths(number: int) -> tuple[str, str]:
    return f"{_PICTURES}/{number:04d}.png", f"{_DEPTHS}/{number:04d}.png"


def _in_mm(depth_m: "np.ndarray") -> "np.ndarray":
    import numpy as np

    known = np.isfinite(depth_m) & (depth_m > 0)
    mm = np.where(known, np.rint(np.where(known, depth_m, 0) * _MM), 0)
    return np.ascontiguousarray(np.minimum(mm, np.iinfo(np.uint16).max).astype(np.uint16))


def _write_png(path: Path, picture: "Image.Image") -> None:
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    picture.save(partial, format="PNG")
    partial.replace(path)


def _scenes(file: Path) -> list[str]:
    import h5py

    try:
        with h5py.File(file) as opened:
            # A MATLAB cell array: references to texts of UTF-16 units.
            return ["".join(map(chr, opened[cell][()].ravel())) for cell in opened["scenes"][()].ravel()]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{file} isn't NYU's labelled file ({error}). Fetch it again.") from error


def _splits(file: Path) -> dict[int, str]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        told = loadmat(file, variable_names=("trainNdxs", "testNdxs"))
        return {int(n): part for part in ("train", "test") for n in told[f"{part}Ndxs"].ravel()}
    except (MatReadError, OSError, ValueError, KeyError, NotImplementedError) as error:
        raise DatasetError(f"{file} isn't NYU's split ({error}). Fetch it again.") from error


DATASET = Dataset(
    name="nyu_depth_v2",
    kind="pair",
    title="NYU Depth V2, colour pictures and depth maps of indoor scenes",
    licence=Licence(
        name="no licence stated by the publisher",
        url="https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html",
        asks="Published for research: cite Silberman, Hoiem, Kohli and Fergus, Indoor segmentation and "
        "support inference from RGBD images, ECCV 2012.",
        needs_acknowledgement=True,
    ),
    files=(
        RemoteFile(
            url=f"{_AT}/nyu_depth_v2/{LABELLED}",
            name=LABELLED,
            size_bytes=2_972_037_809,
            md5="520609c519fba3ba5ac58c8fefcc3530",
            unpack=False,
        ),
        RemoteFile(
            url=f"{_AT}/indoor_seg_sup/{SPLITS}",
            name=SPLITS,
            size_bytes=2_626,
            md5="08e3c3aea27130ac7c01ffd739a4535f",
            unpack=False,
        ),
    ),
    # The file stays, for its scenes' names; the PNGs beside it have at most 2.2 GB, their size unpacked.
    size_bytes=5_200_000_000,
    read_pair_rows=read_pair_rows,
    sides=SIDES,
    prepare=prepare,
    notes="Depths are those with holes filled, from .7 to 10 m.",
)
