"""The sections of an archive's catalog entry, each with its defaults and what they mean."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lib.media.sampling import Sampling
from lib.search.kinds import KINDS as INDEX_KINDS


class Section(BaseModel):
    """A table of the entry: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FramesConfig(Section):
    """Which frames of a video are looked at."""

    mode: Literal["interval", "scene", "keyframes"] = Field(
        default="interval",
        description="interval: by time; scene: one at each cut; keyframes: what the encoder chose",
    )
    per_second: float = Field(default=1.0, ge=0.001, le=60, description="frames a second in interval mode")
    # Off, because alike to the eye isn't alike to a backbone: of 483 frames of eleven real videos (4/s) it
    # skipped 76, whose CLS had a cosine of .985 to the kept frame's (median; 5 % below .957; fades .55).
    skip_similar: bool = Field(
        default=False, description="skip a frame that hardly differs from the last kept one"
    )
    similar_luma: float = Field(
        default=2.0, ge=0, le=255, description="mean luma difference (0-255) called similar"
    )
    limit_s: float = Field(
        default=600.0, gt=0, description="give up on a video whose decoding takes longer, in seconds"
    )

    def sampling(self) -> Sampling:
        """The part that decides which frames are taken."""
        return Sampling(self.mode, self.per_second, self.skip_similar, self.similar_luma)


class EmbeddingConfig(Section):
    """Which backbone sees the frames, and what is kept of its answer."""

    backbone: str = Field(description="a backbone spec, as `dinolake embed --help` lists them")
    size_px: int = Field(
        default=224, ge=32, le=2048, description="side of the square picture the backbone sees"
    )
    grid: bool = Field(default=False, description="also keep every patch's vector (large)")

    def pooling(self) -> tuple[str, ...]:
        """Names of the vectors kept for each sample."""
        return ("cls", "patch_mean", "patch_grid") if self.grid else ("cls", "patch_mean")


class ClipsConfig(Section):
    """The windows that search finds."""

    length_s: float = Field(default=4.0, gt=0, description="length of a window in seconds")
    stride_s: float = Field(default=2.0, gt=0, description="from one window's start to the next, in seconds")


class IndexConfig(Section):
    """How vectors are found again."""

    kind: str = Field(
        default="auto", description="auto: by size and memory; else a kind of lib/search/kinds.py's table"
    )
    min_recall: float = Field(
        default=0.98, ge=0, le=1, description="recall@10 below which an index isn't published"
    )

    @field_validator("kind")
    @classmethod
    def _kind_is_known(cls, kind: str) -> str:
        known = ("auto", *(row.name for row in INDEX_KINDS))
        if kind not in known:
            raise ValueError(f"it should be one of {', '.join(known)}")
        return kind


class SummaryConfig(Section):
    """How a video is summed up."""

    method: Literal["kts", "kmeans"] = Field(
        default="kts", description="kts: shots under a budget; kmeans: fixed clips"
    )
    budget: float = Field(default=0.15, gt=0, le=1, description="share of the video's length, for kts")
    clips: int = Field(default=5, ge=1, description="number of clips, for kmeans")
    clip_seconds: float = Field(default=2.0, ge=0.1, description="length of a clip, for kmeans")


class ScenesConfig(Section):
    """When and where a scene was taken, where its file doesn't tell, and which of its bands are seen."""

    start: date = Field(
        default=date(2015, 1, 1),
        description="first day of the archive's periods; older scenes are refused",
    )
    period: Literal["week", "month"] = Field(default="week", description="the time side of a cell")
    pattern: str = Field(
        default="",
        description="names of the files without ending: {tile}_%Y%m%d, %Y; * for anything",
    )
    tile_grid: str = Field(
        default="mgrs",
        description="tiles of scenes that name none: mgrs (100 km), or fixed:SIZE in CRS units",
    )
    bands: tuple[int, int, int] | None = Field(
        default=None, description="numbers of the bands seen as red, green, blue; left out: as the files tell"
    )
    cloud_band: int | None = Field(
        default=None, ge=1, description="number of a band that is not 0 under cloud; left out: by its name"
    )

    @field_validator("start")
    @classmethod
    def _start_has_come(cls, start: date) -> date:
        if start > date.today():
            raise ValueError("it should not lie in the future")
        return start


class WatchConfig(Section):
    """How an archive's sources are watched, by `dinolake ui` or `make dev`."""

    is_on: bool = Field(default=True, description="whether a sensor looks for new, changed and removed files")
    every_s: int | None = Field(
        default=None,
        ge=5,
        description="seconds between two looks; left out: 30, of a bucket 300, of STAC 3600",
    )
    max_removed_pct: float = Field(
        default=30.0, ge=0, le=100,
        description="share of the known items that may vanish at once; more looks like a disk not mounted",
    )  # fmt: skip
    quiet_after_days: float | None = Field(
        default=None, gt=0, description="days without a new file after which a check fails; left out: none"
    )
    retry_minutes: int = Field(
        default=10, ge=1, le=59, description="minutes after which what failed is tried again by itself"
    )
    index_lag_hours: float = Field(
        default=6.0,
        gt=0,
        description="hours that an index may lack what its shards hold before a check fails",
    )


class LandCoverConfig(Section):
    """Labels that a map of classes is made by."""

    labels: str | None = Field(
        default=None,
        description="a vector file of points and areas, or a folder of pictures, one folder a class",
    )
    class_column: str = Field(default="class", description="the vector file's column that names the class")


class ChangeConfig(Section):
    """How an acquisition is held against those before it."""

    history: int = Field(
        default=6,
        ge=0,
        le=50,
        description="acquisitions looked back on where four or more stand; 0: the previous one only",
    )
    min_area_m2: float = Field(default=0.0, ge=0, description="smaller changes are left out")


class SideConfig(Section):
    """One side of the pairs: what it is, and what is kept of it."""

    kind: Literal["picture", "depth", "text"] = Field(
        description="picture, depth (a 16-bit or floating-point map of distances), or text"
    )
    column: str = Field(default="", description="the table's column; left out, the side's own name")
    views: Literal["upright", "turned"] = Field(
        default="upright",
        description="upright: as it is; turned: mean over turns, flips and a crop, for an unknown heading",
    )
    features: tuple[Literal["cls", "patch_mean", "grid", "deep"], ...] = Field(
        default=("cls", "patch_mean"),
        description="vectors kept: cls, patch_mean, grid (5 x 5 means of patches), deep (of the last map)",
    )
    encoder: str = Field(default="minilm", description="of text: minilm, hf:FOLDER or dinotxt:FILE")
    cleaned: Literal["", "report"] = Field(
        default="", description="of text: report keeps a radiology report's findings and impression"
    )

    @field_validator("features")
    @classmethod
    def _some_feature(cls, features: tuple[str, ...]) -> tuple[str, ...]:
        if not features or len(set(features)) < len(features):
            raise ValueError("it should name one feature or more, each once")
        return features


class PairsConfig(Section):
    """Where pairs are told, what their sides are, and which are held back."""

    left: SideConfig
    right: SideConfig
    folder: str = Field(
        default="",
        description="folder that paths start from, and none leaves; left out, the table's own",
    )
    columns: dict[Literal["id", "split", "group", "lon", "lat"], str] = Field(
        default={}, description="columns that are called otherwise in the table"
    )
    test_share: float = Field(
        default=0.3, ge=0, lt=1, description="share of the groups held back, where the table has no split"
    )

    def side(self, name: str) -> SideConfig:
        """`left` or `right`."""
        return self.left if name == "left" else self.right
