"""Archives of made scenes, and the scene line run on them stage by stage, without Dagster."""

from datetime import date
from pathlib import Path

import numpy as np
from factories import ground, write_geotiff

from lib.catalog import SCENE_SIZE_PX, Archive
from lib.compute import InlineCompute
from lib.lake import Facts, Lake
from lib.sections import ChangeConfig, EmbeddingConfig, ScenesConfig
from lib.stages.centring import make_centring
from lib.stages.changes import make_changes
from lib.stages.land_cover import make_land_cover
from lib.stages.making import Work
from lib.stages.scene_index import make_scene_index
from lib.stages.scene_items import make_scene_items
from lib.stages.sources import register
from lib.stages.tiles import make_tiles
from lib.stages.window_embeddings import make_window_embeddings
from lib.stages.windows import make_windows

SIZE = (320, 320)


def scene_archive(root: Path, *, history: int = 6, **scenes) -> Archive:
    root.mkdir(parents=True, exist_ok=True)
    return Archive(
        name="fields",
        kind="scene",
        root=str(root),
        embedding=EmbeddingConfig(backbone="efficientnet_lite0", size_px=SCENE_SIZE_PX),
        scenes=ScenesConfig(**({"start": date(2024, 1, 1)} | scenes)),
        change=ChangeConfig(history=history),
    )


def write_scene(root: Path, day: str, *, tile: str = "farm", seed: int = 0, built: int = 0, **more) -> Path:
    """`farm_20240105.tif`: one place with its own noise of the day, and so many blocks built on it."""
    pixels = ground(SIZE, seed=seed).astype(int)
    noise = np.random.default_rng(int(day)).normal(0, 1.5, pixels.shape)
    for number in range(built):
        top, left = 60 + 90 * (number // 2), 50 + 120 * (number % 2)
        pixels[top : top + 64, left : left + 64] = 225
        pixels[top + 8 : top + 56 : 12, left : left + 64] = 190
    return write_geotiff(root / f"{tile}_{day}.tif", np.clip(pixels + noise, 0, 255).astype(np.uint8), **more)


def make_line(lake: Lake, archive: Archive) -> dict[str, dict[str, Facts]]:
    """All stages: stage -> shard -> what it came to; only what a run would make is made."""
    register(archive, lake)
    made: dict[str, dict[str, Facts]] = {}

    def each(stage, make):
        work = Work(lake, archive)
        made[stage] = {shard: make(work, shard) for shard in work.prints.shards}

    each("items", make_scene_items)
    made["tiles"] = {"all": make_tiles(Work(lake, archive))}
    each("windows", make_windows)
    each("window_embeddings", lambda work, shard: make_window_embeddings(work, shard, InlineCompute()))
    made["centring"] = {"all": make_centring(Work(lake, archive))}
    each("changes", make_changes)
    made["scene_index"] = {"all": make_scene_index(Work(lake, archive))}
    made["land_cover"] = {"all": make_land_cover(Work(lake, archive))}
    return made


def renewed(made: dict[str, dict[str, Facts]], stage: str) -> set[str]:
    """The shards of a stage that something was made of."""
    return {shard for shard, facts in made[stage].items() if facts.made}


def contents(lake: Lake, archive: Archive, stage: str) -> list[dict]:
    """All rows of a stage, shard by shard."""
    work = Work(lake, archive)
    return [row for shard in work.prints.shards for row in work.rows(stage, shard).to_pylist()]
