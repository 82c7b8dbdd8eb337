"""Which packets can be left out, against what the decoder itself leaves out."""

import av
import pytest
from factories import make_video

from lib.media.bitstream import hevc_layer, is_disposable, nal_length_of

KINDS = {
    "h264 in mp4": ("film.mp4", {}),
    "h264 with start codes": ("film.ts", {}),
    "hevc in mp4": ("film.mp4", {"codec": "libx265", "options": {"x265-params": "log-level=none:b-adapt=0"}}),
    "mpeg2": ("film.ts", {"codec": "mpeg2video"}),
    "mpeg4": ("film.mp4", {"codec": "mpeg4"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_disposable_packets_are_those_that_the_decoder_skips_as_non_reference(tmp_path, kind):
    name, how = KINDS[kind]
    make_video(tmp_path / name, **how)
    found, given = set(), set()
    with av.open(str(tmp_path / name)) as container:
        context = container.streams.video[0].codec_context
        context.skip_frame = "NONREF"
        length = nal_length_of(context.name, context.extradata)
        packets = [packet for packet in container.demux(video=0) if packet.size]
        for packet in packets:
            given |= {frame.pts for frame in context.decode(packet)}
            if is_disposable(context.name, bytes(packet), nal_length=length):
                found.add(packet.pts)
        given |= {frame.pts for frame in context.decode(None)}
    assert found == {packet.pts for packet in packets} - given
    assert 0.2 < len(found) / len(packets) < 0.8


def test_a_packet_that_brings_parameter_sets_is_kept():
    sequence_parameters, unreferenced_slice = b"\0\0\1\x67abc", b"\0\0\1\x01xyz"
    assert is_disposable("h264", unreferenced_slice)
    assert not is_disposable("h264", sequence_parameters + unreferenced_slice)


def test_a_hevc_picture_below_the_top_layer_is_kept():
    trailing_unreferenced_in_layer_1 = b"\0\0\1" + bytes([0 << 1, 2]) + b"slice"
    assert hevc_layer(trailing_unreferenced_in_layer_1, 0) == 1
    assert is_disposable("hevc", trailing_unreferenced_in_layer_1, top_layer=1)
    assert not is_disposable("hevc", trailing_unreferenced_in_layer_1, top_layer=2)


@pytest.mark.parametrize("codec", ["vp9", "av1", "prores"])
def test_where_it_cannot_be_told_nothing_is_disposable(codec):
    assert not is_disposable(codec, b"\0\0\1\x01xyz")
