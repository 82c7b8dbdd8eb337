"""What a compressed packet says about itself before it is decoded: can anything else depend on it?"""

from collections.abc import Iterator

_H264_SLICES = (1, 2, 5)
_H264_PARAMETER_SETS = (7, 8, 13, 15)
_HEVC_LAST_SLICE = 31
_HEVC_PARAMETER_SETS = (32, 33, 34)
_HEVC_LAST_NON_REFERENCE = 14

Bytes = bytes | memoryview


def is_disposable(codec: str, packet: bytes, *, nal_length: int = 0, top_layer: int = 0) -> bool:
    """Is this a picture that no other picture refers to? False wherever that can't be told for sure.

    Such packets may be left out without changing a pixel of the others. H.264: nal_ref_idc is 0
    (ITU-T H.264, 7.4.1). HEVC: a sub-layer non-reference picture of the highest sub-layer there is
    (ITU-T H.265, 3.160: higher sub-layers may refer to it). MPEG-1, 2 and 4: B pictures.

    Args:
        codec: The decoder's name.
        packet: One access unit.
        nal_length: Bytes in front of each NAL unit that give its length; 0 for start codes.
        top_layer: The highest temporal sub-layer of the stream (HEVC).
    """
    if codec == "h264":
        for unit in nal_units(packet, nal_length):
            kind = unit[0] & 31
            if kind in _H264_PARAMETER_SETS:
                return False
            if kind in _H264_SLICES:
                return unit[0] >> 5 & 3 == 0
    elif codec == "hevc":
        for unit in nal_units(packet, nal_length):
            kind = unit[0] >> 1 & 63
            if kind in _HEVC_PARAMETER_SETS:
                return False
            if kind <= _HEVC_LAST_SLICE:
                is_non_reference = kind <= _HEVC_LAST_NON_REFERENCE and kind % 2 == 0
                return is_non_reference and (unit[1] & 7) - 1 == top_layer
    elif codec in ("mpeg1video", "mpeg2video"):
        at = packet.find(b"\0\0\1\0")
        has_sequence_header = packet.find(b"\0\0\1\xb3", 0, max(at, 0)) >= 0
        return 0 <= at < len(packet) - 5 and not has_sequence_header and packet[at + 5] >> 3 & 7 == 3
    elif codec == "mpeg4":
        at = packet.find(b"\0\0\1\xb6")
        return 0 <= at < len(packet) - 4 and packet[at + 4] >> 6 == 2
    return False


def hevc_layer(packet: bytes, nal_length: int) -> int:
    """The temporal sub-layer of an HEVC packet's picture; 0 where there is none."""
    for unit in nal_units(packet, nal_length):
        if unit[0] >> 1 & 63 <= _HEVC_LAST_SLICE:
            return (unit[1] & 7) - 1
    return 0


def nal_length_of(codec: str, extradata: bytes | None) -> int:
    """How many bytes give each NAL unit's length (avcC and hvcC headers); 0 where start codes part them."""
    at = {"h264": 4, "hevc": 21}.get(codec)
    if at is None or not extradata or extradata[0] != 1 or len(extradata) <= at:
        return 0
    return (extradata[at] & 3) + 1


def nal_units(packet: bytes, nal_length: int) -> Iterator[Bytes]:
    """The NAL units of a packet, each at least two bytes long (the last may carry trailing zeros)."""
    view = memoryview(packet)
    if nal_length:
        at = 0
        while at + nal_length + 2 <= len(packet):
            size = int.from_bytes(view[at : at + nal_length], "big")
            yield view[at + nal_length : at + nal_length + max(size, 2)]
            at += nal_length + size
        return
    at = packet.find(b"\0\0\1")
    while 0 <= at <= len(packet) - 5:
        following = packet.find(b"\0\0\1", at + 3)
        yield view[at + 3 : following if following >= 0 else len(packet)]
        at = following
