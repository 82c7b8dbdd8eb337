"""Archives of made pairs, and the pair line run on them stage by stage, without Dagster."""

import csv
from pathlib import Path

import numpy as np
from factories import ground
from PIL import Image

from lib.alignment.config import AlignerConfig
from lib.catalog import Archive
from lib.compute import InlineCompute
from lib.lake import Facts, Lake
from lib.sections import EmbeddingConfig, PairsConfig, SideConfig
from lib.stages.aligner import make_aligner
from lib.stages.gallery_index import make_gallery_index
from lib.stages.making import Work
from lib.stages.pair_items import make_pair_items
from lib.stages.retrieval_report import make_retrieval_report
from lib.stages.shared_embeddings import make_shared_embeddings
from lib.stages.side_embeddings import make_side_embeddings
from lib.stages.sources import register

SIZE = (64, 64)


def write_views(folder: Path, place: int) -> tuple[str, str]:
    """Two views of one place: as it is, and with its colours changed and turned by a quarter."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = ground(SIZE, seed=place)
    names = f"day_{place:03d}.png", f"night_{place:03d}.png"
    Image.fromarray(pixels).save(folder / names[0])
    Image.fromarray(np.ascontiguousarray(np.rot90(255 - pixels[..., ::-1]))).save(folder / names[1])
    return names


def write_table(path: Path, rows: list[dict], columns: tuple[str, ...] = ("left", "right")) -> Path:
    """A CSV of these rows."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def pair_archive(table: Path, *, left: str = "picture", right: str = "picture", **told) -> Archive:
    views = told.pop("views", "turned" if (left, right) == ("picture", "picture") else "upright")
    sides = {
        side: SideConfig(kind=kind, **({} if kind == "text" else {"views": views}))
        for side, kind in (("left", left), ("right", right))
    }
    pairs = {name: told.pop(name) for name in ("test_share", "folder", "columns") if name in told}
    return Archive(
        name="towns",
        kind="pair",
        root=str(table),
        pairs=PairsConfig(**sides, **pairs),
        **(
            {
                "embedding": EmbeddingConfig(backbone="efficientnet_lite0", size_px=64),
                # Enough to be fitted; how good heads get is tested elsewhere.
                "aligner": AlignerConfig(folds=2, nets=1, epochs=4),
            }
            | told
        ),
    )


def make_line(lake: Lake, archive: Archive, *, until: str = "") -> dict[str, dict[str, Facts]]:
    """All stages: stage -> shard -> what it came to; only what a run would make is made."""
    register(archive, lake)
    made: dict[str, dict[str, Facts]] = {}

    def each(stage, make):
        work = Work(lake, archive)
        made[stage] = {shard: make(work, shard) for shard in work.prints.shards}

    each("items", make_pair_items)
    for side in ("left", "right"):
        each(f"{side}_embeddings", lambda w, s, side=side: make_side_embeddings(w, s, side, InlineCompute()))
    if until == "embeddings":
        return made
    made["aligner"] = {"all": make_aligner(Work(lake, archive))}
    each("shared_embeddings", make_shared_embeddings)
    made["gallery_index"] = {"all": make_gallery_index(Work(lake, archive))}
    make_retrieval_report(Work(lake, archive))
    return made


def rows_of(lake: Lake, archive: Archive, stage: str) -> list[dict]:
    """A stage's rows over all shards."""
    work = Work(lake, archive)
    return [row for shard in work.prints.shards for row in work.rows(stage, shard).to_pylist()]
