"""The line's own first pass over one film, in this process: sampled, embedded, written to Parquet."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.catalog import Archive
from lib.columns import vectors_of
from lib.lake import Lake
from lib.sections import EmbeddingConfig, FramesConfig
from lib.stages.frame_worker import FrameWorkerFactory
from lib.stages.frames import make_frames
from lib.stages.items import make_items
from lib.stages.making import Work
from lib.stages.sources import register


@dataclass(frozen=True, slots=True)
class Made:
    """What a pass left in the lake."""

    seconds: float
    frames: int
    runtime: str
    work: Work
    shard: str

    def pts(self) -> list[int]:
        """Which frames were taken, as `read_frames_at` wants them."""
        ticks: list[int] = self.work.rows("frames", self.shard, ["pts"]).column("pts").to_pylist()
        return ticks

    def vectors(self, name: str) -> np.ndarray:
        """`cls` or `patch_mean`, (frames, dim) float16, as they lie in the Parquet file."""
        return vectors_of(self.work.rows("frame_embeddings", self.shard), name)


class Line:
    """A folder with one film as an archive, and a worker that holds the model, as an actor does.

    A pass is `make_frames` as in production, with thumbnails, both Parquet files and the ledger, but for Ray:
    its start-up would be counted. Each pass writes into a lake of its own, in `scratch`.
    """

    def __init__(self, spec: str, film: Path, scratch: Path, *, per_second: float = 1.0) -> None:
        self._archive = Archive(
            name="bench",
            kind="video",
            root=str(film.parent),
            frames=FramesConfig(per_second=per_second),
            embedding=EmbeddingConfig(backbone=spec),
        )
        self._scratch = scratch
        embedding = self._archive.embedding
        self._worker = FrameWorkerFactory(embedding.backbone, embedding.size_px, embedding.pooling())()

    def run(self) -> Made:
        """One pass."""
        lake = Lake(tempfile.mkdtemp(prefix="lake-", dir=self._scratch))
        register(self._archive, lake)
        shard = lake.ledger.shards(self._archive.name)[0]
        make_items(Work(lake, self._archive), shard)
        work = Work(lake, self._archive)
        began = time.perf_counter()
        facts = make_frames(work, shard, self)["frame_embeddings"]
        return Made(time.perf_counter() - began, facts.made, facts.notes["runtime"], work, shard)

    def map(
        self, make: Callable[[], Any], tasks: Sequence[Any], *, limit_s: float
    ) -> Iterator[tuple[int, Any]]:
        """As `lib.compute.Compute.map`, on the worker that is there already."""
        for number, task in enumerate(tasks):
            for chunk in self._worker(task):
                yield number, chunk

    def close(self) -> None:
        """As `lib.compute.Compute.close`: nothing was started."""
