"""The line's own first pass over films: sampled, embedded, written to Parquet.

`python -m bench.line SPEC SCRATCH WORKERS CPUS_EACH` makes its passes through Ray, on request (bench.passes);
with no workers it makes them in its own process.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from bench.passes import serve
from lib.catalog import Archive
from lib.columns import vectors_of
from lib.inline_compute import Compute
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

    def pts(self, film: Path) -> list[int]:
        """Which frames of a film were taken, as `read_frames_at` wants them."""
        table = self.work.rows("frames", self.shard, ["item", "pts"])
        ticks: list[int] = table.filter(pc.field("item") == film.stem).column("pts").to_pylist()
        return ticks

    def vectors(self, name: str) -> np.ndarray:
        """`cls` or `patch_mean`, (frames, dim) float16, film after film, as they lie in the Parquet file."""
        return vectors_of(self.work.rows("frame_embeddings", self.shard), name)


class Line:
    """A folder of films as an archive, and a worker that holds the model, as an actor does.

    A pass is `make_frames` as in production, with thumbnails, both Parquet files and the ledger. Each writes
    into a lake of its own, in `scratch`.

    Args:
        spec: Of the backbone.
        films: Their folder.
        scratch: Where lakes go.
        per_second: Frames a second.
        compute: Where workers live; None for one in this process, whose model is loaded here and now.
    """

    def __init__(
        self,
        spec: str,
        films: Path,
        scratch: Path,
        *,
        per_second: float = 1.0,
        compute: Compute | None = None,
    ) -> None:
        self._archive = Archive(
            name="bench",
            kind="video",
            root=str(films),
            frames=FramesConfig(per_second=per_second),
            embedding=EmbeddingConfig(backbone=spec),
        )
        self._scratch = scratch
        self._compute = compute or _Held(self._archive.embedding)

    def run(self) -> Made:
        """One pass."""
        lake = Lake(tempfile.mkdtemp(prefix="lake-", dir=self._scratch))
        register(self._archive, lake)
        [shard] = lake.ledger.shards(self._archive.name)
        make_items(Work(lake, self._archive), shard)
        work = Work(lake, self._archive)
        began = time.perf_counter()
        facts = make_frames(work, shard, self._compute)["frame_embeddings"]
        return Made(time.perf_counter() - began, facts.made, facts.notes["runtime"], work, shard)


class _Held:
    """As `lib.compute.Compute`, on a worker that is there already."""

    def __init__(self, embedding: EmbeddingConfig):
        self._worker = FrameWorkerFactory(embedding.backbone, embedding.size_px, embedding.pooling())()

    def map(
        self, make: Callable[[], Any], tasks: Sequence[Any], *, limit_s: float
    ) -> Iterator[tuple[int, Any]]:
        for number, task in enumerate(tasks):
            for chunk in self._worker(task):
                yield number, chunk

    def close(self) -> None:
        """Nothing was started."""


def _main(spec: str, scratch: str, workers: str, cpus_each: str) -> None:
    from lib.compute import RayCompute

    if workers == "0":
        held: dict[Path, Line] = {}

        def run_here(films: Path) -> dict[str, Any]:
            if films not in held:
                held[films] = Line(spec, films, Path(scratch))
            made = held[films].run()
            return {"seconds": made.seconds, "frames": made.frames, "runtime": made.runtime}

        serve(run_here)
        return
    with RayCompute(workers=int(workers), cpus_each=int(cpus_each)) as compute:

        def run(films: Path) -> dict[str, Any]:
            made = Line(spec, films, Path(scratch), compute=compute).run()
            return {"seconds": made.seconds, "frames": made.frames, "runtime": made.runtime}

        serve(run)


if __name__ == "__main__":
    _main(*sys.argv[1:])
