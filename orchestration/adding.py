"""`dinolake add`: choose good defaults, and write them down."""

from collections.abc import Callable
from pathlib import Path

from lib.catalog import KINDS, Archive, EmbeddingConfig, FramesConfig, add_archive, check_name
from lib.errors import CatalogError, UsageError
from lib.settings import read_settings


def add_archive_entry(
    name: str, kind: str, root: Path | None, *, dataset: str | None, backbone: str | None, per_second: float,
    say: Callable[[str], None],
) -> tuple[Archive, Path]:  # fmt: skip
    """Check what was asked for, choose the rest, and write the entry; the entry and the catalog's path.

    Raises:
        CatalogError: A bad or taken name, or a root that isn't there.
        UsageError: A kind that isn't known or isn't built yet, or neither root nor dataset.
    """
    check_name(name)
    if kind not in KINDS:
        raise UsageError(f"kind {kind!r} is none of {', '.join(KINDS)}.")
    if kind != "video":
        raise UsageError(f"archives of kind {kind!r} aren't built yet; this version has the video line.")
    if root is None and dataset is None:
        raise UsageError("give a folder with the videos, or --dataset NAME.")
    if root is not None and not root.expanduser().is_dir():
        raise CatalogError(f"{root} is no folder. Give the folder that holds the videos.")
    if dataset is not None:
        from lib.datasets import dataset as known

        known(dataset)
    from lib.embedding.backbones import choose_default, resolve

    if backbone is None:
        backbone, notes = choose_default()
        for note in notes:
            say(note)
    resolve(backbone)  # a spec that can't be had is met here, not an hour into a run
    entry = Archive(
        name=name,
        kind="video",
        root=str(root.expanduser().absolute()) if root else None,
        dataset=dataset,
        frames=FramesConfig(per_second=per_second),
        embedding=EmbeddingConfig(backbone=backbone),
    )
    path = read_settings().catalog
    add_archive(path, entry)
    return entry, path
