"""The demo's pairs: the scene's own pixels, turned and moved as said; train and test share no ground."""

from collections import Counter, defaultdict
from importlib import metadata
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from lib.datasets.demo_pairs import DATASET, SHIFT_PX, WINDOW_PX
from lib.errors import DatasetError

INFRARED = (5, 4, 7)


def packaged() -> Path:
    try:
        files = metadata.files("localtileserver") or []
    except metadata.PackageNotFoundError:
        pytest.skip("pip install --no-deps localtileserver, as make does, to run this test")
    return next(Path(str(file.locate())) for file in files if file.name == "landsat.tif")


@pytest.fixture(scope="module")
def scene() -> rasterio.DatasetReader:
    with rasterio.open(packaged()) as file:
        yield file


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    packaged()
    made = tmp_path_factory.mktemp("demo") / "pairs"
    DATASET.prepare(made)
    return made


@pytest.fixture(scope="module")
def rows(root: Path) -> list:
    return list(DATASET.read_pair_rows(root))


@pytest.fixture(scope="module")
def corners(rows, scene) -> dict:
    """Each window's top and left in the scene, told by the coordinates of its middle."""
    half = WINDOW_PX / 2
    found = {}
    for row in rows:
        column, line = ~scene.transform * (row.lon, row.lat)
        found[row.id] = round(line - half), round(column - half)
    return found


def scaled(scene: rasterio.DatasetReader, bands: tuple[int, ...]) -> np.ndarray:
    values = scene.read(bands).astype(float)
    black, white = np.percentile(values, (0.5, 99.5), axis=(1, 2))[:, :, None, None]
    return np.clip(np.rint(255 * (values - black) / (white - black)), 0, 255).transpose(1, 2, 0)


def test_there_are_several_hundred_pairs_to_learn_from_and_a_hundred_to_be_found(rows):
    counts = Counter(row.split for row in rows)
    assert set(counts) == {"train", "test"}
    assert counts["train"] >= 300
    assert counts["test"] >= 100
    assert len({row.group for row in rows if row.split == "train"}) >= 12


def test_a_left_side_is_the_scenes_visible_pixels_where_its_coordinates_say(root, rows, corners, scene):
    visible = scaled(scene, (3, 2, 1))
    for row in rows[::40]:
        top, left = corners[row.id]
        with Image.open(root / row.left) as picture:
            assert np.array_equal(picture, visible[top : top + WINDOW_PX, left : left + WINDOW_PX])


def test_a_right_side_is_the_scenes_infrared_pixels_turned_and_moved_by_no_more_than_said(
    root, rows, corners, scene
):
    infrared = scaled(scene, INFRARED)
    found, far = Counter(), 0
    shown = rows[::9]
    for row in shown:
        top, left = corners[row.id]
        with Image.open(root / row.right) as file:
            picture = np.asarray(file)
        reach = infrared[top - SHIFT_PX : top + SHIFT_PX + 1, left - SHIFT_PX : left + SHIFT_PX + 1]
        for which in range(8):
            back = np.rot90(np.fliplr(picture) if which >= 4 else picture, -(which % 4))
            # The corner first: 625 places are more than need comparing whole.
            for down, right in np.argwhere((reach == back[0, 0]).all(axis=2)) - SHIFT_PX:
                at = infrared[top + down :, left + right :][:WINDOW_PX, :WINDOW_PX]
                if np.array_equal(at, back):
                    found[which] += 1
                    far += max(abs(down), abs(right)) > SHIFT_PX // 2
    assert sum(found.values()) == len(shown)
    # All eight come about equally often, and the shifts use their whole range: (13 / 25)² are near.
    assert min(found[which] for which in range(8)) > len(shown) / 24
    assert far > len(shown) / 2


def test_what_train_and_test_see_lies_a_windows_width_apart(rows, corners):
    split = defaultdict(list)
    for row in rows:
        split[row.split].append(corners[row.id][0])
    lowest = max(split["train"]) + WINDOW_PX + SHIFT_PX
    assert min(split["test"]) - SHIFT_PX - lowest >= WINDOW_PX


def test_test_windows_are_each_a_place_of_its_own(rows, corners):
    places = [corners[row.id] for row in rows if row.split == "test"]
    for (top, left), (other_top, other_left) in combinations(places, 2):
        assert abs(top - other_top) >= WINDOW_PX or abs(left - other_left) >= WINDOW_PX
    groups = [row.group for row in rows if row.split == "test"]
    assert len(set(groups)) == len(groups)


def test_training_groups_see_no_common_ground(rows, corners):
    seen = {}
    for row in rows:
        if row.split == "train":
            box = seen.setdefault(row.group, [10**6, 10**6, 0, 0])
            top, left = corners[row.id]
            box[:2] = min(box[0], top - SHIFT_PX), min(box[1], left - SHIFT_PX)
            reach = WINDOW_PX + SHIFT_PX
            box[2:] = max(box[2], top + reach), max(box[3], left + reach)
    for one, other in combinations(seen.values(), 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_windows_left_out_are_mostly_dark_in_the_mid_infrared_and_those_kept_are_not(rows, corners, scene):
    dark = scene.read(5) < 20
    for top, left in corners.values():
        assert dark[top : top + WINDOW_PX, left : left + WINDOW_PX].mean() <= 0.75
    tests = {corners[row.id] for row in rows if row.split == "test"}
    tops, lefts = ({place[axis] for place in tests} for axis in (0, 1))
    missing = [(top, left) for top in tops for left in lefts if (top, left) not in tests]
    assert missing
    for top, left in missing:
        assert dark[top : top + WINDOW_PX, left : left + WINDOW_PX].mean() > 0.75


def test_making_them_again_changes_nothing_and_brings_back_what_is_missing(root, rows, tmp_path):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    before = [(path, path.stat().st_mtime_ns) for path in files]
    DATASET.prepare(root)
    assert [(path, path.stat().st_mtime_ns) for path in sorted(root.rglob("*.*"))] == before
    lost, kept = root / rows[3].left, root / rows[4].right
    first, theirs = lost.read_bytes(), kept.read_bytes()
    lost.unlink()
    kept.write_bytes(b"the user's")
    DATASET.prepare(root)
    assert lost.read_bytes() == first
    assert kept.read_bytes() == b"the user's"
    kept.write_bytes(theirs)


def test_the_same_pairs_are_made_in_another_folder(root, tmp_path):
    DATASET.prepare(tmp_path / "again")
    for path in (path for path in root.rglob("*") if path.is_file()):
        assert (tmp_path / "again" / path.relative_to(root)).read_bytes() == path.read_bytes()


def test_a_table_with_other_columns_is_refused(tmp_path):
    (tmp_path / "pairs.csv").write_text("id,street,satellite\n1,a.png,b.png\n")
    with pytest.raises(DatasetError, match=r"other columns than id, left, right"):
        list(DATASET.read_pair_rows(tmp_path))
