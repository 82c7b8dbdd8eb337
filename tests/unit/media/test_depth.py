"""Depth maps as metres and as three channels: by hand on planes, on 7-Scenes, and files that are none."""

import struct

import numpy as np
import pytest
from PIL import Image

from lib.errors import UnreadableMediaError
from lib.media.depth import depth_picture, read_depth


def test_whole_numbers_are_millimetres_and_none_is_nan(tmp_path):
    Image.fromarray(np.array([[0, 500], [65535, 2000]], np.uint16)).save(tmp_path / "depth.png")
    np.testing.assert_array_equal(
        read_depth(tmp_path / "depth.png"), np.float32([[np.nan, 0.5], [np.nan, 2]])
    )


def test_another_unit_is_told(tmp_path):
    Image.fromarray(np.full((2, 2), 5000, np.uint16)).save(tmp_path / "tum.png")
    np.testing.assert_allclose(read_depth(tmp_path / "tum.png", unit_m=1 / 5000), 1)


@pytest.mark.parametrize("order", ["C", "F"])
def test_floating_point_files_are_metres(order, tmp_path):
    metres = np.array([[1.5, np.nan, 3.0], [-1, np.inf, 0]], np.float32)
    Image.fromarray(metres).save(tmp_path / "depth.tiff")
    np.save(tmp_path / "depth.npy", np.asarray(metres.astype(">f8"), order=order))
    known = np.float32([[1.5, np.nan, 3], [np.nan, np.nan, np.nan]])
    np.testing.assert_array_equal(read_depth(tmp_path / "depth.tiff"), known)
    np.testing.assert_array_equal(read_depth(tmp_path / "depth.npy"), known)


def test_a_planes_channels_are_its_nearness_and_its_normal():
    # A floor seen ahead: n . point = 1 with n down and away, for a focal length of 0.9 of the longer side.
    height, width, normal = 48, 64, np.array([0.2, 0.5, 0.8])
    focal = 0.9 * width
    x = (np.arange(width) - 31.5) / focal
    y = (np.arange(height) - 23.5)[:, None] / focal
    depth = 1 / (normal[0] * x + normal[1] * y + normal[2])
    shown = depth_picture(depth)[4:-4, 4:-4].astype(float)
    unit = normal / np.linalg.norm(normal)
    np.testing.assert_allclose(shown[..., 0], 255 * 0.5 / depth[4:-4, 4:-4], atol=0.51)
    np.testing.assert_allclose(shown[..., 1], 255 * (unit[0] + 1) / 2, atol=1)
    np.testing.assert_allclose(shown[..., 2], 255 * (unit[1] + 1) / 2, atol=1)


def test_the_same_place_has_the_same_colour_beside_whatever_else():
    near, far = np.full((40, 40), 2.0), np.full((40, 40), 2.0)
    far[:, 30:] = 60.0
    np.testing.assert_array_equal(depth_picture(near)[:, :20], depth_picture(far)[:, :20])


def test_unknown_pixels_take_the_nearest_known_depth():
    whole = np.full((30, 30), 2.0)
    holed = whole.copy()
    holed[10:20, 5:9] = np.nan
    np.testing.assert_array_equal(depth_picture(holed), depth_picture(whole))


@pytest.mark.real_data
def test_seven_scenes_frames_are_rooms(real_data):
    for path in sorted((real_data / "rgbd_7scenes").glob("*.depth.png")):
        metres = read_depth(path)
        assert 0.4 < np.nanmin(metres) < np.nanmax(metres) < 10
        assert 0 < np.isnan(metres).mean() < 0.3
        shown = depth_picture(metres)
        assert (shown.shape, shown.dtype) == ((480, 640, 3), np.uint8)
        assert shown.std(axis=(0, 1)).min() > 10


def colours(path):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path, "PNG")


def eight_bits(path):
    Image.fromarray(np.full((4, 4), 9, np.uint8)).save(path, "PNG")


def nothing_known(path):
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(path, "PNG")


def millimetres_as_floats(path):
    Image.fromarray(np.full((4, 4), 1800, np.float32)).save(path, "TIFF")


def pickled(path):
    with path.open("wb") as file:
        np.save(file, np.array([[{}]], object), allow_pickle=True)


def three_axes(path):
    with path.open("wb") as file:
        np.save(file, np.ones((2, 2, 2)))


def cut_short(path):
    with path.open("wb") as file:
        np.save(file, np.ones((20, 20)))
    path.write_bytes(path.read_bytes()[:-8])


def boundless(path):
    head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (900000000, 900000000), }\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head)


def half_a_png(path):
    Image.fromarray(np.random.default_rng(0).integers(1, 999, (64, 64)).astype(np.uint16)).save(path, "PNG")
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (colours, "in colours"),
        (eight_bits, "8 bits"),
        (nothing_known, "no pixel has a depth"),
        (millimetres_as_floats, "1,800 m: were these millimetres"),
        (pickled, "type object"),
        (three_axes, r"shape \(2, 2, 2\)"),
        (cut_short, "cut short: 3,192 of 3,200"),
        (boundless, "900000000 x 900000000"),
        (half_a_png, "can't be decoded"),
        (lambda path: path.write_text("depth: 3 m"), "not a depth map"),
        (lambda path: path.write_bytes(b""), "empty file"),
        (lambda path: None, "no such file"),
    ],
)
def test_what_is_no_depth_map_is_refused_with_its_reason(write, says, tmp_path):
    write(tmp_path / "depth")
    with pytest.raises(UnreadableMediaError, match=says):
        read_depth(tmp_path / "depth")


@pytest.mark.parametrize("shape", [(4, 4), (1, 9), (3, 3, 3)])
def test_a_map_with_nothing_to_show_is_refused(shape):
    with pytest.raises(UnreadableMediaError, match="no depth map to be shown"):
        depth_picture(np.full(shape, np.nan if shape == (4, 4) else 1.0))
