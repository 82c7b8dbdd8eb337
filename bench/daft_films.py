"""Films to Parquet by Daft: its own reader of video frames, and a class that predicts.

`python -m bench.daft_films SPEC SCRATCH` makes passes on request (bench.passes). Its reader resizes with
FFmpeg's swscale; the network is eager float32 torch, with all threads.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.original import SIZE_PX, OriginalLoop
from bench.passes import serve

BATCH = 16


def _main(spec: str, scratch: str) -> None:
    import daft
    from daft import DataType, Series, col

    # Loaded once for all passes, in this process: Daft's own workers would load it anew for each.
    loop = OriginalLoop(spec)
    cls, patch_mean = loop.embed_batch(np.zeros((BATCH, SIZE_PX, SIZE_PX, 3), np.uint8))
    vectors = {
        "cls": DataType.fixed_size_list(DataType.float32(), cls.shape[1]),
        "patch_mean": DataType.fixed_size_list(DataType.float32(), patch_mean.shape[1]),
    }

    @daft.func.batch(return_dtype=DataType.struct(vectors), use_process=False, batch_size=BATCH)
    def predict(images: Series) -> list[dict[str, np.ndarray]]:
        made = loop.embed_batch(np.stack(images.to_pylist()))
        return [dict(zip(vectors, row, strict=True)) for row in zip(*made, strict=True)]

    def run(films: Path) -> dict[str, Any]:
        folder = tempfile.mkdtemp(prefix="daft-", dir=scratch)
        began = time.perf_counter()
        # A query a film: with two, its reader waits for ever on two cores. Each film's task holds a thread of
        # Daft's pool, and asks the same pool whether its file is there (0.7.26, daft/io/av).
        for film in sorted(films.iterdir()):
            frames = daft.read_video_frames(
                str(film), image_height=SIZE_PX, image_width=SIZE_PX, sample_interval_seconds=1.0
            )
            frames = frames.with_column("vectors", predict(frames["data"]))
            columns = (col("vectors")[name].alias(name) for name in vectors)
            frames.select("path", "frame_time", *columns).write_parquet(folder)
        return {"seconds": time.perf_counter() - began, "made": folder}

    serve(run)


if __name__ == "__main__":
    _main(*sys.argv[1:])
