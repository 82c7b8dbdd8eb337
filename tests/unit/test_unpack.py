"""Archives made here, honest and hostile, against lib.unpack."""

import io
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

import lib.unpack
from lib.errors import FetchError
from lib.unpack import require_rar_program, unpack

CLIPS = {"ride_bike/#3 [a]&b_0.avi": b"first clip", "ride_bike/deep/c.txt": b"", "list.txt": b"x 1\r\n"}

Maker = Callable[[Path, Mapping[str, bytes]], None]


def make_zip(path: Path, files: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as made:
        for name, content in files.items():
            made.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


def make_tar(path: Path, files: Mapping[str, bytes]) -> None:
    mode = {".tgz": "w:gz", ".xz": "w:xz"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as made:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))


def make_rar(
    path: Path, files: Mapping[str, bytes], *, method: int = 0x30, flags: int = 0, mode: int = 0o100644
) -> None:
    """RAR 4: a marker, the archive's header, then each file's header and its bytes as they are."""

    def block(kind: int, flags: int, body: bytes) -> bytes:
        rest = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
        return struct.pack("<H", zlib.crc32(rest) & 0xFFFF) + rest

    made = b"Rar!\x1a\x07\x00" + block(0x73, 0, bytes(6))
    for name, content in files.items():
        sizes = struct.pack("<IIBI", len(content), len(content), 3, zlib.crc32(content))
        about = struct.pack("<IBBHI", 0x5A21_0000, 29, method, len(name.encode()), mode)
        made += block(0x74, 0x8000 | flags, sizes + about + name.encode()) + content
    path.write_bytes(made + block(0x7B, 0x4000, b""))


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a.zip", make_zip),
        ("a.tar", make_tar),
        ("a.tgz", make_tar),
        ("a.tar.xz", make_tar),
        ("a.rar", make_rar),
    ],
)
def test_every_kind_comes_out_as_it_went_in(tmp_path: Path, name: str, make: Maker) -> None:
    make(tmp_path / name, CLIPS)
    unpack(tmp_path / name, tmp_path / "out" / "a")
    assert contents(tmp_path / "out" / "a") == CLIPS
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "out"])


def test_a_rar_of_rars_is_unpacked_where_its_rars_lie(tmp_path: Path) -> None:
    inner = {}
    for label in ("brush_hair", "wave"):
        make_rar(tmp_path / "inner.rar", {f"{label}/{label}_1.avi": label.encode()})
        inner[f"org/{label}.rar"] = (tmp_path / "inner.rar").read_bytes()
    make_rar(tmp_path / "outer.rar", inner)
    unpack(tmp_path / "outer.rar", tmp_path / "out", is_nested=True)
    assert contents(tmp_path / "out") == {
        "org/brush_hair/brush_hair_1.avi": b"brush_hair",
        "org/wave/wave_1.avi": b"wave",
    }


def test_what_macos_adds_to_a_zip_is_left_out(tmp_path: Path) -> None:
    make_zip(
        tmp_path / "a.zip",
        {"a.mp4": b"clip", "__MACOSX/._a.mp4": b"fork", "b/._c.mp4": b"fork", ".DS_Store": b"x"},
    )
    unpack(tmp_path / "a.zip", tmp_path / "out")
    assert contents(tmp_path / "out") == {"a.mp4": b"clip"}


@pytest.mark.parametrize("make", [make_zip, make_tar, make_rar])
@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "..\\evil", "C:\\evil", "C:evil"])
def test_no_member_leaves_the_folder(tmp_path: Path, name: str, make: Maker) -> None:
    archive = tmp_path / "a.tar"
    make(archive, {"good.txt": b"good", name: b"evil"})
    with pytest.raises(FetchError, match="leads out of the folder"):
        unpack(archive, tmp_path / "in" / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["a.tar"]


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc"),
        (tarfile.SYMTYPE, "../.."),
        (tarfile.LNKTYPE, "../../secret"),
        (tarfile.SYMTYPE, "good.txt"),
        (tarfile.CHRTYPE, ""),
        (tarfile.FIFOTYPE, ""),
    ],
)
def test_a_tar_brings_neither_links_nor_devices(tmp_path: Path, kind: bytes, target: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as made:
        made.addfile(tarfile.TarInfo("good.txt"))
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, target
        made.addfile(info)
        made.addfile(tarfile.TarInfo("link/evil"))
    with pytest.raises(FetchError, match="'link', which is"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_zip_brings_no_links(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        made.writestr(info, "/etc/passwd")
    with pytest.raises(FetchError, match="'link', which is a link"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_a_rar_brings_no_links(tmp_path: Path) -> None:
    make_rar(tmp_path / "a.rar", {"link": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777)
    with pytest.raises(FetchError, match="'link', which is a link"):
        unpack(tmp_path / "a.rar", tmp_path / "out")


def test_what_is_encrypted_is_called_that(tmp_path: Path) -> None:
    make_rar(tmp_path / "a.rar", {"a.avi": b"secret"}, flags=0x04)
    make_zip(tmp_path / "a.zip", {"a.avi": b"secret"})
    content = bytearray((tmp_path / "a.zip").read_bytes())
    for flags_at in (6, content.index(b"PK\x01\x02") + 8):
        content[flags_at] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    for name in ("a.rar", "a.zip"):
        with pytest.raises(FetchError, match="which is encrypted"):
            unpack(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize(("name", "make"), [("a.zip", make_zip), ("a.tgz", make_tar)])
def test_a_bomb_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, make: Maker
) -> None:
    make(tmp_path / name, {"zeros": bytes(3_000_000)})
    monkeypatch.setattr(lib.unpack, "SMALL_BYTES", 1_000_000)
    monkeypatch.setattr(lib.unpack, "_save", lambda *_: pytest.fail("something was written"))
    with pytest.raises(FetchError, match=r"would become 3\.0 MB, more than the 1\.0 MB"):
        unpack(tmp_path / name, tmp_path / "out")


def test_a_limit_holds_below_the_usual_one(tmp_path: Path) -> None:
    make_zip(tmp_path / "a.zip", {"a": bytes(2001)})
    with pytest.raises(FetchError, match=r"more than the 2\.0 kB"):
        unpack(tmp_path / "a.zip", tmp_path / "out", limit_bytes=2000)


def test_a_zip_inside_that_is_a_bomb_takes_the_whole_with_it(tmp_path: Path) -> None:
    make_zip(tmp_path / "inner.zip", {"zeros": bytes(3_000_000)})
    make_zip(tmp_path / "a.zip", {"good.txt": b"good", "inner.zip": (tmp_path / "inner.zip").read_bytes()})
    with pytest.raises(FetchError, match=r"inner\.zip .* would become"):
        unpack(tmp_path / "a.zip", tmp_path / "out", is_nested=True, limit_bytes=100_000)
    assert not (tmp_path / "out").exists()


def test_no_room_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_zip(tmp_path / "a.zip", {"a": bytes(5000)})
    monkeypatch.setattr("lib.room.shutil.disk_usage", lambda _: SimpleNamespace(free=4000))
    with pytest.raises(FetchError, match=r"needs 5\.0 kB .* 4\.0 kB are free"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize(("name", "make"), [("a.zip", make_zip), ("a.tgz", make_tar), ("a.rar", make_rar)])
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_archive_leaves_what_was_there(tmp_path: Path, name: str, make: Maker, damage: str) -> None:
    content = os.urandom(4000)
    make(tmp_path / name, {"a.avi": content})
    whole = (tmp_path / name).read_bytes()
    middle = len(whole) // 2
    broken = (
        whole[:middle]
        if damage == "cut"
        else whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    )
    (tmp_path / name).write_bytes(broken)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.avi").write_bytes(b"from before")
    with pytest.raises(FetchError):
        unpack(tmp_path / name, tmp_path / "out")
    assert contents(tmp_path / "out") == {"old.avi": b"from before"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "out"])


def test_two_members_of_one_name_are_no_good_archive(tmp_path: Path) -> None:
    make_tar(tmp_path / "a.tar", {"a.avi": b"1", "./a.avi": b"2"})
    with pytest.raises(FetchError, match="can't be unpacked"):
        unpack(tmp_path / "a.tar", tmp_path / "out")


def test_a_login_page_in_an_archives_place_is_called_that(tmp_path: Path) -> None:
    (tmp_path / "a.rar").write_bytes(b"<!DOCTYPE html><title>Sign in</title>")
    with pytest.raises(FetchError, match=r"no zip, tar or RAR .*<!DOCTYPE html>.*login"):
        unpack(tmp_path / "a.rar", tmp_path / "out")


def test_without_a_program_for_rar_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_rar(tmp_path / "a.rar", {"a.avi": b"compressed"}, method=0x33)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FetchError, match="apt install unar"):
        require_rar_program()
    with pytest.raises(FetchError, match="apt install unar"):
        unpack(tmp_path / "a.rar", tmp_path / "out")


def test_a_stored_rar_needs_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_rar(tmp_path / "a.rar", CLIPS)
    monkeypatch.setenv("PATH", "")
    unpack(tmp_path / "a.rar", tmp_path / "out")
    assert contents(tmp_path / "out") == CLIPS


# Stand-ins for unar and bsdtar: no free tool makes compressed RAR. `$5` and `$4` are their folders.
@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("exit 1", "left out 1"),
        ("exit 0", "left out 1"),
        ("echo it is locked >&2; exit 2", "it is locked"),
        ("printf short > $5/a.avi", "left out 1"),
        ("/bin/ln -s /etc/hosts $5/a.avi", "left out 1"),
        ("printf 0123456789 > $5/a.avi; echo bad checksum; exit 3", "bad checksum"),
    ],
)
def test_a_program_that_fails_or_cheats_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, said: str
) -> None:
    make_rar(tmp_path / "a.rar", {"a.avi": b"compressed"}, method=0x33)
    monkeypatch.setenv("PATH", str(install(tmp_path / "bin", "unar", does)))
    with pytest.raises(FetchError, match=f"unar: {said}"):
        unpack(tmp_path / "a.rar", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.rar", "bin"]


def test_where_one_program_fails_the_next_is_tried_and_only_listed_files_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_rar(tmp_path / "a.rar", {"a.avi": b"compressed"}, method=0x33)
    install(tmp_path / "bin", "unar", "printf half > $5/left_by_unar; exit 1")
    install(tmp_path / "bin", "bsdtar", "printf 0123456789 > $4/a.avi; printf more > $4/not_listed")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    unpack(tmp_path / "a.rar", tmp_path / "out")
    assert contents(tmp_path / "out") == {"a.avi": b"0123456789"}


def install(folder: Path, name: str, does: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{does}\n")
    (folder / name).chmod(0o755)
    return folder
