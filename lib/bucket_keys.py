"""Keys of objects as paths of files: which can't be one, and which aren't sought."""

from collections.abc import Collection, Iterator, Mapping
from urllib.parse import quote

from lib.object_store import Stored
from lib.stages.scan import MARKER, SOUGHT, fault_in_name

_MAX_PART = 255  # bytes of a file's name


def is_folder(key: str, about: Stored) -> bool:
    """Whether it is what consoles put for an empty folder."""
    return key.endswith("/") and about.bytes == 0


def is_marker(key: str, listed: Collection[str]) -> bool:
    """Whether it only says of another object that it is whole."""
    return key.endswith(MARKER) and key.removesuffix(MARKER) in listed


def refused_of(line: str, listed: Mapping[str, Stored]) -> Iterator[tuple[str, str]]:
    """Of the objects that a line is to read, what isn't fetched, by the path of its row, and why."""
    above = {
        "/".join(parts[:count])
        for key in listed if not _fault_in(key) and (parts := key.split("/"))
        for count in range(1, len(parts))
    }  # fmt: skip
    sought = SOUGHT[line]
    for key, about in listed.items():
        if is_folder(key, about) or is_marker(key, listed):
            continue
        reason = _fault_in(key)
        if not reason and key in above:
            reason = "other objects lie below its name, so that it would be a file and a folder: rename it"
        if not reason and not key.lower().endswith(sought.beside):
            reason = fault_in_name(key.rpartition("/")[2], sought)
        if reason:
            yield shown(key, listed), reason


def _fault_in(key: str) -> str:
    parts = key.split("/")
    if key.endswith("/"):
        return 'its key ends with "/": it can\'t be a file'
    if any(part in ("", ".", "..") for part in parts) or "\0" in key:
        return "its key is no path below the prefix: rename it"
    if any(len(part.encode(errors="surrogatepass")) > _MAX_PART for part in parts):
        return f"a part of its key is longer than {_MAX_PART} bytes: rename it"
    return ""


def shown(key: str, listed: Collection[str]) -> str:
    """The path of an object's row: its key, or what can't be taken for a path elsewhere."""
    if key and not _fault_in(key):
        return key
    plain = quote(key, safe="", errors="surrogatepass").replace(".", "%2E")
    return plain if plain not in listed else f"{plain}%00"
