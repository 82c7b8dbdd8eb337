"""Frames decoded at least cost, against a plain decode of everything, pixel for pixel."""

import av
import numpy as np
import pytest
from factories import make_video, read_number

import lib.media.decode
from lib.media.orientation import Orientation
from lib.media.sampling import Sampling
from lib.media.video import read_frames_at, sample_video

X264 = "keyint=10:bframes=3:scenecut=0"
X265 = "log-level=none:keyint=12:b-adapt=0"


def _hevc(parameter):
    return {"codec": "libx265", "options": {"x265-params": f"{X265}:{parameter}"}}


VP8 = {"deadline": "realtime", "cpu-used": "8"}
KINDS = {
    "short GOPs": ("film.mp4", {"gop": 5, "seconds": 4}),
    "one long GOP": ("film.mp4", {"gop": 500, "seconds": 4}),
    "no B frames": ("film.mkv", {"b_frames": 0}),
    "open GOPs, pyramid": (
        "film.mp4",
        {"options": {"x264-params": f"{X264}:open-gop=1"}},
    ),
    "open GOPs with start codes": ("film.ts", {"options": {"x264-params": f"{X264}:open-gop=1"}}),
    "intra refresh": ("film.mp4", {"options": {"x264-params": "intra-refresh=1:keyint=12"}}),
    "interlaced": ("film.mp4", {"options": {"x264-params": "interlaced=1:keyint=12"}}),
    "fragmented": ("film.mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    "variable rate": ("film.mp4", {"vfr": True}),
    "turned": ("film.mp4", {"rotation_deg": 90}),
    "hevc, open GOPs": ("film.mp4", _hevc("open-gop=1")),
    "hevc, layers": (
        "film.mp4",
        _hevc("temporal-layers=3"),
    ),
    "mpeg1": ("film.mpg", {"codec": "mpeg1video"}),
    "mpeg2": ("film.ts", {"codec": "mpeg2video"}),
    "mpeg4 in avi": ("film.avi", {"codec": "mpeg4"}),
    "vp8": ("film.webm", {"codec": "libvpx", "options": VP8}),
    "av1": ("film.mkv", {"codec": "libsvtav1", "options": {"preset": "12"}}),
}


def plain_frames(path, wanted):
    """What a loop over all frames gives for some of them."""
    with av.open(str(path)) as container:
        frames = {}
        for frame in container.decode(container.streams.best("video")):
            if frame.pts in wanted:
                frames[frame.pts] = Orientation.of_frame(frame).apply(frame.to_ndarray(format="rgb24"))
        return frames


def assert_same_as_plain(path, sampling):
    sampled = list(sample_video(path, sampling))
    plain = plain_frames(path, {frame.pts for frame in sampled})
    assert sampled
    for frame in sampled:
        np.testing.assert_array_equal(frame.rgb, plain[frame.pts])


@pytest.mark.parametrize("kind", KINDS)
def test_sampled_frames_are_those_of_a_full_decode(tmp_path, kind):
    name, how = KINDS[kind]
    make_video(tmp_path / name, **how)
    for sampling in (Sampling(per_second=1.7), Sampling(per_second=9), Sampling(mode="keyframes")):
        assert_same_as_plain(tmp_path / name, sampling)


@pytest.mark.real_data
@pytest.mark.parametrize("folder", ["video", "video_weird"])
def test_sampled_frames_of_real_videos_are_those_of_a_full_decode(real_data, folder):
    refused = {"bad_video.mp4", "crunching.mp3", "result.webm", "corrupted.mp4"}
    for path in sorted((real_data / folder).iterdir()):
        if path.name not in refused:
            assert_same_as_plain(path, Sampling())


def test_packets_that_no_sampled_frame_needs_are_not_decoded(tmp_path, monkeypatch):
    make_video(tmp_path / "film.mp4", seconds=4, gop=10)
    decoded = []
    quickly = lib.media.decode._decode_quickly

    def counted(context, packet):
        decoded.append(packet)
        return quickly(context, packet)

    monkeypatch.setattr(lib.media.decode, "_decode_quickly", counted)
    monkeypatch.delattr(lib.media.decode, "_decode_all")  # the careful way, which decodes everything
    assert len(list(sample_video(tmp_path / "film.mp4", Sampling(per_second=1)))) == 4
    assert sum(packet is not None for packet in decoded) < 30  # of 100


def test_avi_without_display_times_is_counted_in_the_order_shown(tmp_path):
    make_video(tmp_path / "film.avi", seconds=2, options={"x264-params": f"{X264}:b-pyramid=normal"})
    frames = list(sample_video(tmp_path / "film.avi", Sampling(per_second=1000)))
    assert [read_number(frame.rgb) for frame in frames] == list(range(50))
    assert [frame.t_s for frame in frames] == [round(n / 25, 3) for n in range(50)]
    again = list(read_frames_at(tmp_path / "film.avi", [frames[7].pts, frames[31].pts]))
    assert [read_number(frame.rgb) for frame in again] == [7, 31]


@pytest.mark.parametrize("open_gop", [0, 1])
def test_decoding_goes_on_at_the_keyframe_after_a_broken_packet(tmp_path, open_gop):
    path = tmp_path / "film.mp4"
    make_video(path, seconds=3, gop=10, options={"x264-params": f"{X264}:open-gop={open_gop}"})
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        broken = next(packet for packet in packets[34:] if packet.pts == 35 * 3600)
        at = broken.pos
    data = bytearray(path.read_bytes())
    data[at : at + 8] = b"\xff" * 8
    path.write_bytes(data)
    stream = sample_video(path, Sampling(per_second=1000))
    numbers = [read_number(frame.rgb) for frame in stream]
    assert numbers == [*range(35), *range(40, 75)]
    assert stream.note.startswith("can't be decoded from 1.4 to 1.6 s: ")


def test_a_packet_that_shows_nothing_is_no_frame(tmp_path):
    make_video(tmp_path / "shown.webm", codec="libvpx", options=VP8, gop=100)
    with av.open(str(tmp_path / "shown.webm")) as shown, av.open(str(tmp_path / "film.webm"), "w") as film:
        stream = film.add_stream_from_template(shown.streams.video[0])
        for packet in shown.demux(video=0):
            data = bytearray(bytes(packet))
            if packet.pts == 800:
                data[0] &= ~0x10  # show_frame, RFC 6386, 9.1
            if data:
                copy = av.Packet(bytes(data))
                copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                copy.is_keyframe, copy.stream = packet.is_keyframe, stream
                film.mux(copy)
    frames = list(sample_video(tmp_path / "film.webm", Sampling(per_second=1.25)))
    assert [read_number(frame.rgb) for frame in frames] == [0, 19, 40]


def test_a_film_cut_at_an_open_gop_gives_what_a_full_decode_gives(tmp_path):
    make_video(tmp_path / "whole.mkv", options={"x264-params": f"{X264}:open-gop=1"})
    with av.open(str(tmp_path / "whole.mkv")) as whole, av.open(str(tmp_path / "film.mkv"), "w") as film:
        stream = film.add_stream_from_template(whole.streams.video[0])
        packets = [packet for packet in whole.demux(video=0) if packet.size]
        start = [place for place, packet in enumerate(packets) if packet.is_keyframe][1]
        for packet in packets[start:]:
            packet.stream = stream
            film.mux(packet)
    # Its first frames lean on the GOP that is gone: a decoder leaves them out.
    plain = list(plain_frames(tmp_path / "film.mkv", range(10**9)))
    assert [frame.pts for frame in sample_video(tmp_path / "film.mkv", Sampling(per_second=1000))] == plain
    assert [frame.pts for frame in sample_video(tmp_path / "film.mkv", Sampling(per_second=0.1))] == plain[:1]
