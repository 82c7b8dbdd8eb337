"""Files that are no videos, broken videos, videos that mean harm: frames or a reason, and nothing else."""

import http.server
import os
import shutil
import threading

import av
import numpy as np
import pytest
from factories import cut_short, make_sound, make_video, read_number

from lib.errors import UnreadableMediaError
from lib.media.sampling import Sampling
from lib.media.video import probe_video, sample_video

EVERY_FRAME = Sampling(per_second=1000)
INVALID = "Invalid data found when processing input"
PLAYLIST = "not a video: a playlist, or a format that is not read here"

# What each shared strange file holds: (frames at 1 a second, duration, upright size, note) or the reason.
REAL = {
    "av1_video.mkv": (5, 5.0, (640, 360), ""),
    "bad_video.mp4": f"not a video: {INVALID}",
    "bitmap.mp4": (5, 5.0, (1, 1), ""),
    "corrupted.mp4": (
        3,
        5.0,
        (1280, 720),
        "decoding stops after 2.8 s: Invalid data found when processing input",
    ),
    "crunching.mp3": "no video stream (audio only)",
    "demo.flv": (61, 60.041, (176, 144), ""),
    "h265_10bits.mp4": (1, 1.0, (200, 200), ""),
    "no_duration.webm": (5, 4.938, (1280, 720), ""),
    "result.webm": "empty file (0 bytes)",
    "video_180.mov": (1, 0.1, (568, 320), ""),
    "video_90.mov": (1, 0.1, (320, 568), ""),
    "video_with_failing_audio.mp4": (12, 11.2, (640, 360), ""),
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_each_strange_file_gives_its_frames_or_its_reason(real_data, name):
    path, expected = real_data / "video_weird" / name, REAL[name]
    if isinstance(expected, str):
        for read in (probe_video, lambda path: list(sample_video(path, Sampling()))):
            with pytest.raises(UnreadableMediaError) as refusal:
                read(path)
            assert str(refusal.value) == expected
        return
    facts, stream = probe_video(path), sample_video(path, Sampling())
    frames = list(stream)
    size = facts.width, facts.height
    assert (len(frames), facts.duration_s, size, stream.note) == expected
    assert {frame.rgb.shape for frame in frames} == {(size[1], size[0], 3)}


@pytest.mark.real_data
def test_the_strange_folder_holds_no_file_without_an_expectation(real_data):
    assert {path.name for path in (real_data / "video_weird").iterdir()} == set(REAL)


def reason_for(path):
    with pytest.raises(UnreadableMediaError) as refusal:
        probe_video(path)
    with pytest.raises(UnreadableMediaError) as again:
        list(sample_video(path, Sampling()))
    assert str(refusal.value) == str(again.value)
    return str(refusal.value)


def test_what_is_no_video_gets_a_plain_reason(tmp_path):
    (tmp_path / "text.mp4").write_text("a text\n" * 100)
    (tmp_path / "empty.mp4").touch()
    make_sound(tmp_path / "sound.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "nothing.mp4")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    assert reason_for(tmp_path / "text.mp4") == f"not a video: {INVALID}"
    assert reason_for(tmp_path / "empty.mp4") == "empty file (0 bytes)"
    assert reason_for(tmp_path / "sound.mp4") == "no video stream (audio only)"
    assert reason_for(tmp_path / "folder.mp4") == "a folder, not a file"
    assert reason_for(tmp_path / "link.mp4") == "no such file: moved, removed, or a link to nothing"
    assert reason_for(tmp_path / "loop.mp4") == "can't be opened: Too many levels of symbolic links"


def test_a_pipe_without_a_writer_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "film.mp4")
    assert reason_for(tmp_path / "film.mp4") == "a pipe, socket or device, not a regular file"


def test_a_file_without_permission_is_refused(tmp_path):
    make_video(tmp_path / "film.mp4")
    (tmp_path / "film.mp4").chmod(0)
    me = os.geteuid()
    if me == 0:  # root may read everything
        os.seteuid(65534)
    try:
        assert reason_for(tmp_path / "film.mp4") == "no permission to read it"
    finally:
        os.seteuid(me)


def test_sound_with_a_cover_picture_is_no_video(tmp_path):
    from PIL import Image

    Image.new("RGB", (32, 32)).save(tmp_path / "cover.jpg")
    make_sound(tmp_path / "sound.m4a")
    with (
        av.open(str(tmp_path / "sound.m4a")) as sound,
        av.open(str(tmp_path / "cover.jpg")) as cover,
        av.open(str(tmp_path / "film.mp4"), "w") as film,
    ):
        streams = {"audio": film.add_stream_from_template(sound.streams.audio[0])}
        streams["video"] = film.add_stream_from_template(cover.streams.video[0])
        streams["video"].disposition = av.stream.Disposition.attached_pic
        for packet in [*sound.demux(audio=0), *cover.demux(video=0)]:
            if packet.size:
                packet.stream = streams[packet.stream.type]
                film.mux(packet)
    assert reason_for(tmp_path / "film.mp4") == "no video stream (audio only)"


@pytest.mark.parametrize(
    "name",
    [
        "two words.mp4",
        "a,b;c.mp4",
        'it\'s "quoted".mp4',
        "new\nline.mp4",
        "ünï 漢字 🎬.mp4",
        "-i.mp4",
        "http:x.mp4",
        "concat:a|b.mp4",
        "pipe:0",
        "%03d.mp4",
        os.fsdecode(b"latin\xe91.mp4"),
    ],
)
def test_a_name_is_only_a_name(tmp_path, monkeypatch, name):
    make_video(tmp_path / "film.mp4", seconds=0.2)
    (tmp_path / "film.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for path in (name, tmp_path / name):
        assert probe_video(path).frames == 5
        assert [read_number(frame.rgb) for frame in sample_video(path, EVERY_FRAME)] == [0, 1, 2, 3, 4]


def test_a_script_that_names_another_video_is_not_followed(tmp_path):
    make_video(tmp_path / "secret.mp4")
    script = tmp_path / "film.mp4"
    script.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with av.open(str(script)) as container:
        assert len(list(container.decode(video=0))) == 50  # which av by itself would do
    assert reason_for(script) == PLAYLIST


@pytest.mark.parametrize("name", ["film.mp4", "film.m3u8"])
def test_a_playlist_sends_no_request_and_opens_no_file(tmp_path, name):
    requests = []

    class Recorder(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_error(404)

        def log_message(self, *args):
            pass

    make_video(tmp_path / "secret.ts")
    with http.server.HTTPServer(("127.0.0.1", 0), Recorder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            for target in (f"http://127.0.0.1:{server.server_port}/secret.ts", tmp_path / "secret.ts"):
                lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:9", "#EXTINF:9,", str(target), "#EXT-X-ENDLIST"]
                (tmp_path / name).write_text("\n".join(lines))
                assert reason_for(tmp_path / name).startswith("not a video: ")
        finally:
            server.shutdown()
            thread.join()
    assert requests == []


def test_a_description_of_a_network_stream_is_not_followed(tmp_path):
    (tmp_path / "film.mp4").write_text(
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"
    )
    assert reason_for(tmp_path / "film.mp4") == PLAYLIST


def test_frames_of_a_vast_size_are_refused(tmp_path, monkeypatch):
    make_video(tmp_path / "film.mp4", size=(176, 120))
    monkeypatch.setattr("lib.media.container.PIXEL_LIMIT", 176 * 120 - 1)
    assert reason_for(tmp_path / "film.mp4").startswith("frames of 176 x 120 pixels: more than the limit")


def test_a_file_that_is_removed_while_it_is_read_ends_in_frames_or_a_reason(tmp_path):
    make_video(tmp_path / "film.mp4")
    stream = sample_video(tmp_path / "film.mp4", EVERY_FRAME)
    next(stream)
    (tmp_path / "film.mp4").unlink()
    assert len(list(stream)) == 49  # once open, it stays readable
    with pytest.raises(UnreadableMediaError, match="no such file"):
        next(sample_video(tmp_path / "film.mp4", EVERY_FRAME))


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts"])
def test_a_truncated_file_gives_what_is_there(tmp_path, name):
    faststart = {"movflags": "faststart"} if name == "film.mp4" else {}
    make_video(tmp_path / name, seconds=4, container_options=faststart)
    cut_short(tmp_path / name, keep=0.6)
    numbers = [read_number(frame.rgb) for frame in sample_video(tmp_path / name, EVERY_FRAME)]
    assert 40 < len(numbers) < 80
    # Half of the last frame may be missing, and made up by the decoder.
    assert numbers[:-1] == list(range(len(numbers) - 1))
    if name == "film.mp4":  # the only one whose header announces how many there should be
        assert probe_video(tmp_path / name).note.startswith("the file ends early: ")


def test_a_truncated_file_without_its_index_is_refused(tmp_path):
    make_video(tmp_path / "film.mp4")
    cut_short(tmp_path / "film.mp4", keep=0.9)
    assert reason_for(tmp_path / "film.mp4") == f"not a video: {INVALID}"


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts", "film.avi"])
def test_random_damage_raises_nothing_else(tmp_path, name):
    make_video(
        tmp_path / name,
        seconds=1,
        audio=name != "film.avi",
        codec="mpeg4" if name == "film.avi" else "libx264",
    )
    whole = (tmp_path / name).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(12):
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[rng.integers(0, len(damaged), 30)] = rng.integers(0, 256, 30)
        (tmp_path / name).write_bytes(damaged.tobytes())
        for read in (probe_video, lambda path: list(sample_video(path, EVERY_FRAME, limit_s=20))):
            try:
                read(tmp_path / name)
            except UnreadableMediaError as refusal:
                assert str(refusal)


def test_nothing_is_written_to_standard_error(tmp_path, capfd):
    make_video(tmp_path / "film.mp4", seconds=2)
    shutil.copy(tmp_path / "film.mp4", tmp_path / "broken.mp4")
    data = bytearray((tmp_path / "film.mp4").read_bytes())
    data[3000:3400] = b"\xff" * 400
    (tmp_path / "broken.mp4").write_bytes(data)
    capfd.readouterr()
    stream = sample_video(tmp_path / "broken.mp4", EVERY_FRAME)
    assert 0 < len(list(stream)) < 50
    assert stream.note
    assert capfd.readouterr() == ("", "")
