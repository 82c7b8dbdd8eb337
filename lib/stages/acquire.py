"""sources: download and unpack what has to be, then register every file found."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lib.catalog import Archive
from lib.forget import forgotten_of, is_forgotten
from lib.lake import Lake
from lib.stages.sources import note_not_fetched, register, root_of


@dataclass(frozen=True, slots=True)
class Acquired:
    """What stands at an archive's source now, and what changed since last time."""

    root: Path
    shards: tuple[str, ...]
    files: int
    new: int
    changed: int
    removed: int
    bytes: int
    seconds: float


def acquire(
    archive: Archive,
    lake: Lake,
    *,
    say: Callable[[str], None] = lambda line: None,
    accept_empty: bool = False,
) -> Acquired:
    """Bring an archive's sources up to date.

    Raises:
        FetchError, LicenceError: A dataset, catalogue or bucket can't be downloaded, or not yet.
        CatalogError: The root isn't there, or much of it is suddenly gone.
    """
    began = time.perf_counter()
    if archive.dataset is not None:
        from lib.datasets import dataset
        from lib.fetch import fetch

        fetch(
            dataset(archive.dataset), root_of(archive, lake), mirror=archive.mirror,
            root=Path(archive.root).expanduser() if archive.root else None,
            acknowledged=archive.acknowledge_licence, progress=_Steps(say),
        )  # fmt: skip
    if archive.stac is not None:
        from lib.stac import fetch_scenes

        root = root_of(archive, lake)
        forgotten = forgotten_of(lake, archive.name)
        scenes = fetch_scenes(
            archive.stac, root, progress=_Steps(say), skip=lambda name: is_forgotten(name, forgotten)
        )
        note_not_fetched(root, {f"{scene.id}.tif": scene.reason for scene in scenes if scene.reason})
    if archive.is_in_bucket:
        from lib.bucket import mirror

        root, out = root_of(archive, lake), forgotten_of(lake, archive.name)
        mirrored = mirror(
            archive, root, accept_removed=accept_empty, progress=_Steps(say),
            skip=lambda key: is_forgotten(key, out),
        )  # fmt: skip
        note_not_fetched(root, mirrored.not_fetched)
    found = register(archive, lake, accept_empty=accept_empty)
    standing = [item for item in lake.ledger.items(archive.name) if not item.removed]
    return Acquired(
        root_of(archive, lake), found.shards, len(standing), found.new, found.changed, found.removed,
        sum(item.bytes for item in standing), round(time.perf_counter() - began, 3),
    )  # fmt: skip


class _Steps:
    """A download's progress as a line each tenth of the way."""

    def __init__(self, say: Callable[[str], None]):
        self._say = say
        self._told: dict[str, int] = {}

    def __call__(self, name: str, done: int, total: int | None) -> None:
        step = 10 * done // total if total else done // (100 << 20)
        if self._told.get(name) != step:
            self._told[name] = step
            self._say(f"{name}: {done / 1e6:,.0f} MB" + (f" of {total / 1e6:,.0f} MB" if total else ""))
