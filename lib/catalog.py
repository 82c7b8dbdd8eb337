"""The catalog: which archives there are and how each is processed. One TOML file that people edit too."""

import difflib
import os
import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

import tomlkit
from filelock import FileLock
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from lib.alignment.config import AlignerConfig
from lib.cron import check_cron
from lib.errors import CatalogError
from lib.sections import (
    ChangeConfig,
    ClipsConfig,
    EmbeddingConfig,
    FramesConfig,
    IndexConfig,
    LandCoverConfig,
    PairsConfig,
    ScenesConfig,
    Section,
    SummaryConfig,
    WatchConfig,
)
from lib.stac_config import StacConfig

Kind = Literal["video", "scene", "pair", "image"]
KINDS: tuple[Kind, ...] = ("video", "scene", "pair", "image")
# Dagster refuses hyphens in groups and jobs, and the lake keeps its own folders behind an underscore.
NAME = re.compile(r"[a-z][a-z0-9_]*")
# What the change recipe was measured with: windows of 256 px, two maps of the network.
SCENE_SIZE_PX = 256
SCENE_POOLING = ("cls", "patch_mean", "patch_grid", "deep_grid")
_VIDEO_SECTIONS = ("frames", "clips", "summary")
_SCENE_SECTIONS = ("scenes", "change", "land_cover")
# By line, the sections that it has no use for.
_PAIR_SECTIONS = ("pairs", "aligner")
_OTHERS = {
    "video": (*_SCENE_SECTIONS, *_PAIR_SECTIONS),
    "scene": (*_VIDEO_SECTIONS, *_PAIR_SECTIONS),
    "pair": (*_VIDEO_SECTIONS, *_SCENE_SECTIONS),
    "image": (*_VIDEO_SECTIONS, *_SCENE_SECTIONS, *_PAIR_SECTIONS),
    "change_set": (*_VIDEO_SECTIONS, *_SCENE_SECTIONS, *_PAIR_SECTIONS, "index"),
}


class Archive(Section):
    """One archive as the catalog describes it."""

    name: str
    kind: Kind
    root: str | None = Field(
        default=None,
        description="folder of the sources, or s3://BUCKET/PREFIX; left out when a dataset is downloaded",
    )
    dataset: str | None = Field(default=None, description="a public dataset of lib/datasets")
    stac: StacConfig | None = Field(
        default=None, description="a STAC API or catalogue of scenes, in place of a folder"
    )
    mirror: str | None = Field(default=None, description="address that replaces the dataset's own")
    acknowledge_licence: bool = Field(
        default=False, description="the dataset's licence was read and agreed to"
    )
    shard_items: int = Field(default=64, ge=1, description="most items in a shard")
    shard_bytes: int = Field(
        default=2 << 30, ge=1, description="a shard is closed when its sources reach this size"
    )
    max_rejected_pct: float | None = Field(
        default=None, ge=0, le=100, description="fail the run above this share of rejects"
    )
    reprocess: str | None = Field(
        default=None, description='when stale shards are made again, as a cron line: "0 3 * * 0"'
    )
    watch: WatchConfig = WatchConfig()
    frames: FramesConfig = FramesConfig()
    embedding: EmbeddingConfig
    clips: ClipsConfig = ClipsConfig()
    index: IndexConfig = IndexConfig()
    summary: SummaryConfig = SummaryConfig()
    scenes: ScenesConfig = ScenesConfig()
    change: ChangeConfig = ChangeConfig()
    land_cover: LandCoverConfig = LandCoverConfig()
    pairs: PairsConfig | None = Field(
        default=None, description="of a pair archive: what its two sides are, and where they are told"
    )
    aligner: AlignerConfig = AlignerConfig()

    def pair_sides(self) -> PairsConfig:
        """What a pair archive's two sides are."""
        if self.pairs is None:
            raise CatalogError(f"archive {self.name!r} is of kind {self.kind}: it has no sides.")
        return self.pairs

    def pooling(self) -> tuple[str, ...]:
        """Names of the vectors kept for each sample."""
        # A scene's grids are what changes, land cover and places are told from.
        return SCENE_POOLING if self.kind == "scene" else self.embedding.pooling()

    @property
    def line(self) -> str:
        """The line that it runs through: its kind's, or `change_set` for labelled pairs of pictures."""
        has_pairs = self.kind == "scene" and self.dataset is not None and _has_pairs(self.dataset)
        return "change_set" if has_pairs else self.kind

    @property
    def is_in_bucket(self) -> bool:
        """Whether its sources are objects of an S3 store; they are mirrored into the lake."""
        return self.root is not None and self.root.startswith("s3://")

    def as_entry(self) -> dict[str, Any]:
        """What the catalog says of it: every default, of the sections that its line has."""
        entry = self.model_dump(exclude={"name", *_OTHERS[self.line]}, exclude_none=True)
        if self.kind in ("scene", "pair"):
            del entry["embedding"]["grid"]
        if self.line == "scene":
            del entry["shard_items"], entry["shard_bytes"]
        return entry

    @field_validator("name")
    @classmethod
    def _name_is_plain(cls, name: str) -> str:
        check_name(name)
        return name

    @field_validator("reprocess")
    @classmethod
    def _schedule_is_cron(cls, reprocess: str | None) -> str | None:
        if reprocess is not None:
            check_cron(reprocess)
        return reprocess

    @model_validator(mode="after")
    def _scenes_are_seen_at_their_size(self) -> "Archive":
        if self.kind == "scene" and self.embedding.size_px != SCENE_SIZE_PX:
            raise ValueError(f"a scene's windows are of {SCENE_SIZE_PX} px: set embedding.size_px to that")
        return self

    @model_validator(mode="after")
    def _bucket_holds_files_of_its_own(self) -> "Archive":
        if self.is_in_bucket and (self.kind == "pair" or self.dataset is not None):
            raise ValueError(
                f"root = {self.root!r}: videos and scenes are taken from a bucket, not tables of pairs or "
                "datasets; copy them to a folder"
            )
        return self

    @model_validator(mode="after")
    def _pairs_have_sides(self) -> "Archive":
        if self.kind == "pair" and self.pairs is None:
            raise ValueError("an archive of pairs says what its sides are: give it a section `pairs`")
        return self


@cache
def _has_pairs(name: str) -> bool:
    from lib.datasets import dataset

    try:
        return dataset(name).read_pairs is not None
    except CatalogError:
        return False  # an unknown dataset is named when its files are wanted


def check_name(name: str) -> None:
    """Refuse a name that Dagster or the lake would trip over, with the nearest good one."""
    if not NAME.fullmatch(name):
        # Accents off, so that they don't take their letters with them.
        plain = unicodedata.normalize("NFKD", name.lower()).encode("ascii", "ignore").decode()
        near = re.sub(r"[^a-z0-9]+", "_", plain).strip("_") or "archive"
        near = near if NAME.fullmatch(near) else f"a_{near}"
        raise CatalogError(f"archive name {name!r} won't do: names are [a-z][a-z0-9_]*. Try {near!r}.")


class Catalog:
    """The archives by name, read once from a TOML file."""

    def __init__(self, path: Path, archives: Mapping[str, Archive]):
        self.path = path
        self.archives = dict(archives)

    def archive(self, name: str) -> Archive:
        """The archive of that name.

        Raises:
            CatalogError: No such archive; the message has the nearest names.
        """
        if name in self.archives:
            return self.archives[name]
        near = difflib.get_close_matches(name, self.archives, n=3)
        known = ", ".join(near or sorted(self.archives)[:10]) or "none yet"
        raise CatalogError(
            f"no archive named {name!r} in {self.path} (known: {known}). "
            f"`dinolake add {name} KIND FOLDER` makes one, of kind video or scene."
        )


def read_catalog(path: Path) -> Catalog:
    """Read and check the whole file; a file that isn't there is an empty catalog.

    Raises:
        CatalogError: A folder, no TOML, an unknown key, a value out of range; the message names the entry.
    """
    if path.exists() and not path.is_file():
        raise CatalogError(
            f"the catalog {path} is no file. Point DINOLAKE_CATALOG at a TOML file, or a new name."
        )
    if not path.is_file():
        return Catalog(path, {})
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path} is no TOML: {error}. Mend the line it names.") from error
    entries = raw.get("archives", {})
    if set(raw) - {"archives"} or not isinstance(entries, dict):
        raise CatalogError(f"{path}: only tables [archives.NAME] are known, found {sorted(raw)}.")
    return Catalog(path, {name: _parse(path, name, entry) for name, entry in entries.items()})


def _parse(path: Path, name: str, entry: Any) -> Archive:
    if not isinstance(entry, dict):
        raise CatalogError(
            f"{path}: [archives.{name}] is no table. `dinolake add` shows what one looks like."
        )
    check_name(name)
    try:
        return Archive(**{**entry, "name": name})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("archives", name, *first["loc"]))
        if first["type"] == "extra_forbidden":
            raise CatalogError(f"{path}: {where} is no known key. {_nearest_key(first['loc'])}") from error
        if first["type"] == "missing":
            raise CatalogError(f"{path}: {where} is missing. {_described(first['loc'])}") from error
        raise CatalogError(f"{path}: {where} is {first['input']!r}; {in_words(first)}.") from error


def in_words(fault: ErrorDetails) -> str:
    """What pydantic finds wrong with a value, as the rest of a sentence about it."""
    if fault["type"] == "model_type":
        return "it should be a table"
    return fault["msg"].removeprefix("Value error, ").replace("Input should", "it should", 1)


def _section(loc: Sequence[int | str]) -> type[Section]:
    """The section that a key stands in."""
    section: type[Section] = Archive
    for part in loc[:-1]:
        field = section.model_fields.get(str(part))
        if field is not None and isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            section = field.annotation
    return section


def _nearest_key(loc: Sequence[int | str]) -> str:
    known = [key for key in _section(loc).model_fields if key != "name"]
    near = difflib.get_close_matches(str(loc[-1]), known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Known here: {', '.join(known)}."


def _described(loc: Sequence[int | str]) -> str:
    about = _section(loc).model_fields[str(loc[-1])].description
    return f"It is {about}." if about else "`dinolake add` shows what an entry looks like."


def check_free(path: Path, name: str) -> None:
    """Refuse a name that the catalog has.

    Raises:
        CatalogError: The name is taken.
    """
    if name in read_catalog(path).archives:
        raise CatalogError(f"archive {name!r} is in {path} already. Edit its entry, or choose another name.")


def add_archive(path: Path, archive: Archive) -> None:
    """Write a new entry, with every default it was given, keeping the file's comments and order.

    Raises:
        CatalogError: The name is taken.
    """
    with _editing(path) as document:
        check_free(path, archive.name)
        archives = document.setdefault("archives", tomlkit.table(is_super_table=True))
        archives[archive.name] = archive.as_entry()


def set_backbone(path: Path, name: str, backbone: str) -> None:
    """Change the backbone of an entry; what was embedded under the old one stays beside."""
    with _editing(path) as document:
        document["archives"][name]["embedding"]["backbone"] = backbone


@contextmanager
def _editing(path: Path) -> Iterator[tomlkit.TOMLDocument]:
    """The file as a document that keeps its comments; written whole when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.is_file() else tomlkit.document()
        yield document
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_text(tomlkit.dumps(document), encoding="utf-8")
        partial.replace(path)
