"""A scene by the plain way: rasterio reads a window, eager float32 torch embeds its views one at a time."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
import torch
from rasterio.windows import Window

from lib.columns import bytes_column, vectors_column
from lib.embedding import backbones, runtimes
from lib.embedding.embed import Vectors
from lib.embedding.pictures import squash
from lib.embedding.vectors import to_half
from lib.media.lattice import MARGIN_PX, WINDOW_PX
from lib.media.raster import Scaling
from lib.tasks.change import perturbed
from lib.tasks.window_views import WindowFeatures, features_of, views_of


class OneByOne:
    """Eager float32 torch, a picture at a time, where an `Embedder` would be."""

    def __init__(self, spec: str, size_px: int) -> None:
        backbone = backbones.resolve(spec)
        self._network, self._size_px = backbones.load(backbone).eval(), size_px
        self._mean = torch.tensor(backbone.mean).view(1, 3, 1, 1)
        self._std = torch.tensor(backbone.std).view(1, 3, 1, 1)
        torch.set_num_threads(runtimes.usable_threads())

    @torch.inference_mode()
    def embed(self, pictures: Iterable[np.ndarray]) -> Iterator[Vectors]:
        """As `Embedder.embed`."""
        for picture in pictures:
            squashed = torch.from_numpy(np.array(squash(picture, self._size_px)))
            values = squashed.permute(2, 0, 1)[None].float() / 255
            cls, patches, deep = self._network((values - self._mean) / self._std)
            found = (cls, patches.mean((1, 2)), patches, deep)
            yield Vectors(*(to_half(each.numpy()) for each in found))


class SceneLoop:
    """From a GeoTIFF to the same vectors of the same windows in Parquet, and of as many spoiled ones."""

    def __init__(self, spec: str, size_px: int) -> None:
        self._network = OneByOne(spec, size_px)
        list(self._network.embed([np.zeros((WINDOW_PX, WINDOW_PX, 3), np.uint8)]))

    def run(
        self,
        scene: Path,
        windows: list[tuple[int, int]],
        spoiled: dict[int, list[int]],
        scaling: Scaling,
        out: Path,
    ) -> np.ndarray:
        """The windows' CLS (n, D), float16.

        Args:
            scene: The file; its first three bands are seen.
            windows: First pixels (row, column) in the file.
            spoiled: Number of a window -> kinds of perturbation that it is embedded under too.
            scaling: To 8 bits.
            out: The Parquet file.
        """
        found: list[WindowFeatures] = []
        made = features_of(self._network, self._views(scene, windows, spoiled, scaling))
        for number in range(len(windows)):
            found.append(next(made))
            for _ in spoiled.get(number, []):
                next(made)
        cls = np.stack([each.cls for each in found])
        columns = {
            "row": [row for row, _ in windows],
            "column": [column for _, column in windows],
            "cls": vectors_column(cls),
            "patch_mean": vectors_column(np.stack([each.patch_mean for each in found])),
            "patch_grid": bytes_column(np.stack([each.whole for each in found])),
            "deep_grid": bytes_column(np.stack([each.deep for each in found])),
        }
        pq.write_table(pa.table(columns), out)
        return cls

    def _views(
        self, scene: Path, windows: list[tuple[int, int]], spoiled: dict[int, list[int]], scaling: Scaling
    ) -> Iterator[np.ndarray]:
        with rasterio.open(scene) as file:
            for number, (row, column) in enumerate(windows):
                picture = scaling.apply(_padded(file, row - MARGIN_PX, column - MARGIN_PX))
                yield from views_of(picture)
                if number in spoiled:
                    ways = list(perturbed(picture))
                    for kind in spoiled[number]:
                        yield from views_of(ways[kind])


def _padded(file: rasterio.DatasetReader, top: int, left: int) -> np.ndarray:
    """(3, 256, 256) of a file; beyond its edge, the edge again."""
    bottom, right = min(top + WINDOW_PX, file.height), min(left + WINDOW_PX, file.width)
    first = max(0, top), max(0, left)
    values = file.read([1, 2, 3], window=Window(first[1], first[0], right - first[1], bottom - first[0]))
    pads = (first[0] - top, top + WINDOW_PX - bottom), (first[1] - left, left + WINDOW_PX - right)
    return np.pad(values, ((0, 0), *pads), mode="edge")
