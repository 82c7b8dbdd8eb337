"""A dataset's folder of sources: found, or downloaded and unpacked once.

Everything that could refuse is asked before the first byte: licence, credentials, room, and a program for
RAR. Each file of a dataset is fetched, unpacked into a folder of its own under the root, and noted in a
receipt; a call that finds all receipts makes no request. Archives are deleted once they are unpacked.
"""

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock

from lib.datasets import Dataset, RemoteFile
from lib.download import Progress, download
from lib.errors import CatalogError, FetchError, LicenceError
from lib.room import require_room
from lib.unpack import folder_name, require_rar_program, unpack

# What comes out of a dataset's archives may be this many times what the dataset says of its size.
_SIZE_SLACK = 3


@dataclass(frozen=True, slots=True)
class _Receipt:
    """What was fetched, so that it isn't fetched again; the hash is the one seen."""

    url: str
    size_bytes: int
    sha256: str


def fetch(
    dataset: Dataset,
    dest: Path,
    *,
    mirror: str | None = None,
    root: Path | None = None,
    acknowledged: bool = False,
    progress: Progress | None = None,
) -> Path:
    """The folder that holds a dataset's sources, made if need be.

    Args:
        dataset: What to fetch.
        dest: The root to make. Downloads and receipts are kept beside it, in `_downloads/<its name>`.
        mirror: Address of a folder that holds the same files; replaces all of an address but the file's name.
        root: A folder that the user unpacked: taken as it is.
        acknowledged: The user read the licence and agreed to what it asks.
        progress: Called with a file's name, the bytes so far and the bytes in all (None if not known).

    Returns:
        `root` if given, else `dest`.

    Raises:
        CatalogError: `root` is no readable folder.
        LicenceError: The licence wants an acknowledgement.
        FetchError: No room, no credentials, no program for RAR, or a download or an archive that is no good.
    """
    if root is not None:
        return _check_root(root)
    if dataset.by_hand:
        raise FetchError(dataset.by_hand)
    _require_licence(dataset, acknowledged)
    work = dest.parent / "_downloads" / dest.name
    pending = _pending(dataset, dest, work)
    if not pending and _is_prepared(dataset, dest, work):
        return dest
    token = _require_all(dataset, dest, work, pending)
    work.mkdir(parents=True, exist_ok=True)
    with FileLock(work / ".lock"):
        # Another process may have fetched it while this one waited.
        for file in _pending(dataset, dest, work):
            _fetch_file(dataset, file, dest, work=work, mirror=mirror, token=token, progress=progress)
        _prepare(dataset, dest, work)
    return dest


def _check_root(root: Path) -> Path:
    if not root.is_dir():
        raise CatalogError(
            f"`root` is {root}, which is no folder. Point it at the folder with the unpacked files."
        )
    if not os.access(root, os.R_OK | os.X_OK):
        raise CatalogError(f"`root` is {root}, which can't be read. Give this user read access to it.")
    return root


def _require_licence(dataset: Dataset, acknowledged: bool) -> None:
    licence = dataset.licence
    if licence.needs_acknowledgement and not acknowledged:
        raise LicenceError(
            f"{dataset.title} comes under its own terms ({licence.name}). {licence.asks} Read {licence.url}, "
            "and if you agree, write `acknowledge_licence = true` in the archive's entry of the catalog."
        )


def _require_all(dataset: Dataset, dest: Path, work: Path, pending: list[RemoteFile]) -> str | None:
    token = os.environ.get(dataset.credentials) if dataset.credentials else None
    if pending and dataset.credentials and not token:
        raise FetchError(
            f"{dataset.title} is given out to holders of an access token: set {dataset.credentials} to yours "
            f"(see {dataset.licence.url}), or set `root` if you have the files."
        )
    if any(file.unpack and file.name.lower().endswith(".rar") for file in pending):
        require_rar_program()
    require_room(dest, max(dataset.size_bytes - _bytes_in(dest) - _bytes_in(work), 0), dataset.title)
    return token


def _bytes_in(folder: Path) -> int:
    total = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            # Another process may be at work here: what was listed may be renamed or gone.
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(Path(inside, name)).st_size
    return total


def _fetch_file(
    dataset: Dataset,
    file: RemoteFile,
    dest: Path,
    *,
    work: Path,
    mirror: str | None,
    token: str | None,
    progress: Progress | None,
) -> None:
    url = f"{mirror.rstrip('/')}/{quote(file.name)}" if mirror else file.url
    kept = work / file.name
    receipt_path = work / f"{file.name}.json"
    downloaded = _read_receipt(receipt_path)
    # A download whose unpacking failed or was killed is still good.
    if downloaded is None or not kept.exists() or not _agrees(file, downloaded):
        receipt_path.unlink(missing_ok=True)
        # A token is the dataset's own host's; a mirror has no business with it.
        sha256 = download(file, url, kept, token=None if mirror else token, progress=progress)
        downloaded = _Receipt(url, kept.stat().st_size, sha256)
        _write_json(receipt_path, asdict(downloaded))
    target = _target(file, dest)
    if file.unpack:
        unpack(kept, target, is_nested=file.is_nested, limit_bytes=_SIZE_SLACK * dataset.size_bytes)
        kept.unlink()
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        kept.replace(target)


def _target(file: RemoteFile, dest: Path) -> Path:
    return dest / (folder_name(file.name) if file.unpack else file.name)


def _pending(dataset: Dataset, dest: Path, work: Path) -> list[RemoteFile]:
    return [file for file in dataset.files if not _is_done(file, dest, work)]


def _is_done(file: RemoteFile, dest: Path, work: Path) -> bool:
    # The target is renamed into place before the download goes: both there means that a call was killed in
    # between, or that the download is newer than what was unpacked.
    receipt = _read_receipt(work / f"{file.name}.json")
    is_there = _target(file, dest).exists() and not (work / file.name).exists()
    return receipt is not None and is_there and _agrees(file, receipt)


def _agrees(file: RemoteFile, receipt: _Receipt) -> bool:
    return file.sha256 is None or file.sha256.lower() == receipt.sha256


def _read_receipt(path: Path) -> _Receipt | None:
    try:
        return _Receipt(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        # Half written by a killed call: as good as none.
        return None


def _write_json(path: Path, content: dict[str, object]) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(content, indent=1), encoding="utf-8")
    part.replace(path)


def _is_prepared(dataset: Dataset, dest: Path, work: Path) -> bool:
    return dataset.prepare is None or (dest.exists() and (work / "prepared.json").exists())


def _prepare(dataset: Dataset, dest: Path, work: Path) -> None:
    dest.mkdir(parents=True, exist_ok=True)
    if dataset.prepare is not None and not _is_prepared(dataset, dest, work):
        dataset.prepare(dest)
        _write_json(work / "prepared.json", {"dataset": dataset.name})
