"""NYU Depth V2's reader and unpacking on a miniature in MATLAB's own forms."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from lib.datasets import PairRow
from lib.datasets.nyu_depth_v2 import LABELLED, SPLITS, prepare, read_pair_rows
from lib.errors import DatasetError

SCENES = ("kitchen_0028a", "kitchen_0028b", "bathroom_0001")
HEIGHT, WIDTH = 4, 6


def pictures() -> np.ndarray:
    """(3, HEIGHT, WIDTH, 3) uint8, no two pixels alike."""
    return np.arange(3 * HEIGHT * WIDTH * 3, dtype=np.uint8).reshape(3, HEIGHT, WIDTH, 3)


def depths() -> np.ndarray:
    """(3, HEIGHT, WIDTH) metres, with what stands for no depth, and one too far for 16 bits."""
    depth = np.linspace(0.7, 10, 3 * HEIGHT * WIDTH, dtype=np.float32).reshape(3, HEIGHT, WIDTH)
    depth[0, 0, :4] = (0, np.nan, 70, 2.3456)
    return depth


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / LABELLED, "w") as file:
        # MATLAB's 480 x 640 x 3 x 1449 lies in HDF5 as 1449 x 3 x 640 x 480.
        file["images"] = pictures().transpose(0, 3, 2, 1)
        file["depths"] = depths().transpose(0, 2, 1)
        texts = [
            file.create_dataset(f"#refs#/{n}", data=np.array([[ord(letter)] for letter in scene], np.uint16))
            for n, scene in enumerate(SCENES)
        ]
        references = np.array([[text.ref for text in texts]], dtype=h5py.ref_dtype)
        file.create_dataset("scenes", data=references, dtype=h5py.ref_dtype)
    savemat(
        tmp_path / SPLITS,
        {"trainNdxs": np.array([[1], [2]], np.uint16), "testNdxs": np.array([[3]], np.uint16)},
    )
    return tmp_path


def test_pictures_come_out_upright_and_depths_in_whole_millimetres(root: Path) -> None:
    prepare(root)
    with Image.open(root / "rgb/0002.png") as shown, Image.open(root / "depth/0001.png") as depth:
        np.testing.assert_array_equal(np.asarray(shown), pictures()[1])
        found = np.asarray(depth)
    assert found.dtype == np.uint16
    assert found[0, :4].tolist() == [0, 0, 65535, 2346]
    np.testing.assert_allclose(found[1:] / 1000, depths()[0, 1:], atol=0.0005)


def test_parts_of_a_scene_are_one_group_in_the_official_split(root: Path) -> None:
    prepare(root)
    assert list(read_pair_rows(root)) == [
        PairRow("kitchen_0028a_0001", "rgb/0001.png", "depth/0001.png", "train", "kitchen_0028"),
        PairRow("kitchen_0028b_0002", "rgb/0002.png", "depth/0002.png", "train", "kitchen_0028"),
        PairRow("bathroom_0001_0003", "rgb/0003.png", "depth/0003.png", "test", "bathroom_0001"),
    ]


def test_what_stands_is_not_unpacked_again(root: Path) -> None:
    prepare(root)
    (root / "rgb/0001.png").write_bytes(b"kept")
    (root / "depth/0003.png").unlink()
    prepare(root)
    assert (root / "rgb/0001.png").read_bytes() == b"kept"
    assert (root / "depth/0003.png").is_file()


def test_pairs_that_nobody_unpacked_are_refused_with_the_way_to(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"aren't unpacked.*import prepare; prepare\(Path\('"):
        list(read_pair_rows(root))


def test_a_split_of_another_number_of_pairs_is_refused(root: Path) -> None:
    savemat(root / SPLITS, {"trainNdxs": [[1]], "testNdxs": [[3]]})
    with pytest.raises(DatasetError, match=r"splits 2 pairs, .* has 3"):
        list(read_pair_rows(root))


@pytest.mark.parametrize("name", [LABELLED, SPLITS])
def test_another_file_under_its_name_is_refused(root: Path, name: str) -> None:
    (root / name).write_text("<html>404</html>")
    with pytest.raises(DatasetError, match=rf"{name} isn't NYU's"):
        list(read_pair_rows(root))


@pytest.mark.parametrize("name", [LABELLED, SPLITS])
def test_a_missing_file_is_named(root: Path, name: str) -> None:
    (root / name).unlink()
    with pytest.raises(DatasetError, match=f"no {name} below"):
        list(read_pair_rows(root))
