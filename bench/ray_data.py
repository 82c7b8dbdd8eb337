"""Films to Parquet as Ray Data's own pages do batch inference: a map that decodes, a class that predicts.

`python -m bench.ray_data SPEC SCRATCH` makes passes on request (bench.passes). Frames go through the object
store as pixels, resized already; the network is eager float32 torch in an actor, with all threads.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.original import SIZE_PX, frames_of
from bench.passes import serve

# The best of 8, 16 and 32 by no more than the spread.
BATCH = 16


def _decoded(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    from PIL import Image

    # Nothing is decoded before the actor has its model: its start isn't counted, nor what happens meanwhile.
    while not Path(row["started"]).exists():
        time.sleep(0.002)
    for number, picture in enumerate(frames_of(Path(row["path"]))):
        resized = Image.fromarray(picture).resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR)
        yield {"path": row["path"], "number": number, "image": np.asarray(resized)}


class Predictor:
    """The class that `map_batches` is given."""

    def __init__(self, spec: str, started: str):
        from bench.original import OriginalLoop

        self._loop = OriginalLoop(spec)
        self._loop.embed_batch(np.zeros((BATCH, SIZE_PX, SIZE_PX, 3), np.uint8))
        Path(started).write_text(str(time.time()))

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Vectors in place of pictures."""
        cls, patch_mean = self._loop.embed_batch(batch.pop("image"))
        return batch | {"cls": cls, "patch_mean": patch_mean}


def _main(spec: str, scratch: str) -> None:
    import logging

    import ray
    from ray.data import ActorPoolStrategy, DataContext

    from lib.ray_folder import ray_folder

    ray.init(
        address="local",
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=ray_folder(),
    )
    DataContext.get_current().enable_progress_bars = False

    def run(films: Path) -> dict[str, Any]:
        folder = Path(tempfile.mkdtemp(prefix="ray-data-", dir=scratch))
        started = folder / "started"
        rows = [{"path": str(film), "started": str(started)} for film in sorted(films.iterdir())]
        made = (
            ray.data.from_items(rows)
            .flat_map(_decoded)
            .map_batches(
                Predictor,
                fn_constructor_args=(spec, str(started)),
                compute=ActorPoolStrategy(size=1),
                batch_size=BATCH,
            )
        )
        made.write_parquet(str(folder / "made"))
        return {"seconds": time.time() - float(started.read_text()), "made": str(folder / "made")}

    serve(run)
    ray.shutdown()


if __name__ == "__main__":
    _main(*sys.argv[1:])
