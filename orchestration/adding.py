"""`dinolake add`: choose good defaults, and write them down."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lib.catalog import KINDS, SCENE_SIZE_PX, Archive, add_archive, check_free, check_name, in_words
from lib.errors import CatalogError, UnreadableMediaError, UsageError
from lib.sections import EmbeddingConfig, FramesConfig, ScenesConfig
from lib.settings import read_settings
from lib.stac_config import StacConfig
from lib.stages.line import LINES
from orchestration.adding_pairs import pair_sections

# Files that are looked into for the first day of an archive.
_LOOKED_INTO = 400
_NOUNS = {"video": "videos", "scene": "scenes", "pair": "pairs"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user gave for the new entry."""

    name: str
    kind: str
    root: str | None = None
    dataset: str | None = None
    backbone: str | None = None
    per_second: float = 1.0
    pattern: str = ""
    period: str = "week"
    start: str | None = None
    collections: tuple[str, ...] = ()
    bbox: str | None = None
    datetime: str | None = None
    assets: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def is_stac(self) -> bool:
        """Whether the source is a STAC API or catalogue."""
        if self.root is None or self.is_in_bucket:
            return False
        return "://" in self.root or self.root.lower().endswith(".json")

    @property
    def is_in_bucket(self) -> bool:
        """Whether the sources are objects of an S3 store."""
        return self.root is not None and self.root.startswith("s3://")

    @property
    def is_change_set(self) -> bool:
        """Whether the dataset is one of labelled pairs of pictures."""
        from lib import datasets

        return self.dataset is not None and datasets.dataset(self.dataset).read_pairs is not None

    @property
    def folder(self) -> Path | None:
        """The folder of the sources; of pairs, their table."""
        if self.root is None or self.is_stac or self.is_in_bucket:
            return None
        return Path(self.root).expanduser().absolute()


def add_archive_entry(asked: Asked, *, say: Callable[[str], None]) -> tuple[Archive, Path]:
    """Check what was asked for, choose the rest, and write the entry; the entry and the catalog's path.

    Raises:
        CatalogError: A bad or taken name, or a root that isn't there.
        UsageError: A kind that isn't known or built yet, neither root nor dataset, a value that won't do.
    """
    check_name(asked.name)
    _check_source(asked)
    path = read_settings().catalog
    check_free(path, asked.name)
    sections = _sections(asked, say)
    from lib.embedding.backbones import choose_default, resolve

    backbone = asked.backbone
    if backbone is None:
        backbone, notes = choose_default()
        for note in notes:
            say(note)
    resolve(backbone)  # a spec that can't be had is met here, not an hour into a run
    size_px = SCENE_SIZE_PX if asked.kind == "scene" else 224
    if asked.kind == "pair":
        sections |= pair_sections(asked.folder, asked.dataset, asked.columns, backbone, say)
    entry = Archive(
        name=asked.name,
        kind=asked.kind,  # type: ignore[arg-type]
        root=str(asked.folder) if asked.folder else asked.root if asked.is_in_bucket else None,
        dataset=asked.dataset,
        embedding=EmbeddingConfig(backbone=backbone, size_px=size_px),
        **sections,
    )
    add_archive(path, entry)
    return entry, path


def _check_source(asked: Asked) -> None:
    if asked.kind not in KINDS:
        raise UsageError(f"kind {asked.kind!r} is none of {', '.join(KINDS)}.")
    if asked.kind not in LINES:
        built = " and ".join(LINES)
        raise UsageError(f"archives of kind {asked.kind!r} aren't built yet; this version has {built}.")
    noun = _NOUNS[asked.kind]
    if not asked.is_stac and (asked.collections or asked.bbox or asked.datetime or asked.assets):
        raise UsageError("--collection, --bbox, --datetime and --asset are for a STAC API or catalogue.")
    if asked.root is None and asked.dataset is None:
        raise UsageError(f"give a folder with the {noun}, or --dataset NAME.")
    if asked.is_stac and asked.kind != "scene":
        raise UsageError(f"{asked.root} is no folder; STAC catalogues are sources of scenes.")
    if asked.is_in_bucket:
        _check_bucket(asked)
    if asked.columns and asked.kind != "pair":
        raise UsageError("--map is for pairs: it says what their table's columns are called.")
    if asked.kind == "pair" and asked.dataset is None:
        if asked.folder is not None and not asked.folder.is_file():
            raise CatalogError(
                f"{asked.root} is no file. Give the CSV that tells the pairs: left,right[,split,…]."
            )
    elif asked.folder is not None and not asked.folder.is_dir():
        raise CatalogError(f"{asked.root} is no folder. Give the folder that holds the {noun}.")
    if asked.dataset is not None:
        from lib.datasets import dataset

        known = dataset(asked.dataset)
        if known.kind != asked.kind:
            raise UsageError(f"dataset {asked.dataset!r} is of kind {known.kind}, not {asked.kind}.")


def _check_bucket(asked: Asked) -> None:
    from lib.bucket import count_objects

    if asked.kind not in ("video", "scene") or asked.dataset is not None:
        raise UsageError(
            "only videos and scenes are taken from a bucket, no tables of pairs or datasets: copy them to a "
            "folder."
        )
    count_objects(asked.root or "")  # a name that was mistyped is met here, not in a run


def _sections(asked: Asked, say: Callable[[str], None]) -> dict[str, Any]:
    option = ""
    if asked.kind == "pair":
        return {}
    try:
        if asked.kind == "video":
            option = f"--per-second is {asked.per_second:g}"
            return {"frames": FramesConfig(per_second=asked.per_second)}
        if asked.is_change_set:
            return {}  # its pictures have neither place nor date
        option = f"--start is {asked.start!r}" if asked.start else f"--period is {asked.period!r}"
        from lib.media.scene_facts import check_pattern

        check_pattern(asked.pattern)
        told = {"pattern": asked.pattern, "period": asked.period}
        start = asked.start or _first_day(asked, say)
        made: dict[str, Any] = {"scenes": ScenesConfig(**told, **({"start": start} if start else {}))}  # type: ignore[arg-type]
        if asked.is_stac:
            option = f"{asked.root}"
            made["stac"] = _stac(asked)
        return made
    except ValidationError as error:
        raise UsageError(f"{option}; {in_words(error.errors()[0])}.") from error


def _stac(asked: Asked) -> StacConfig:
    href = asked.root or ""
    if "://" not in href:
        path = Path(href).expanduser().absolute()
        if not path.is_file():
            raise CatalogError(f"{path} is no file. Give a catalog.json, collection.json or item.json.")
        href = str(path)
    bbox: Any = asked.bbox.split(",") if asked.bbox else None
    return StacConfig(
        href=href, collections=asked.collections, bbox=bbox, datetime=asked.datetime, assets=asked.assets
    )


def _first_day(asked: Asked, say: Callable[[str], None]) -> str | None:
    """New Year's Day of the earliest year that files tell, or that is asked of a catalogue."""
    if asked.is_stac:
        from_day = (asked.datetime or "").partition("/")[0][:4]
        return f"{from_day}-01-01" if from_day.isdigit() else None
    if asked.folder is None:
        return None
    from lib.media.scene_facts import probe_scene
    from lib.stages.scan import SCENES, scan

    root = asked.folder
    days: list[date] = []
    faults: list[str] = []
    for seen in scan(root, SCENES):
        if seen.reason or len(days) + len(faults) >= _LOOKED_INTO:
            continue
        try:
            days.append(probe_scene(root / seen.path, pattern=asked.pattern).acquired.date())
        except (UnreadableMediaError, FileNotFoundError) as error:
            faults.append(f"{seen.path}: {error}")
    if faults and not days:
        say(f"no scene with a date was found yet; {faults[0]}")
    return f"{min(days).year}-01-01" if days else None
