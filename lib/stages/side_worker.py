"""What runs in a worker: read one side's pictures, depth maps or texts, embed them, hand the vectors back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import schemas
from lib.errors import UnreadableMediaError
from lib.sections import EmbeddingConfig, SideConfig
from lib.stages.changing import VANISHED, Expected, Watch

if TYPE_CHECKING:
    from lib.embedding.embed import Embedder


@dataclass(frozen=True, slots=True)
class SideTask:
    """Some contents of one side: paths of files, or texts; of files, what they were registered as."""

    contents: tuple[str, ...]
    expected: tuple[Expected, ...] = ()


@dataclass(slots=True)
class SideChunk:
    """What a task's contents came to.

    Attributes:
        vectors: Name -> (n, d) float16, of those that could be read, in their order.
        thumbnails: As many JPEGs; None each for texts.
        refused: Number of a content -> why it couldn't be read.
    """

    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    thumbnails: list[bytes | None] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    runtime: str = ""


@dataclass(frozen=True)
class SideWorkerFactory:
    """Makes the worker in the process that will run it. Hashable, so that a pool is kept for equal ones."""

    side: SideConfig
    embedding: EmbeddingConfig

    def __call__(self) -> Callable[[Any], Iterator[Any]]:
        """Load the model once."""
        if self.side.kind == "text":
            from lib.embedding.text import TextEncoder

            return TextWorker(self.side, TextEncoder(self.side.encoder))
        return PictureWorker(self.side, open_embedder(self.side, self.embedding))


def open_embedder(side: SideConfig, embedding: EmbeddingConfig, *, batch: int | None = None) -> "Embedder":
    """The backbone, answering with what a side's features are made of."""
    from lib.embedding.embed import Embedder
    from lib.embedding.views import pooling_for

    pooling = pooling_for(side.features)
    return Embedder(embedding.backbone, size_px=embedding.size_px, pooling=pooling, batch=batch)


def read_side(path: str, side: SideConfig) -> np.ndarray:
    """A picture, or a depth map as one, (height, width, 3) uint8.

    Raises:
        UnreadableMediaError: Why it can't be read.
    """
    if side.kind == "depth":
        from lib.media.depth import depth_picture, read_depth

        return depth_picture(read_depth(path))
    from lib.media.image import read_image

    return read_image(path)


def _read_watched(path: str, side: SideConfig, expected: Expected | None) -> np.ndarray:
    """As `read_side`, if it is the file that was registered, and stays it."""
    if expected is None:
        return read_side(path, side)
    watch = Watch(path, expected)
    try:
        return read_side(path, side)
    finally:
        # Of a file that was changed under its reader, that is the reason, and not what came of it.
        watch.check()


def side_vectors(
    embedder: "Embedder", pictures: Iterator[np.ndarray], side: SideConfig
) -> Iterator[dict[str, np.ndarray]]:
    """Each picture's vectors by name, (d,) float16."""
    from lib.embedding.views import side_blocks

    yield from side_blocks(embedder, pictures, views=side.views, features=side.features)


class PictureWorker:
    """Turns paths into vectors."""

    def __init__(self, side: SideConfig, embedder: "Embedder"):
        self._side, self._embedder = side, embedder

    def __call__(self, task: SideTask) -> Iterator[SideChunk]:
        """One chunk a task."""
        from lib.media.image import jpeg_bytes

        chunk = SideChunk(runtime=self._embedder.runtime_name)

        def pictures() -> Iterator[np.ndarray]:
            for number, path in enumerate(task.contents):
                try:
                    picture = _read_watched(
                        path, self._side, task.expected[number] if task.expected else None
                    )
                except UnreadableMediaError as error:
                    chunk.refused[number] = str(error)
                    continue
                except FileNotFoundError:
                    chunk.refused[number] = VANISHED
                    continue
                chunk.thumbnails.append(jpeg_bytes(picture, max_side=schemas.THUMBNAIL_PX))
                yield picture

        rows = list(side_vectors(self._embedder, pictures(), self._side))
        if rows:
            chunk.vectors = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        yield chunk


class TextWorker:
    """Turns texts into vectors."""

    def __init__(self, side: SideConfig, encoder: Any):
        self._side, self._encoder = side, encoder

    def __call__(self, task: SideTask) -> Iterator[SideChunk]:
        """One chunk a task."""
        texts = [prepared(text, self._side) for text in task.contents]
        vectors = {"text": self._encoder.encode(texts)}
        yield SideChunk(vectors, [None] * len(texts), runtime=self._encoder.runtime_name)


def prepared(text: str, side: SideConfig) -> str:
    """A text as the encoder sees it."""
    if side.cleaned == "report":
        from lib.report_text import cleaned

        return cleaned(text)
    return text
