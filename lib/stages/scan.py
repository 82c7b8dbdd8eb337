"""What lies below an archive's folder: every file, with the reason why it won't be opened."""

import hashlib
import os
import stat
from collections.abc import Iterator
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
    yield from _scan_folder(root.resolve(), root, sought)


def _scan_folder(root: Path, folder: Path, sought: Sought) -> Iterator[Seen]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        yield Seen(_shown(folder, root), 0, 0, f"folder can't be read: {error.strerror}")
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            if path.suffix.lower() in sought.suffixes:
                yield Seen(_shown(path, root), 0, 0, f"a folder, though its name ends like a {sought.noun}'s")
            yield from _scan_folder(root, path, sought)
        elif not _is_beside(path, sought):
            yield _look(root, path, sought)


def _is_beside(path: Path, sought: Sought) -> bool:
    """Whether a file belongs to another one that is sought: `a.json` or `a.tif.ovr` to `a.tif`."""
    for ending in sought.beside:
        if path.name.lower().endswith(ending):
            stem = path.with_name(path.name[: -len(ending)])
            candidates = [stem, *(Path(f"{stem}{suffix}") for suffix in sought.suffixes)]
            return any(c.suffix.lower() in sought.suffixes and c.is_file() for c in candidates)
    return False


def _look(root: Path, path: Path, sought: Sought) -> Seen:
    shown = _shown(path, root)
    try:
        facts = path.stat()
        target = path.resolve(strict=True)
    except OSError as error:
        reason = "a broken link" if path.is_symlink() else f"can't be looked at: {error.strerror}"
        return Seen(shown, 0, 0, reason)
    seen = Seen(shown, facts.st_size, facts.st_mtime_ns)
    suffix = path.suffix.lower()
    if path.is_symlink() and not target.is_relative_to(root):
        return Seen(shown, 0, 0, "a link that leads out of the archive's folder")
    if stat.S_ISDIR(facts.st_mode):
        return Seen(shown, 0, 0, "a link to a folder; links to folders aren't followed")
    if not stat.S_ISREG(facts.st_mode):
        return Seen(shown, 0, 0, "not a regular file (a pipe, socket or device)")
    if not _is_utf8(path):
        return Seen(shown, facts.st_size, facts.st_mtime_ns, "its name is no valid UTF-8: rename it")
    if suffix in AUDIO_SUFFIXES:
        return Seen(shown, facts.st_size, facts.st_mtime_ns, f"sound only, by its name ({suffix})")
    if suffix not in sought.suffixes:
        return Seen(
            shown,
            facts.st_size,
            facts.st_mtime_ns,
            f"no {sought.noun}, by its name ({suffix or 'no ending'})",
        )
    if facts.st_size == 0:
        return Seen(shown, 0, facts.st_mtime_ns, "empty file (0 bytes)")
    return seen


def _shown(path: Path, root: Path) -> str:
    for base in (root, root.resolve()):
        if path.is_relative_to(base):
            path = path.relative_to(base)
            break
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def _is_utf8(path: Path) -> bool:
    try:
        path.name.encode()
    except UnicodeEncodeError:
        return False
    return True


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, 32 hex digits of it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]
