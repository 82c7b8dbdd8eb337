"""Other ways from a folder of JPEGs to vectors in Parquet, each as its own documentation shows it."""

import importlib.util
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from bench.original import SIZE_PX, OriginalLoop
from lib.embedding import backbones, runtimes
from lib.embedding.embed import Embedder
from lib.embedding.pictures import squash
from lib.embedding.vectors import unit

BATCH = 32  # the size in Ray's and Daft's own examples
_LOADERS = 2  # clip-retrieval's num_prepro_workers: as many as there are cores


class EagerBatches:
    """Eager float32 torch on batches, all threads: what one writes into a `map_batches` first."""

    def __init__(self, spec: str) -> None:
        backbone = backbones.resolve(spec)
        self._network = backbones.load(backbone).eval()
        self._mean = torch.tensor(backbone.mean).view(1, 3, 1, 1)
        self._std = torch.tensor(backbone.std).view(1, 3, 1, 1)
        torch.set_num_threads(runtimes.cores())

    @torch.inference_mode()
    def embed(self, pictures: np.ndarray) -> np.ndarray:
        """CLS at unit length, (n, dim) float32, of RGB pictures (n, 224, 224, 3) uint8."""
        values = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
        cls, _, _ = self._network((values - self._mean) / self._std)
        return unit(cls.numpy())


class Loop:
    """The original design's loop over pictures: PIL opens one, eager torch embeds it."""

    name = "the original design's loop: PIL, eager fp32 torch one at a time"

    def __init__(self, spec: str) -> None:
        self._loop = OriginalLoop(spec)
        self._loop.embed(np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8))

    def run(self, photos: Path, out: Path) -> float:
        """Seconds from the folder to the Parquet file."""
        began = time.perf_counter()
        paths = sorted(photos.iterdir())
        vectors = []
        for path in paths:
            with Image.open(path) as picture:
                vectors.append(self._loop.embed(np.asarray(picture.convert("RGB")))[0])
        _write(out, [str(path) for path in paths], unit(np.stack(vectors)))
        return time.perf_counter() - began


class RayEmbed:
    """What Ray Data's actor runs: `map_batches` with a class."""

    def __init__(self, spec: str, mark: str) -> None:
        self._network = EagerBatches(spec)
        self._network.embed(np.zeros((BATCH, SIZE_PX, SIZE_PX, 3), np.uint8))
        self._mark = Path(mark)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A batch of the dataset."""
        if not self._mark.exists():
            self._mark.write_text(str(time.time()))
        return {"path": batch["path"], "vector": self._network.embed(np.array(batch["image"]))}


class RayData:
    """Plain Ray Data: `read_images`, `map_batches`, `write_parquet`; its clock starts with the first batch.

    Each dataset starts its actor anew (some 12 s), which isn't counted, and neither is what it reads until
    then: that is to its favour. `read_images` resizes with PIL as the loop does.
    """

    short = "Ray Data"
    note = "Its clock starts with its first batch: starting its actor isn't counted"
    repeats = 1

    def __init__(self, spec: str) -> None:
        import ray

        self._spec, self._ray = spec, ray
        self.name = f"Ray Data {ray.__version__}: read_images, map_batches of {BATCH} (eager fp32)"
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.init(
            address="local",
            num_cpus=runtimes.cores(),
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
        )
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False

    def run(self, photos: Path, out: Path) -> float:
        """Seconds from the first batch to the written folder."""
        mark = out.with_suffix(".began")
        mark.unlink(missing_ok=True)
        size = (SIZE_PX, SIZE_PX)
        self._ray.data.read_images(str(photos), include_paths=True, size=size, mode="RGB").map_batches(
            RayEmbed,
            fn_constructor_kwargs={"spec": self._spec, "mark": str(mark)},
            batch_size=BATCH,
            compute=self._ray.data.ActorPoolStrategy(size=1),
            num_cpus=1,
        ).write_parquet(str(out))
        return time.time() - float(mark.read_text())

    def close(self) -> None:
        """End the processes that were started."""
        self._ray.shutdown()


class Daft:
    """Daft: `from_glob_path`, its own download, decode and resize, a class on batches, `write_parquet`.

    The class's network is made beforehand, so that no query waits for it.
    """

    short = "Daft"
    note = "Its own resize is another than PIL's"
    repeats = 0

    def __init__(self, spec: str) -> None:
        import daft

        self._daft = daft
        self.name = f"Daft {daft.__version__}: decode, resize, a class on batches of {BATCH} (eager fp32)"
        network = EagerBatches(spec)
        dim = network.embed(np.zeros((BATCH, SIZE_PX, SIZE_PX, 3), np.uint8)).shape[1]
        kind = daft.DataType.fixed_size_list(daft.DataType.float32(), dim)

        @daft.cls(max_concurrency=1, use_process=False)
        class Embed:
            @daft.method.batch(return_dtype=kind, batch_size=BATCH)
            def vectors(self, pictures: Any) -> Any:
                return network.embed(np.stack(pictures.to_pylist()))

        self._embed = Embed()

    def run(self, photos: Path, out: Path) -> float:
        """Seconds from the folder to the written one."""
        began = time.perf_counter()
        col = self._daft.col
        frame = self._daft.from_glob_path(f"{photos}/*.jpg")
        pixels = col("path").download().decode_image(mode="RGB").resize(SIZE_PX, SIZE_PX)
        frame = frame.with_column("image", pixels).with_column("vector", self._embed.vectors(col("image")))
        frame.select("path", "vector").write_parquet(str(out), write_mode="overwrite")
        return time.perf_counter() - began

    def close(self) -> None:
        """Nothing was started."""


class ClipRetrieval:
    """clip-retrieval's own reader (torch's DataLoader, two processes) before our network."""

    short = "clip-retrieval's reader"
    note = (
        "Of the rest, its networks are CLIP's; its reader's processes start with each run, as they do there"
    )
    repeats = 0

    def __init__(self, spec: str) -> None:
        # Its package can't be imported without what its server needs; the reader is a file of its own.
        package = importlib.util.find_spec("clip_retrieval")
        if package is None or package.origin is None:
            raise ImportError("clip-retrieval isn't installed")
        file = Path(package.origin).parent / "clip_inference" / "reader.py"
        module = importlib.util.spec_from_file_location("clip_retrieval_reader", file)
        if module is None or module.loader is None:
            raise ImportError(f"no {file}")
        self._reader = importlib.util.module_from_spec(module)
        module.loader.exec_module(self._reader)
        self._embedder = Embedder(spec)
        self._embedder.embed_all(np.zeros((2 * BATCH, SIZE_PX, SIZE_PX, 3), np.uint8))
        self.name = f"clip-retrieval {metadata.version('clip-retrieval')}'s FilesReader, then our network"

    def run(self, photos: Path, out: Path) -> float:
        """Seconds from the folder to the Parquet file, its reader's processes started anew, as it does."""
        began = time.perf_counter()
        paths: list[str] = []

        def pictures() -> Iterator[np.ndarray]:
            reader = self._reader.FilesReader(
                list, _preprocess, None, str(photos), BATCH, _LOADERS, enable_text=False
            )
            for batch in reader:
                paths.extend(batch["image_filename"])
                yield from batch["image_tensor"].numpy()

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*pin_memory", category=UserWarning)
            vectors = [made.cls for made in self._embedder.embed(pictures())]
        _write(out, paths, unit(np.concatenate(vectors)))
        return time.perf_counter() - began

    def close(self) -> None:
        """Its reader's processes end with their iterator."""


def _preprocess(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(squash(np.asarray(picture.convert("RGB")), SIZE_PX)))


def vectors_in(out: Path) -> Mapping[str, np.ndarray]:
    """File name -> vector, (dim,) float32, of a Parquet file or a folder of them."""
    table = pq.read_table(out, columns=["path", "vector"])
    vectors = np.stack(table.column("vector").to_numpy())
    return {
        Path(path).name: vector
        for path, vector in zip(table.column("path").to_pylist(), vectors, strict=True)
    }


def _write(out: Path, paths: list[str], vectors: np.ndarray) -> None:
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    pq.write_table(pa.table({"path": paths, "vector": column}), out)


RIVALS: tuple[Callable[[str], Any], ...] = (ClipRetrieval, Daft, RayData)
