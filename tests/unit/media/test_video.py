"""A video's facts, and its frames at their times."""

import time

import av
import numpy as np
import pytest
from factories import frame_picture, make_video, read_number

from lib.errors import UnreadableMediaError
from lib.media.container import Clock, Scaler
from lib.media.sampling import Sampling
from lib.media.video import probe_video, read_frames_at, sample_video, upright_rgb


def numbers(path, sampling):
    return [read_number(frame.rgb) for frame in sample_video(path, sampling)]


def test_facts_of_a_plain_video(tmp_path):
    make_video(tmp_path / "film.mp4", seconds=2, fps=25, size=(176, 120), audio=True)
    facts = probe_video(tmp_path / "film.mp4")
    assert (facts.duration_s, facts.fps, facts.frames) == (2.0, 25.0, 50)
    assert (facts.width, facts.height, facts.rotation_deg) == (176, 120, 0)
    assert (facts.codec, facts.has_audio, facts.note) == ("h264", True, "")


def test_duration_and_rate_come_from_the_frames_where_the_rate_varies(tmp_path):
    times_s = make_video(tmp_path / "film.mp4", seconds=4, vfr=True)
    facts = probe_video(tmp_path / "film.mp4")
    assert facts.frames == len(times_s)
    assert times_s[-1] < facts.duration_s < times_s[-1] + 0.1
    assert facts.fps == pytest.approx(facts.frames / facts.duration_s, abs=1e-3)


def test_a_header_without_duration_is_made_good(tmp_path):
    make_video(tmp_path / "film.mkv", seconds=2, container_options={"live": "1"})
    with av.open(str(tmp_path / "film.mkv")) as container:
        assert container.duration is None
    assert probe_video(tmp_path / "film.mkv").duration_s == 2.0


@pytest.mark.parametrize("rotation_deg", [0, 90, 180, 270])
def test_frames_stand_upright(tmp_path, rotation_deg):
    path = tmp_path / "film.mp4"
    make_video(path, seconds=0.2, size=(176, 112), rotation_deg=rotation_deg)
    facts = probe_video(path)
    assert (facts.width, facts.height, facts.rotation_deg) == (176, 112, rotation_deg)
    third = list(sample_video(path, Sampling(per_second=25)))[3].rgb
    drawn = frame_picture(3, size=(176, 112))
    assert np.abs(third.astype(int) - drawn).mean() < 5  # turned or mirrored wrongly: 8 or more


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_variable_rates_are_sampled_by_time(tmp_path, name):
    times_s = make_video(tmp_path / name, seconds=5, vfr=True)
    shown = [
        int(np.searchsorted(times_s, k * 0.5 + 1e-6, side="right")) - 1
        for k in range(int(times_s[-1] / 0.5) + 1)
    ]
    frames = list(sample_video(tmp_path / name, Sampling(per_second=2)))
    assert [read_number(frame.rgb) for frame in frames] == sorted(set(shown))
    assert [frame.t_s for frame in frames] == [times_s[number] for number in sorted(set(shown))]


def test_scene_mode_takes_the_first_frame_of_each_scene(tmp_path):
    make_video(tmp_path / "film.mp4", seconds=3, scenes=3, seed=4)
    assert numbers(tmp_path / "film.mp4", Sampling(mode="scene")) == [0, 25, 50]


def test_keyframe_mode_takes_the_keyframes(tmp_path):
    make_video(tmp_path / "film.mp4", seconds=2, gop=20, options={"x264-params": "scenecut=0"})
    assert numbers(tmp_path / "film.mp4", Sampling(mode="keyframes")) == [0, 20, 40]


def test_similar_frames_are_left_out_and_counted(tmp_path):
    make_video(tmp_path / "film.mp4", seconds=3, scenes=3, seed=4)
    stream = sample_video(tmp_path / "film.mp4", Sampling(per_second=5, skip_similar=True, similar_luma=15.0))
    assert [read_number(frame.rgb) for frame in stream] == [0, 25, 50]
    assert stream.skipped == 12


def test_a_slow_drift_is_held_against_the_last_frame_that_was_kept(tmp_path):
    make_video(tmp_path / "film.mp4", seconds=4)
    stream = sample_video(tmp_path / "film.mp4", Sampling(per_second=25, skip_similar=True, similar_luma=4.0))
    kept = [read_number(frame.rgb) for frame in stream]
    assert kept[0] == 0
    assert 2 < len(kept) < 60  # neighbours hardly differ, but what has summed up since the last one kept does


def test_frames_are_found_again_by_their_pts(tmp_path):
    make_video(tmp_path / "film.mp4", seconds=3, vfr=True)
    sampled = list(sample_video(tmp_path / "film.mp4", Sampling(per_second=4)))
    again = list(read_frames_at(tmp_path / "film.mp4", [frame.pts for frame in sampled[1::2]]))
    assert [frame.t_s for frame in again] == [frame.t_s for frame in sampled[1::2]]
    for one, other in zip(again, sampled[1::2], strict=True):
        np.testing.assert_array_equal(one.rgb, other.rgb)


def test_a_pts_that_is_not_there_any_more_is_an_error(tmp_path):
    make_video(tmp_path / "film.mp4")
    with pytest.raises(UnreadableMediaError, match="1 of 2 frames are not there"):
        list(read_frames_at(tmp_path / "film.mp4", [0, 1]))


def test_decoding_ends_at_its_time_limit(tmp_path):
    make_video(tmp_path / "film.mp4")
    with pytest.raises(UnreadableMediaError, match="took longer than 0 s"):
        list(sample_video(tmp_path / "film.mp4", Sampling(), limit_s=0.0))


def test_time_between_frames_does_not_count():
    clock = Clock(limit_s=0.05)
    clock.run()
    clock.pause()
    time.sleep(0.1)
    clock.run()
    clock.check()


@pytest.mark.parametrize(("colorspace", "expected"), [(1, (255, 100, 50)), (6, (245, 87, 54))])
def test_colours_follow_the_matrix_that_the_video_names(colorspace, expected):
    # Y 128, Cb 90, Cr 200 in limited range by ITU-R BT.709 (1) and BT.601 (6), worked by hand.
    frame = av.VideoFrame(64, 64, "yuv420p")
    for plane, level in zip(frame.planes, (128, 90, 200), strict=True):
        plane.update(bytes([level]) * plane.buffer_size)
    frame.colorspace, frame.color_range = colorspace, 1
    np.testing.assert_allclose(upright_rgb(frame, Scaler())[8, 8], expected, atol=2)
