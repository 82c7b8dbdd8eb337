"""Films that are written, read again: which frame and which tone is where."""

from pathlib import Path

import av
import numpy as np
import pytest
from factories import frame_picture, make_video, read_number, tone_hz

from lib.errors import OutputError, UnreadableMediaError, UsageError
from lib.media.encode import cut_clip, join_videos, write_summary
from lib.media.sampling import Sampling
from lib.media.video import probe_video, sample_video

EVERY_FRAME = Sampling(per_second=1000)


def numbers_at(path):
    return [(frame.t_s, read_number(frame.rgb)) for frame in sample_video(path, EVERY_FRAME)]


def sound_of(path):
    """Mono samples at 48 kHz, the first at 0 s."""
    with av.open(str(path)) as container:
        blocks = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.concatenate(blocks)


def pitch_hz(samples):
    return np.abs(np.fft.rfft(samples)).argmax() * 48000 / len(samples)


def test_a_summary_holds_each_frame_at_its_own_time(tmp_path):
    times_s = make_video(tmp_path / "film.mp4", seconds=4, vfr=True)
    segments = [(0.5, 1.0), (2.0, 3.25)]
    places = write_summary(tmp_path / "film.mp4", segments, tmp_path / "summary.mp4")
    assert places == [(0.0, 0.5), (0.5, 1.75)]
    expected = []
    for (start_s, end_s), (place_s, _) in zip(segments, places, strict=True):
        first = int(np.searchsorted(times_s, start_s, side="right")) - 1
        last = int(np.searchsorted(times_s, end_s)) - 1
        expected += [(place_s + max(times_s[n] - start_s, 0), n) for n in range(first, last + 1)]
    found = numbers_at(tmp_path / "summary.mp4")
    assert [number for _, number in found] == [number for _, number in expected]
    np.testing.assert_allclose([t_s for t_s, _ in found], [t_s for t_s, _ in expected], atol=0.0011)
    assert probe_video(tmp_path / "summary.mp4").duration_s == 1.75


def test_sound_and_picture_of_a_summary_change_together(tmp_path):
    make_video(tmp_path / "film.mp4", seconds=3, scenes=3, audio=True)
    write_summary(tmp_path / "film.mp4", [(2.25, 2.75), (0.25, 0.75), (1.25, 1.75)], tmp_path / "summary.mp4")
    sound = sound_of(tmp_path / "summary.mp4")
    assert len(sound) == pytest.approx(1.5 * 48000, abs=1024)
    numbers = dict(numbers_at(tmp_path / "summary.mp4"))
    # 30 ms either side of each change: one AAC frame lasts 21 ms.
    for start_s, end_s, scene in [(0.03, 0.47, 2), (0.53, 0.97, 0), (1.03, 1.47, 1)]:
        heard = sound[round(start_s * 48000) : round(end_s * 48000)]
        assert pitch_hz(heard) == pytest.approx(tone_hz(scene), abs=5)
        assert {number // 25 for t_s, number in numbers.items() if start_s < t_s < end_s} == {scene}


def test_sound_stays_in_step_over_a_change_within_a_segment(tmp_path):
    make_video(tmp_path / "film.mkv", seconds=3, scenes=2, audio=True)
    cut_clip(tmp_path / "film.mkv", 1.0, 2.0, tmp_path / "clip.mp4")
    sound = sound_of(tmp_path / "clip.mp4")
    picture_s = next(t_s for t_s, number in numbers_at(tmp_path / "clip.mp4") if number >= 38)
    pitches = [pitch_hz(sound[at : at + 960]) for at in range(0, 47000, 480)]
    sound_s = (next(n for n, pitch in enumerate(pitches) if pitch > 800) * 480 + 480) / 48000
    assert sound_s == pytest.approx(picture_s, abs=0.025)


def test_a_silent_video_gives_a_silent_clip(tmp_path):
    make_video(tmp_path / "film.mp4")
    cut_clip(tmp_path / "film.mp4", 0.0, 1.0, tmp_path / "clip.mp4")
    assert not probe_video(tmp_path / "clip.mp4").has_audio


def test_a_sound_track_that_does_not_decode_is_left_out(tmp_path):
    path = tmp_path / "film.mp4"
    make_video(path, audio=True)
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    data = bytearray(path.read_bytes())
    for pos, size in places:
        data[pos : pos + size] = b"\xff" * size
    path.write_bytes(data)
    cut_clip(path, 0.0, 1.0, tmp_path / "clip.mp4")
    facts = probe_video(tmp_path / "clip.mp4")
    assert (facts.has_audio, facts.frames) == (False, 25)


def test_a_turned_video_is_written_upright(tmp_path):
    make_video(tmp_path / "film.mp4", size=(176, 112), rotation_deg=90)
    cut_clip(tmp_path / "film.mp4", 0.4, 0.8, tmp_path / "clip.mp4")
    assert probe_video(tmp_path / "clip.mp4").rotation_deg == 0
    first = next(sample_video(tmp_path / "clip.mp4", Sampling())).rgb
    assert (
        np.abs(first.astype(int) - frame_picture(10, size=(176, 112))).mean() < 5
    )  # turned or mirrored wrongly: 8 or more


def test_a_clip_ends_when_asked_although_its_last_frame_lasts_longer(tmp_path):
    make_video(tmp_path / "film.mp4", seconds=4, fps=2)
    cut_clip(tmp_path / "film.mp4", 0.75, 1.9, tmp_path / "clip.mp4")
    assert probe_video(tmp_path / "clip.mp4").duration_s == 1.15
    assert [number for _, number in numbers_at(tmp_path / "clip.mp4")] == [1, 2, 3]


def test_joined_pieces_begin_where_it_says(tmp_path):
    make_video(tmp_path / "a.mp4", seconds=2, seed=1)
    make_video(tmp_path / "b.mkv", seconds=2, fps=30, seed=2, size=(96, 160), audio=True)
    pieces = [(tmp_path / "a.mp4", 0.0, 0.52), (tmp_path / "b.mkv", 0.5, 1.1), (tmp_path / "a.mp4", 1.2, 1.6)]
    places = join_videos(pieces, tmp_path / "film.mp4", width=240, height=180, fps=25)
    np.testing.assert_allclose(places, [(0, 0.52), (0.52, 1.12), (1.12, 1.52)])
    facts = probe_video(tmp_path / "film.mp4")
    assert (facts.width, facts.height, facts.frames, facts.duration_s) == (240, 180, 38, 1.52)
    frames = list(sample_video(tmp_path / "film.mp4", EVERY_FRAME))
    numbers = [read_number(frame.rgb) for frame in frames]
    assert numbers[:13] == list(range(13))
    assert numbers[28:] == list(range(30, 40))
    upright = [frame.rgb[:, 66:174] for frame in frames[13:28]]  # 96 x 160 within 240 x 180
    assert [read_number(picture) for picture in upright] == [15 + int(n * 30 / 25 + 1e-6) for n in range(15)]
    assert frames[13].rgb[:, :60].max() < 8


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path):
    make_video(tmp_path / "film.mp4")
    out = tmp_path / "out" / "clip.mp4"
    out.parent.mkdir()
    out.write_text("as before")
    with pytest.raises(UsageError, match="nothing to take from 5 to 9 s: the video lasts 2 s"):
        cut_clip(tmp_path / "film.mp4", 5.0, 9.0, out)
    with pytest.raises(UnreadableMediaError, match="took longer"):
        cut_clip(tmp_path / "film.mp4", 0.0, 1.0, out, limit_s=0.0)
    assert [path.name for path in out.parent.iterdir()] == ["clip.mp4"]
    assert out.read_text() == "as before"


def test_a_video_is_not_overwritten_by_its_own_clip(tmp_path):
    make_video(tmp_path / "film.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "film.mp4")
    with pytest.raises(UsageError, match="is the video itself"):
        cut_clip(tmp_path / "film.mp4", 0.0, 1.0, tmp_path / "link.mp4")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    make_video(tmp_path / "film.mp4")
    with pytest.raises(OutputError, match=r"there is no folder .*nowhere"):
        cut_clip(tmp_path / "film.mp4", 0.0, 1.0, tmp_path / "nowhere" / "clip.mp4")


def test_odd_names_are_only_names(tmp_path, monkeypatch):
    make_video(tmp_path / "film.mp4")
    monkeypatch.chdir(tmp_path)
    for name in ("-clip.mp4", "pipe:1.mp4", "c%03d,'\"\n漢.mp4"):
        cut_clip("film.mp4", 0.0, 0.2, Path(name))
        assert probe_video(tmp_path / name).frames == 5
