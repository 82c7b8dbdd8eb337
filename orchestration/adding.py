"""`dinolake add`: choose good defaults, and write them down."""

from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from lib.catalog import (
    KINDS,
    Archive,
    EmbeddingConfig,
    FramesConfig,
    add_archive,
    check_free,
    check_name,
    in_words,
)
from lib.errors import CatalogError, UsageError
from lib.settings import read_settings


def add_archive_entry(
    name: str, kind: str, root: Path | None, *, dataset: str | None, backbone: str | None, per_second: float,
    say: Callable[[str], None],
) -> tuple[Archive, Path]:  # fmt: skip
    """Check what was asked for, choose the rest, and write the entry; the entry and the catalog's path.

    Raises:
        CatalogError: A bad or taken name, or a root that isn't there.
        UsageError: A kind that isn't known or built yet, neither root nor dataset, a number out of range.
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
    path = read_settings().catalog
    check_free(path, name)
    try:
        frames = FramesConfig(per_second=per_second)
    except ValidationError as error:
        raise UsageError(f"--per-second is {per_second:g}; {in_words(error.errors()[0])}.") from error
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
        frames=frames,
        embedding=EmbeddingConfig(backbone=backbone),
    )
    add_archive(path, entry)
    return entry, path
