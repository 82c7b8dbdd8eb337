"""The scene line's speed: how much of embedding windows is the network, and change."""

import itertools
import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.figures import Figure, seconds
from lib.catalog import SCENE_SIZE_PX, Archive
from lib.embedding.embed import Embedder
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
from lib.stages.tiles import make_tiles, read_tile
from lib.stages.window_embeddings import make_window_embeddings
from lib.stages.window_worker import WindowWorkerFactory
from lib.stages.windows import make_windows
from lib.tasks.change_dates import open_dates
from lib.tasks.window_views import POOLING, VIEWS, views_of

SHARE_GOAL, STORED_GOAL, PAIR_LIMIT = 0.85, 20.0, 1.3
_DAYS = ("20240102", "20240109")


def make_scenes(folder: Path, *, side_px: int) -> None:
    """Two dates of one made place, 16-bit and 4 bands, with blocks built on the second."""
    import rasterio

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


def measure_scenes(folder: Path, spec: str, *, name: str, side_px: int, repeats: int) -> list[Figure]:
    """Bare forwards against making `window_embeddings`, and both dates' against making `changes` of them."""
    make_scenes(folder / "scenes", side_px=side_px)
    archive = Archive(
        name="bench",
        kind="scene",
        root=str(folder / "scenes"),
        embedding=EmbeddingConfig(backbone=spec, size_px=SCENE_SIZE_PX),
        scenes=ScenesConfig(start=date(2024, 1, 1)),
    )
    worker = WindowWorkerFactory(spec, SCENE_SIZE_PX, archive.pooling())()
    lake = Lake(folder / "lake")
    register(archive, lake)
    for shard in lake.ledger.shards("bench"):
        make_scene_items(Work(lake, archive), shard)
    make_tiles(Work(lake, archive))
    work = Work(lake, archive)
    first, second = work.prints.shards
    for shard in (first, second):
        make_windows(work, shard)
        make_window_embeddings(work, shard, InProcess(worker))
    # Once untimed, as the embedding was: neither is charged for what a process loads.
    make_changes(work, second)
    shares, stored, told = [], [], ""
    for _ in range(repeats):
        bare_s, forwards = _bare(worker, work, first)
        line_s = _again(work, "window_embeddings", first, lambda: make_window_embeddings(
            work, first, InProcess(worker)
        ))  # fmt: skip
        change_s = _again(work, "changes", second, lambda: make_changes(work, second))
        shares.append(bare_s / line_s)
        stored.append(2 * line_s / change_s)
        told = f"{forwards} forwards {bare_s:.1f} s, the stage {line_s:.1f} s, changes {change_s:.1f} s"
    of = f"a scene of {side_px} x {side_px} px, 4 x 16 bit, {name}"
    return [
        Figure(
            f"window_embeddings: share of the wall time that its bare forwards take, {of}",
            "the same pictures through the network, read and cut beforehand",
            tuple(shares), SHARE_GOAL, detail=told,
        ),
        Figure(
            f"change on stored vectors, {of}", "embedding both dates for it", tuple(stored), STORED_GOAL,
            detail=told,
        ),
    ]  # fmt: skip


def measure_pair(folder: Path, spec: str, *, side_px: int, repeats: int) -> Figure:
    """`dinolake change` of two files from a cold shell, against the bare forwards of as many pictures."""
    make_scenes(folder, side_px=side_px)
    before, after = (folder / f"T33UWP_{day}.tif" for day in _DAYS)
    out = folder / "out"
    program = Path(sys.executable).with_name("dinolake")
    command = [program, "change", before, after, "-o", out, "--backbone", spec]
    embedder = Embedder(spec, size_px=WINDOW_PX, pooling=POOLING)
    with open_dates(before, after) as dates:
        starts = range(0, min(side_px - WINDOW_PX, 4 * STRIDE_PX) + 1, STRIDE_PX)
        windows = [dates.view(top, left, WINDOW_PX, WINDOW_PX)[0] for top in starts for left in starts]
    pictures = [view for window in windows for view in views_of(window)]

    def forwards(count: int) -> None:
        deque(embedder.embed(itertools.islice(itertools.cycle(pictures), count)), maxlen=0)

    forwards(len(pictures))
    ratios, told = [], ""
    for _ in range(repeats):
        change_s = seconds(lambda: subprocess.run(command, check=True, capture_output=True))
        count = json.loads((out / "summary.json").read_text())["forwards"]
        bare_s = seconds(partial(forwards, count))
        ratios.append(change_s / bare_s)
        told = f"{count} forwards {bare_s:.1f} s, the command {change_s:.1f} s"
    return Figure(
        f"dinolake change from a cold shell, two files of {side_px} x {side_px} px, 4 x 16 bit, {spec}",
        "the bare forwards that its recipe needs", tuple(ratios), PAIR_LIMIT, is_at_most=True, detail=told,
    )  # fmt: skip


def _again(work: Work, stage: str, shard: str, make: Callable[[], Any]) -> float:
    work.lake.path(work.place(stage, shard)).unlink(missing_ok=True)
    began = time.perf_counter()
    make()
    return time.perf_counter() - began


def _bare(worker: Any, work: Work, shard: str) -> tuple[float, int]:
    """Seconds that the forwards alone take of what the stage embeds, its perturbed windows included."""
    tile = read_tile(work, tile_of(shard))
    item = work.rows("items", shard).to_pylist()[0]
    spoiled = sum(
        len(each or [])
        for block in work.blocks("window_embeddings", shard, None, ["perturbed"])
        for each in block.column("perturbed").to_pylist()
    )
    pictures: list[np.ndarray] = []
    rows = work.rows("windows", shard, ["row", "column"]).to_pylist()
    if tile is None:
        raise AssertionError("the scene was embedded")
    with tile.open(Path(work.root / item["path"]), work.archive.scenes) as scene:
        for place in rows:
            pictures += list(views_of(scene.read(place["row"], place["column"])[0]))
    pictures += pictures[: spoiled * VIEWS]
    began = time.perf_counter()
    for _ in worker._embedder.embed(iter(pictures)):
        pass
    return time.perf_counter() - began, len(pictures)
