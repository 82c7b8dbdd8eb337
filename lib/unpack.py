"""Archives from strangers: zip, tar (gz, xz, bz2) and RAR, unpacked whole into one folder and nowhere else.

Members are read through the library and written here, one by one and under names checked here, so that no
link, device or clever path of an archive ever reaches the file system. Compressed RAR alone needs a program
(the format is proprietary); it works in a folder of its own, out of which only the regular files that the
listing promised are taken.
"""

import functools
import lzma
import os
import re
import shutil
import stat
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from lib.errors import FetchError
from lib.room import require_room, size_text

# Media hardly shrinks, annotations shrink tenfold; small archives may shrink as they like.
MAX_RATIO = 100
SMALL_BYTES = 256 * 10**6
_ARCHIVE_NAME = re.compile(r"\.(zip|rar|tgz|tar(\.(gz|xz|bz2))?)$", re.IGNORECASE)

# Best first. bsdtar can't open solid RAR, and a 7z without the RAR codec none at all: then the next is tried.
_RAR_PROGRAMS: dict[str, Callable[[str, str], list[str]]] = {
    "unrar": lambda archive, into: ["x", "-y", "-p-", "-idq", "--", archive, f"{into}/"],
    "unar": lambda archive, into: [
        "-quiet",
        "-force-overwrite",
        "-no-directory",
        "-output-directory",
        into,
        archive,
    ],
    "7zz": lambda archive, into: ["x", "-y", "-bd", f"-o{into}", "--", archive],
    "7z": lambda archive, into: ["x", "-y", "-bd", f"-o{into}", "--", archive],
    "bsdtar": lambda archive, into: ["-xf", archive, "-C", into],
}

_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    OSError,
)


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    size_bytes: int
    is_dir: bool
    refusal: str  # why it may not be unpacked, or ""
    save: Callable[[Path], None]


def is_archive_name(name: str) -> bool:
    """Whether a file's name ends like an archive's."""
    return _ARCHIVE_NAME.search(name) is not None


def folder_name(name: str) -> str:
    """The name of an archive without its ending: the folder it is unpacked into."""
    return _ARCHIVE_NAME.sub("", name)


def require_rar_program() -> None:
    """See that a program for RAR is there.

    Raises:
        FetchError: There is none; the message says what to install.
    """
    if not _rar_programs():
        raise FetchError(
            f"a RAR archive needs a program that opens it, and none of {', '.join(_RAR_PROGRAMS)} is "
            f"installed. {_INSTALL_RAR}"
        )


_INSTALL_RAR = (
    "Install `unar` (Debian, Ubuntu: apt install unar; macOS: brew install unar) or `unrar`; "
    "or unpack it elsewhere and set `root` to the folder."
)


def _rar_programs() -> list[str]:
    return [name for name in _RAR_PROGRAMS if shutil.which(name)]


def unpack(archive: Path, into: Path, *, is_nested: bool = False, limit_bytes: int | None = None) -> None:
    """Unpack an archive into a folder, whole or not at all; a folder that is there already is replaced.

    Work is done in `_tmp_<archive>` beside the archive, which has to be on the same disk as `into`.

    Args:
        archive: The archive; its first bytes say of what kind it is.
        into: The folder to make.
        is_nested: Archives found inside are unpacked where they lie, and removed.
        limit_bytes: Most bytes that may come out; never more than MAX_RATIO times the archive's size.

    Raises:
        FetchError: No archive, a damaged one, one that reaches out of the folder, one that is too large
            unpacked, or a RAR that no installed program opens.
    """
    stage = archive.with_name(f"_tmp_{archive.name}")
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir()
    try:
        whole = stage / "whole"
        whole.mkdir()
        _unpack(archive, whole, scratch=stage / "rar", limit_bytes=limit_bytes)
        if is_nested:
            inner = [
                path for path in sorted(whole.rglob("*")) if path.is_file() and is_archive_name(path.name)
            ]
            for path in inner:
                _unpack(path, path.parent, scratch=stage / "rar", limit_bytes=limit_bytes)
                path.unlink()
        shutil.rmtree(into, ignore_errors=True)
        into.parent.mkdir(parents=True, exist_ok=True)
        whole.replace(into)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _unpack(archive: Path, into: Path, *, scratch: Path, limit_bytes: int | None) -> None:
    try:
        with _open(archive, scratch) as found:
            members = [member for member in found if not _is_clutter(member.name)]
            _refuse_dangers(archive, members, limit_bytes)
            require_room(into, sum(member.size_bytes for member in members), f"unpacking {archive.name}")
            for member in members:
                _save(member, into)
    except _DAMAGE as error:
        raise _damaged(archive, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _save(member: _Member, into: Path) -> None:
    target = into.joinpath(*_parts(member.name))
    if member.is_dir:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    member.save(target)


def _damaged(archive: Path, error: Exception) -> FetchError:
    return FetchError(
        f"{archive.name} can't be unpacked: {error or type(error).__name__}. Nothing was left in place. "
        f"Delete {archive} to have it downloaded again, or unpack a good copy yourself and set `root` to its "
        "folder."
    )


def _refuse_dangers(archive: Path, members: Iterable[_Member], limit_bytes: int | None) -> None:
    total = 0
    for member in members:
        total += member.size_bytes
        reason = _name_refusal(member.name) or member.refusal
        if reason:
            raise FetchError(
                f"{archive.name} holds {member.name!r}, which {reason}: it was refused and nothing unpacked. "
                f"If you trust it, unpack it yourself and set `root` to its folder."
            )
    limit = max(MAX_RATIO * archive.stat().st_size, SMALL_BYTES)
    limit = limit if limit_bytes is None else min(limit, limit_bytes)
    if total > limit:
        raise FetchError(
            f"{archive.name} ({size_text(archive.stat().st_size)}) would become {size_text(total)}, more "
            f"than the {size_text(limit)} allowed: it was refused and nothing unpacked. If you trust it, "
            "unpack it yourself and set `root` to its folder."
        )


def _name_refusal(name: str) -> str:
    plain = name.replace("\\", "/")
    if plain.startswith("/") or re.match(r"[A-Za-z]:", plain) or ".." in plain.split("/"):
        return "leads out of the folder"
    if "\0" in plain or not _parts(name):
        return "is no name for a file"
    return ""


def _parts(name: str) -> tuple[str, ...]:
    # Old Windows programs part names with backslashes.
    return PurePosixPath(name.replace("\\", "/")).parts


def _is_clutter(name: str) -> bool:
    # What macOS adds to zips: a second file beside each, called like a video and none.
    parts = _parts(name)
    return parts[:1] in ((), ("__MACOSX",)) or parts[-1] == ".DS_Store" or parts[-1].startswith("._")


def _open(archive: Path, scratch: Path) -> AbstractContextManager[Iterator[_Member]]:
    import rarfile

    if rarfile.is_rarfile(archive):
        return _open_rar(archive, scratch)
    # A tar may hold a zip at its end, where is_zipfile looks: tar is asked first.
    if tarfile.is_tarfile(archive):
        return _open_tar(archive)
    if zipfile.is_zipfile(archive):
        return _open_zip(archive)
    with archive.open("rb") as stream:
        start = stream.read(24)
    raise FetchError(
        f"{archive.name} is no zip, tar or RAR archive: it starts with {start!r}. A page that asks for a "
        f"login looks like that, or half a download. Delete {archive} and fetch it again, or unpack a copy "
        "and set `root` to its folder."
    )


@contextmanager
def _open_zip(archive: Path) -> Iterator[Iterator[_Member]]:
    def member(info: zipfile.ZipInfo) -> _Member:
        is_link = stat.S_ISLNK(info.external_attr >> 16)
        refusal = "is a link" if is_link else "is encrypted" if info.flag_bits & 1 else ""
        save = functools.partial(_copy, functools.partial(opened.open, info))
        return _Member(info.filename, info.file_size, info.is_dir(), refusal, save)

    with zipfile.ZipFile(archive) as opened:
        yield map(member, opened.infolist())


@contextmanager
def _open_tar(archive: Path) -> Iterator[Iterator[_Member]]:
    def member(info: tarfile.TarInfo) -> _Member:
        save = functools.partial(_copy, functools.partial(opened.extractfile, info))
        return _Member(info.name, info.size, info.isdir(), _tar_refusal(info), save)

    with tarfile.open(archive) as opened:
        found = opened.getmembers()
        # The checksum of a .gz or .xz stands at its very end, which tarfile never reads by itself.
        while opened.fileobj is not None and opened.fileobj.read(1 << 20):
            pass
        yield map(member, found)


def _tar_refusal(info: tarfile.TarInfo) -> str:
    try:
        tarfile.data_filter(info, "/nowhere")
    except tarfile.FilterError as error:
        return f"isn't data ({error})"
    # Links that stay inside are harmless but for one thing: a thousand of them to one large file are a bomb.
    return "is a link" if info.issym() or info.islnk() else ""


@contextmanager
def _open_rar(archive: Path, scratch: Path) -> Iterator[Iterator[_Member]]:
    import rarfile

    try:
        with rarfile.RarFile(archive) as opened:
            files = [info for info in opened.infolist() if not info.is_dir()]
            is_stored = all(info.compress_type == rarfile.RAR_M0 for info in files)
            # One run of a program for all: read file by file, a solid archive is read anew each time.
            unpacked = functools.cache(lambda: _run_rar_program(archive, scratch, files))

            def member(info: Any) -> _Member:
                is_link = info.is_symlink() or info.file_redir is not None
                refusal = "is a link" if is_link else "is encrypted" if info.needs_password() else ""
                save = functools.partial(_copy, functools.partial(opened.open, info))
                if not is_stored:
                    save = functools.partial(_take, unpacked, info.filename)
                return _Member(info.filename, info.file_size, info.is_dir(), refusal, save)

            yield map(member, opened.infolist())
    except rarfile.Error as error:
        raise _damaged(archive, error) from error


def _run_rar_program(archive: Path, scratch: Path, files: Iterable[Any]) -> Path:
    require_rar_program()
    said = []
    for program in _rar_programs():
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        command = [program, *_RAR_PROGRAMS[program](str(archive.absolute()), str(scratch.absolute()))]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603
        missing = [info.filename for info in files if not _is_whole(scratch / info.filename, info.file_size)]
        if done.returncode == 0 and not missing:
            return scratch
        words = (done.stderr + done.stdout).decode("utf-8", "replace").strip().splitlines()
        said.append(f"{program}: {words[0] if words else f'left out {len(missing)} of its files'}")
    raise FetchError(
        f"{archive.name} can't be unpacked by what is installed ({'; '.join(said)}). {_INSTALL_RAR}"
    )


def _is_whole(path: Path, size_bytes: int) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size_bytes


def _take(unpacked: Callable[[], Path], name: str, target: Path) -> None:
    source = unpacked() / name
    if target.exists():
        raise FileExistsError(f"two of its members are called {name!r}")
    source.rename(target)


def _copy(opened: Callable[[], IO[bytes] | None], target: Path) -> None:
    source = opened()
    if source is None:
        raise tarfile.TarError(f"{target.name} has no contents")
    with source, target.open("xb") as stream:
        shutil.copyfileobj(source, stream, 1 << 20)
