"""What lies below an archive's folder: every file, with the reason why it won't be opened."""

import hashlib
import os
import stat
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from lib.errors import CatalogError

VIDEO_SUFFIXES = frozenset(
    [
        ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".flv", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg",
        ".vob", ".ogv", ".wmv", ".asf", ".3gp", ".3g2", ".mxf", ".gif", ".f4v",
    ]
)  # fmt: skip
AUDIO_SUFFIXES = frozenset([".mp3", ".wav", ".flac", ".aac", ".m4a", ".ogg", ".opus", ".wma"])


SCENE_SUFFIXES = frozenset([".tif", ".tiff", ".gtiff"])


@dataclass(frozen=True, slots=True)
class Sought:
    """What an archive looks for: endings, what it is called, and the endings of files that belong to one."""

    noun: str
    suffixes: frozenset[str]
    beside: tuple[str, ...] = ()


VIDEOS = Sought("video", VIDEO_SUFFIXES)
# A GeoTIFF's metadata, georeference and overviews may lie beside it under its own name: parts of one item.
SCENES = Sought("GeoTIFF", SCENE_SUFFIXES, (".json", ".aux.xml", ".tfw", ".ovr", ".msk", ".prj"))
# Masks are pictures too; polygons are JSON.
PAIRS = Sought("picture or label", frozenset([".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".json"]))
# `v.mp4.done` says that `v.mp4` was written whole: neither an item nor a reject.
MARKER = ".done"
SOUGHT = {"video": VIDEOS, "scene": SCENES, "change_set": PAIRS}


@dataclass(frozen=True, slots=True)
class Seen:
    """One file as a scan found it. `reason` says why it won't be opened; "" when it will."""

    path: str
    bytes: int
    mtime_ns: int
    reason: str = ""


def scan(root: Path, sought: Sought = VIDEOS) -> Iterator[Seen]:
    """Every file below a folder, in a stable order; what is no candidate carries its reason.

    Raises:
        CatalogError: The root is no readable folder: an unmounted disk must not look like a deleted archive.
    """
    if not root.is_dir():
        raise CatalogError(
            f"the sources' folder {root} isn't there. Mount it, or set `root` in the catalog entry."
        )
    if not os.access(root, os.R_OK | os.X_OK):
        raise CatalogError(f"the sources' folder {root} can't be read. Give this user read access to it.")
    yield from _scan_folder(root.resolve(), str(root), "", sought)


def _scan_folder(root: Path, folder: str, below: str, sought: Sought) -> Iterator[Seen]:
    # Names are joined as text and a plain file is asked for its facts once: of 100,000 files that took 33 s
    # with a Path and a resolved link for each.
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        yield Seen(_shown(below.rstrip("/") or "."), 0, 0, f"folder can't be read: {error.strerror}")
        return
    names = {entry.name for entry in entries}
    for entry in entries:
        path = below + entry.name
        if entry.is_dir(follow_symlinks=False):
            if _suffix(entry.name) in sought.suffixes:
                yield Seen(_shown(path), 0, 0, f"a folder, though its name ends like a {sought.noun}'s")
            yield from _scan_folder(root, entry.path, f"{path}/", sought)
        elif not (_is_marker(entry.name, names) or _is_beside(entry, sought)):
            yield _look(root, entry, path, sought)


def _is_marker(name: str, names: Set[str]) -> bool:
    """Whether a file only says of the one beside it that it is whole."""
    return name.endswith(MARKER) and name.removesuffix(MARKER) in names


def _is_beside(entry: os.DirEntry[str], sought: Sought) -> bool:
    """Whether a file belongs to another one that is sought: `a.json` or `a.tif.ovr` to `a.tif`."""
    path = Path(entry.path)
    for ending in sought.beside:
        if path.name.lower().endswith(ending):
            stem = path.with_name(path.name[: -len(ending)])
            candidates = [stem, *(Path(f"{stem}{suffix}") for suffix in sought.suffixes)]
            return any(c.suffix.lower() in sought.suffixes and c.is_file() for c in candidates)
    return False


def _look(root: Path, entry: os.DirEntry[str], path: str, sought: Sought) -> Seen:
    shown, is_link = _shown(path), entry.is_symlink()
    try:
        facts = entry.stat()
        target = Path(entry.path).resolve(strict=True) if is_link else None
    except OSError as error:
        reason = "a broken link" if is_link else f"can't be looked at: {error.strerror}"
        return Seen(shown, 0, 0, reason)
    if target is not None and not target.is_relative_to(root):
        return Seen(shown, 0, 0, "a link that leads out of the archive's folder")
    if stat.S_ISDIR(facts.st_mode):
        return Seen(shown, 0, 0, "a link to a folder; links to folders aren't followed")
    if not stat.S_ISREG(facts.st_mode):
        return Seen(shown, 0, 0, "not a regular file (a pipe, socket or device)")
    reason = fault_in_name(entry.name, sought)
    if not reason and facts.st_size == 0:
        reason = "empty file (0 bytes)"
    return Seen(shown, facts.st_size, facts.st_mtime_ns, reason)


def fault_in_name(name: str, sought: Sought) -> str:
    """Why a file of that name isn't opened; "" when it is."""
    suffix = _suffix(name)
    if not _is_utf8(name):
        return "its name is no valid UTF-8: rename it"
    if suffix in AUDIO_SUFFIXES:
        return f"sound only, by its name ({suffix})"
    return "" if suffix in sought.suffixes else f"no {sought.noun}, by its name ({suffix or 'no ending'})"


def _suffix(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return f"{dot}{ending}".lower() if stem.strip(".") and ending else ""


def _shown(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, 32 hex digits of it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]
