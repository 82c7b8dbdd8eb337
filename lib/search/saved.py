"""An index's folder: written beside and renamed whole, and what its JSON says about the files in it."""

import dataclasses
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lib.errors import IndexMissingError, LakeError
from lib.search.kinds import IndexKind
from lib.search.recall import RecallCheck
from lib.search.store import VectorStore

T = TypeVar("T")

# 2: the vectors are several files. What has one is written as 1, which versions before read as well.
FORMATS = (1, 2)
MANIFEST = "index.json"
VECTORS = "vectors"
# So many files, or so great a share of the rows in all but the first, and they are written as one again.
MOST_PARTS, MOST_ADDED = 8, 0.25
REMEDY = "Build the index again: the Parquet shards hold all that it was made from."


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file as it was when it was written."""

    bytes: int
    crc32: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a folder's JSON says."""

    kind: IndexKind
    rows: int
    dim: int
    contract: str
    trained_rows: int
    seed: int
    parts: tuple[int, ...]  # rows of each file of vectors
    recall: RecallCheck | None = None
    files: dict[str, FileRecord] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write it into the folder."""
        body = {"format": FORMATS[len(self.parts) > 1]} | dataclasses.asdict(self)
        if len(self.parts) == 1:
            del body["parts"]
        (folder / MANIFEST).write_text(json.dumps(body, indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read it, and see that every file it names has its size.

        Raises:
            LakeError: The JSON or a file can't be what was written.
        """
        path = folder / MANIFEST
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
            manifest = cls._from_json(body)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LakeError(f"{path} is not the description of an index ({error!r}). {REMEDY}") from error
        for name, record in manifest.files.items():
            size = (folder / name).stat().st_size if (folder / name).is_file() else None
            if size != record.bytes:
                seen = "is missing" if size is None else f"has {size:,} bytes"
                raise LakeError(f"{folder / name} {seen}; {record.bytes:,} bytes were written. {REMEDY}")
        return manifest

    @classmethod
    def _from_json(cls, body: dict[str, Any]) -> "Manifest":
        if body.pop("format") not in FORMATS:
            raise ValueError(f"this version reads formats {FORMATS[0]} to {FORMATS[-1]}")
        return cls(
            **body
            | {
                "parts": tuple(body.get("parts", [body["rows"]])),
                "kind": IndexKind(**body["kind"]),
                "recall": RecallCheck(**body["recall"]) if body["recall"] else None,
                "files": {name: FileRecord(**record) for name, record in body["files"].items()},
            }
        )


def record(path: Path) -> FileRecord:
    """Size and checksum of a file."""
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            crc = zlib.crc32(chunk, crc)
    return FileRecord(path.stat().st_size, crc)


def check_content(path: Path, written: FileRecord) -> None:
    """Read a file through and compare its checksum: FAISS trusts what it parses, and can crash on it.

    Raises:
        LakeError: It isn't what was written.
    """
    if record(path) != written:
        raise LakeError(f"{path} is damaged: its checksum isn't the one that was written. {REMEDY}")


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A saved file that still holds what the index in memory does. Such files are never written to again."""

    path: Path
    inode: int
    record: FileRecord

    @classmethod
    def of(cls, path: Path, record: FileRecord) -> "KeptFile":
        """Remember a file, even if another takes its name."""
        return cls(path, path.stat().st_ino, record)

    def link(self, target: Path) -> bool:
        """Give it a second name instead of writing it out again; false where that can't be."""
        try:
            os.link(self.path, target)
        except OSError:  # gone, or a file system without links
            return False
        if target.stat().st_ino == self.inode:
            return True
        target.unlink()  # another index's file under the old name
        return False


def kept_files(folder: Path, files: dict[str, FileRecord]) -> dict[str, KeptFile]:
    """Files that were just written there, or read."""
    return {name: KeptFile.of(folder / name, record) for name, record in files.items()}


def linked(kept: dict[str, KeptFile], folder: Path, names: list[str]) -> dict[str, FileRecord] | None:
    """Give files that are kept second names in the folder; None, and none there, where one can't be."""
    done: dict[str, FileRecord] = {}
    for name in names:
        if name not in kept or not kept[name].link(folder / name):
            for other in done:
                (folder / other).unlink()
            return None
        done[name] = kept[name].record
    return done


def vector_files(parts: tuple[int, ...]) -> list[str]:
    """Names of the files of vectors, the first rows' first."""
    return [f"{VECTORS}.npy", *[f"{VECTORS}_{number}.npy" for number in range(1, len(parts))]]


def parts_with(before: tuple[int, ...], rows: int) -> tuple[int, ...]:
    """The parts to save: what was added since as another, or all as one, where there'd be too many."""
    added = rows - sum(before)
    parts = (*before, added) if added else before
    is_too_much = len(parts) > MOST_PARTS or sum(parts[1:]) > MOST_ADDED * rows
    return (rows,) if is_too_much else parts


def write_vectors(
    store: VectorStore, folder: Path, before: tuple[int, ...], kept: dict[str, KeptFile]
) -> tuple[tuple[int, ...], dict[str, FileRecord]]:
    """Write rows into the folder; those that stand in a kept file already are linked, where that can be.

    Args:
        store: All rows.
        folder: Where to.
        before: Rows of each file when they were last saved.
        kept: Files that still hold what the store does.

    Returns:
        The rows of each file, and the files.
    """
    parts = parts_with(before, store.rows)
    is_more = parts[: len(before)] == before
    files = linked(kept, folder, vector_files(before)) if is_more else None
    if files is None:
        parts, files = (store.rows,), {}
    last = vector_files(parts)[-1]
    if last not in files:
        store.write(folder / last, first=sum(parts[:-1]))
        files[last] = record(folder / last)
    return parts, files


@contextmanager
def replaced_whole(folder: Path) -> Iterator[Path]:
    """A folder to write into, which takes the place of `folder` if the block ends well, or goes.

    One writer at a time: the caller holds the lake's lock. What it supersedes is kept as `<name>_old` until
    the next time, for a reader may be in the middle of it.

    Raises:
        LakeError: The disk is full, or can't be written to.
    """
    fresh, former = _beside(folder, "_tmp"), _beside(folder, "_old")
    try:
        shutil.rmtree(fresh, ignore_errors=True)  # of a writer that was killed
        fresh.mkdir(parents=True)
        yield fresh
        if folder.exists():
            if former.exists():
                shutil.rmtree(former)
            folder.rename(former)
        fresh.rename(folder)
    except (OSError, RuntimeError) as error:  # FAISS raises RuntimeError
        raise LakeError(
            f"The index can't be written to {folder}: {error}. Make room there, or see to its permissions; "
            "the index before it still stands."
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def read_whole(folder: Path, read: Callable[[Path], T]) -> T:
    """Read a folder, again if it was replaced meanwhile: never half of one state and half of another.

    Raises:
        IndexMissingError: There is none.
        LakeError: It can't be read, or is not what was written.
    """
    for _ in range(5):
        place = _standing(folder)
        before = _identity(place)
        try:
            result = read(place)
        except (LakeError, OSError, ValueError, RuntimeError) as error:  # FAISS raises RuntimeError
            if _identity(place) != before:
                continue
            if isinstance(error, LakeError):
                raise
            raise LakeError(f"The index at {place} can't be read: {error}. {REMEDY}") from error
        if _identity(place) == before:
            return result
    raise LakeError(f"The index at {folder} was replaced again and again while it was read. Try again.")


def _standing(folder: Path) -> Path:
    """Itself, or its former state if a writer was killed between its two renames."""
    for path in (folder, _beside(folder, "_old")):
        if path.is_dir():
            return path
    raise IndexMissingError(f"There is no index at {folder}.")


def _identity(folder: Path) -> int | None:
    return folder.stat().st_ino if folder.is_dir() else None


def _beside(folder: Path, ending: str) -> Path:
    return folder.with_name(folder.name + ending)
