"""The scene line's speed: from a scene to vectors, how much of it is the network, and change."""

import itertools
import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from bench.figures import Figure, least_cosine, paired, seconds
from bench.scene_loop import SceneLoop
from lib.catalog import SCENE_SIZE_PX, Archive
from lib.columns import vectors_of
from lib.embedding.embed import Embedder
from lib.embedding.pictures import squash
from lib.lake import Lake
from lib.media.geotiff import Bands, write_bands
from lib.media.lattice import STRIDE_PX, WINDOW_PX
from lib.media.raster import Grid
from lib.sections import EmbeddingConfig, ScenesConfig
from lib.stages.acquisitions import tile_of
from lib.stages.changes import make_changes
from lib.stages.making import Work
from lib.stages.scene_items import make_scene_items
from lib.stages.sources import register
from lib.stages.tiles import Tile, make_tiles, read_tile
from lib.stages.window_embeddings import make_window_embeddings
from lib.stages.window_worker import WindowWorkerFactory
from lib.stages.windows import make_windows
from lib.tasks.change_dates import open_dates
from lib.tasks.window_views import POOLING, VIEWS, views_of

VIT_S, DEFAULT = "random:vit_small_patch16_dinov3", "efficientnet_lite0"
LOOP_GOAL, LEAST_COSINE = 2.5, 0.999
SHARE_GOAL, STORED_GOAL, PAIR_LIMIT = 0.85, 20.0, 1.3
_CHANGES = 3  # a change takes parts of a second: the median of so many
_DAYS = ("20240102", "20240109")


def make_scenes(folder: Path, *, side_px: int) -> None:
    """Two dates of one made place, 16-bit and 4 bands, with blocks built on the second."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(side_px // 64 + 2, side_px // 64 + 2, 3))
    ground = np.kron(coarse, np.ones((64, 64, 1)))[:side_px, :side_px] * 250 + 1200
    origin = rasterio.transform.from_origin(5e5, 5.4e6, 10, 10)
    grid = Grid(rasterio.crs.CRS.from_epsg(32633), origin, side_px, side_px)
    for number, day in enumerate(_DAYS):
        values = ground + rng.normal(0, 40, ground.shape)
        for top in range(300, side_px - 200, 700) if number else ():
            values[top : top + 90, 400:520] = 3600
        bands = np.concatenate([values, values[..., :1]], axis=-1).clip(1, 9999).astype(np.uint16)
        names = ("red", "green", "blue", "nir")
        write_bands(folder / f"T33UWP_{day}.tif", Bands(bands.transpose(2, 0, 1), names, grid), tags={})


class InProcess:
    """As `lib.compute.Compute`, on one worker that holds the model: Ray's start-up would be counted."""

    def __init__(self, worker: Callable[[Any], Iterator[Any]]):
        self._worker = worker

    def map(
        self, make: Callable[[], Any], tasks: Sequence[Any], *, limit_s: float
    ) -> Iterator[tuple[int, Any]]:
        """As `Compute.map`."""
        for number, task in enumerate(tasks):
            for chunk in self._worker(task):
                yield number, chunk

    def close(self) -> None:
        """Nothing was started."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    Attributes:
        vit_px: Side of the scene that ViT-S/16 embeds, and the loop too.
        default_px: Side of the scene that the default backbone embeds.
        repeats: Of each.
        has_pair: Whether `dinolake change` is given the default backbone's two dates, too.
    """

    vit_px: int
    default_px: int
    repeats: int
    has_pair: bool


# Against the loop, the size decides: 2.41 to 2.49 times at 576 px (9 windows, six pairs), 2.70 to 3.27 at 768
# (16 windows, six pairs). What a scene costs but for its windows weighs less the larger it is, and real ones
# are of thousands of pixels a side; those would take the loop minutes.
FULL = Effort(768, 2048, 2, has_pair=True)
# Of a smaller pair, one would measure how long a command takes to start.
QUICK = Effort(384, 768, 1, has_pair=False)


def measure(folder: Path, *, quick: bool) -> Sequence[Figure]:
    """A scene becomes vectors, vectors become changes, and two files become changes."""
    effort = QUICK if quick else FULL
    figures: list[Figure] = []
    for name, spec, side_px in (
        ("ViT-S/16 of random weights", VIT_S, effort.vit_px),
        (DEFAULT, DEFAULT, effort.default_px),
    ):
        line = SceneLine(folder / f"line_{len(figures)}", spec, side_px=side_px)
        figures += _of_line(line, name=name, repeats=effort.repeats)
        if spec == VIT_S:
            figures += _against_loop(line, spec, name=name, repeats=effort.repeats)
        elif effort.has_pair:
            figures.append(_of_pair(line, spec, folder / "pair"))
    return figures


class SceneLine:
    """Two dates of a place as an archive, up to their vectors, and a worker that holds the model."""

    def __init__(self, folder: Path, spec: str, *, side_px: int) -> None:
        folder.mkdir()
        self.folder, self.side_px = folder, side_px
        make_scenes(folder / "scenes", side_px=side_px)
        archive = Archive(
            name="bench",
            kind="scene",
            root=str(folder / "scenes"),
            embedding=EmbeddingConfig(backbone=spec, size_px=SCENE_SIZE_PX),
            scenes=ScenesConfig(start=date(2024, 1, 1)),
        )
        self.worker: Any = WindowWorkerFactory(spec, SCENE_SIZE_PX, archive.pooling())()
        lake = Lake(folder / "lake")
        register(archive, lake)
        for shard in lake.ledger.shards("bench"):
            make_scene_items(Work(lake, archive), shard)
        make_tiles(Work(lake, archive))
        self.work = Work(lake, archive)
        self.first, self.second = self.work.prints.shards
        for shard in (self.first, self.second):
            self.make_windows(shard)
            self.make_vectors(shard)
        # Once untimed, as the embedding was: neither is charged for what a process loads.
        self.make_changes()

    def make_windows(self, shard: str) -> float:
        """Seconds."""
        return _again(self.work, "windows", shard, lambda: make_windows(self.work, shard))

    def make_vectors(self, shard: str) -> float:
        """Seconds of `window_embeddings`."""
        worker = InProcess(self.worker)
        return _again(
            self.work, "window_embeddings", shard, lambda: make_window_embeddings(self.work, shard, worker)
        )

    def make_changes(self) -> float:
        """Seconds of `changes` of the second date."""
        return _again(self.work, "changes", self.second, lambda: make_changes(self.work, self.second))

    @property
    def places(self) -> list[tuple[int, int]]:
        """First pixels (row, column) of the first date's windows."""
        rows = self.work.rows("windows", self.first, ["row", "column"]).to_pylist()
        return [(row["row"], row["column"]) for row in rows]

    def spoiled(self) -> dict[int, list[int]]:
        """Number of a window of the first date -> kinds of perturbation that it was embedded under too."""
        made: dict[int, list[int]] = {}
        number = 0
        for block in self.work.blocks("window_embeddings", self.first, None, ["perturbed"]):
            for told in block.column("perturbed").to_pylist():
                if told:
                    made[number] = [each["kind"] for each in told]
                number += 1
        return made

    @property
    def scene(self) -> Path:
        """The first date's file."""
        return self.folder / "scenes" / f"T33UWP_{_DAYS[0]}.tif"

    @property
    def tile(self) -> Tile:
        """The lattice and the scaling of both."""
        tile = read_tile(self.work, tile_of(self.first))
        if tile is None:
            raise AssertionError("the scene was embedded")
        return tile

    def __str__(self) -> str:
        return f"a scene of {self.side_px} x {self.side_px} px, 4 x 16 bit"


def _of_line(line: SceneLine, *, name: str, repeats: int) -> list[Figure]:
    """Bare forwards against making `window_embeddings`, and both dates' against making `changes` of them."""
    shares, stored, told = [], [], ""
    for _ in range(repeats):
        bare_s, forwards = _bare(line)
        line_s = line.make_vectors(line.first)
        change_s = float(np.median([line.make_changes() for _ in range(_CHANGES)]))
        shares.append(bare_s / line_s)
        stored.append(2 * line_s / change_s)
        told = f"{forwards} forwards {bare_s:.1f} s, the stage {line_s:.1f} s, changes {change_s:.2f} s"
    return [
        Figure(
            f"window_embeddings: share of the wall time that its bare forwards take, {line}, {name}",
            "the same pictures through the network, read, cut and resized beforehand",
            tuple(shares), SHARE_GOAL, detail=told,
        ),
        Figure(
            f"change on stored vectors, {line}, {name}", "embedding both dates for it", tuple(stored),
            STORED_GOAL, detail=told,
        ),
    ]  # fmt: skip


def _against_loop(line: SceneLine, spec: str, *, name: str, repeats: int) -> list[Figure]:
    """The stages `windows` and `window_embeddings` against the plain loop, and their vectors."""
    loop, tile, places, spoiled = SceneLoop(spec, SCENE_SIZE_PX), line.tile, line.places, line.spoiled()
    # The lattice begins where the first scene does, so that a window has the same place in the file.
    out, found = line.folder / "loop.parquet", []

    def theirs() -> float:
        return seconds(
            lambda: found.append(loop.run(line.scene, places, spoiled, scaling=tile.scaling, out=out))
        )

    pairs = paired(
        lambda: line.make_windows(line.first) + line.make_vectors(line.first), theirs, repeats=repeats
    )
    ours = vectors_of(line.work.rows("window_embeddings", line.first), "cls")
    views = VIEWS * (len(places) + sum(map(len, spoiled.values())))
    return [
        Figure(
            f"scene to vectors, {line}, {name}",
            f"rasterio {rasterio.__version__} reads a window, eager fp32 torch embeds view by view",
            pairs.speedups,
            LOOP_GOAL,
            detail=f"{len(places)} windows, {views} views on both sides: loop {pairs.theirs_s:.1f} s, ours "
            f"{pairs.ours_s:.1f} s with thumbnails and ledger; {pairs.calm}. Models loaded before, no Ray",
        ),
        Figure(
            f"least cosine, scene to vectors, {name}",
            "the loop's vectors (eager fp32) of the same windows",
            (least_cosine(ours, found[-1]),),
            LEAST_COSINE,
            detail=f"CLS of {len(places)} windows",
        ),
    ]


def _of_pair(line: SceneLine, spec: str, out: Path) -> Figure:
    """`dinolake change` of two files from a cold shell, against the bare forwards of as many pictures."""
    before, after = (line.folder / "scenes" / f"T33UWP_{day}.tif" for day in _DAYS)
    program = Path(sys.executable).with_name("dinolake")
    command = [program, "change", before, after, "-o", out, "--backbone", spec]
    embedder = Embedder(spec, size_px=WINDOW_PX, pooling=POOLING)
    with open_dates(before, after) as dates:
        starts = range(0, min(line.side_px - WINDOW_PX, 4 * STRIDE_PX) + 1, STRIDE_PX)
        windows = [dates.view(top, left, WINDOW_PX, WINDOW_PX)[0] for top in starts for left in starts]
    pictures = [view for window in windows for view in views_of(window)]

    def forwards(count: int) -> None:
        deque(embedder.embed(itertools.islice(itertools.cycle(pictures), count)), maxlen=0)

    forwards(len(pictures))
    change_s = seconds(lambda: subprocess.run(command, check=True, capture_output=True))
    count = json.loads((out / "summary.json").read_text())["forwards"]
    bare_s = seconds(partial(forwards, count))
    return Figure(
        f"dinolake change from a cold shell, two files of {line.side_px} x {line.side_px} px, {spec}",
        "the bare forwards that its recipe needs", (change_s / bare_s,), PAIR_LIMIT, is_at_most=True,
        detail=f"{count} forwards {bare_s:.1f} s, the command {change_s:.1f} s",
    )  # fmt: skip


def _again(work: Work, stage: str, shard: str, make: Callable[[], Any]) -> float:
    work.lake.path(work.place(stage, shard)).unlink(missing_ok=True)
    began = time.perf_counter()
    make()
    return time.perf_counter() - began


def _bare(line: SceneLine) -> tuple[float, int]:
    """Seconds that the forwards alone take of what the stage embeds, its perturbed windows included."""
    spoiled = sum(map(len, line.spoiled().values()))
    pictures: list[np.ndarray] = []
    with line.tile.open(line.scene, line.work.archive.scenes) as scene:
        for row, column in line.places:
            pictures += [squash(view, SCENE_SIZE_PX) for view in views_of(scene.read(row, column)[0])]
    count = len(pictures) + spoiled * VIEWS
    began = time.perf_counter()
    deque(line.worker._embedder.embed(itertools.islice(itertools.cycle(pictures), count)), maxlen=0)
    return time.perf_counter() - began, count
