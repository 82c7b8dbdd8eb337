"""What runs in a worker: decode one video, embed its frames as they come, hand them back in chunks."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import schemas
from lib.errors import UnreadableMediaError
from lib.media.sampling import Sampling
from lib.stages.changing import Expected, Watch

if TYPE_CHECKING:
    from lib.embedding.embed import Embedder
    from lib.media.video import Frame

# Rows sent back at once: about 1 MB of vectors and thumbnails, so a video's length never shows in memory.
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class FrameTask:
    """One video: either sampled anew, or decoded at timestamps that an earlier sampling chose."""

    path: str
    limit_s: float
    sampling: Sampling | None = None
    pts: tuple[int, ...] = ()
    # Timestamps whose vectors stand already: such frames are sampled, but not embedded again.
    known_pts: frozenset[int] = frozenset()
    # As the file was registered: while it is read it has to be that one.
    expected: Expected | None = None


@dataclass(slots=True)
class FrameChunk:
    """Consecutive frames of a video; `vectors` has a row for each frame that `is_new`."""

    t_s: list[float] = field(default_factory=list)
    pts: list[int] = field(default_factory=list)
    thumbnails: list[bytes] = field(default_factory=list)
    is_new: list[bool] = field(default_factory=list)
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    runtime: str = ""
    # Why decoding ended early, on the last chunk; "" when it didn't.
    note: str = ""


@dataclass(frozen=True)
class FrameWorkerFactory:
    """Makes the worker inside the process that will run it. Hashable, so that a pool is kept for equal ones.

    Args:
        backbone: Spec of the backbone; None to sample frames without embedding them.
        size_px: Side of the square picture that the backbone sees.
        pooling: Names of the vectors to keep.
    """

    backbone: str | None
    size_px: int
    pooling: tuple[str, ...]

    def __call__(self) -> Callable[[Any], Iterator[Any]]:
        """Load the model once."""
        embedder = None
        if self.backbone is not None:
            from lib.embedding.embed import Embedder

            embedder = Embedder(self.backbone, size_px=self.size_px, pooling=self.pooling)
        return FrameWorker(embedder)


class FrameWorker:
    """Turns frame tasks into chunks."""

    def __init__(self, embedder: "Embedder | None"):
        self._embedder = embedder

    def __call__(self, task: FrameTask) -> Iterator[FrameChunk]:
        """The frames of one video, in time order.

        Raises:
            UnreadableMediaError: Not one frame could be decoded, it took too long, or the file isn't the one
                that was registered; chunks that came before are of that one.
        """
        watch = Watch(task.path, task.expected) if task.expected else None
        last = FrameChunk()
        try:
            for chunk in self._chunks(task):
                if watch:
                    watch.check()
                if last.pts:
                    yield last
                last = chunk
        except UnreadableMediaError:
            # Of a file that was changed under the decoder, that is the reason, and not what came of it.
            if watch:
                watch.check()
            raise
        if last.pts or last.note:
            yield last

    def _chunks(self, task: FrameTask) -> Iterator[FrameChunk]:
        """Chunks as they are decoded; the last says what couldn't be, and may have no frame."""
        from lib.media.video import read_frames_at, sample_video

        if task.sampling is None:
            reader = read_frames_at(task.path, task.pts, limit_s=task.limit_s)
        else:
            reader = sample_video(task.path, task.sampling, limit_s=task.limit_s)
        seen: deque[tuple[float, int, bytes, bool]] = deque()
        frames = _noting(reader, task, seen)
        chunks = _plain(frames, seen) if self._embedder is None else _embedded(self._embedder, frames, seen)
        runtime = self._embedder.runtime_name if self._embedder else ""
        last = FrameChunk(runtime=runtime)
        for chunk in chunks:
            if last.pts:
                yield last
            last = chunk
            last.runtime = runtime
        last.note = reader.note
        yield last


def _noting(
    reader: "Iterable[Frame]", task: FrameTask, seen: deque[tuple[float, int, bytes, bool]]
) -> Iterator[np.ndarray]:
    """Pass on the pictures that need a vector, and note every frame on the way."""
    from lib.media.image import jpeg_bytes

    for frame in reader:
        thumbnail = jpeg_bytes(frame.rgb, max_side=schemas.THUMBNAIL_PX) if task.sampling else b""
        is_new = frame.pts not in task.known_pts
        seen.append((frame.t_s, frame.pts, thumbnail, is_new))
        if is_new:
            yield frame.rgb


def _plain(frames: Iterator[np.ndarray], seen: deque[tuple[float, int, bytes, bool]]) -> Iterator[FrameChunk]:
    for _ in frames:
        if len(seen) >= _CHUNK:
            yield _chunk(seen, len(seen))
    if seen:
        yield _chunk(seen, len(seen))


def _embedded(
    embedder: "Embedder", frames: Iterator[np.ndarray], seen: deque[tuple[float, int, bytes, bool]]
) -> Iterator[FrameChunk]:
    batches: list[dict[str, np.ndarray]] = []
    waiting = 0
    for vectors in embedder.embed(frames):
        batches.append({name: getattr(vectors, name) for name in embedder.contract.pooling})
        waiting += len(vectors.cls)
        if waiting >= _CHUNK:
            yield _chunk(seen, waiting, batches)
            batches, waiting = [], 0
    if seen:
        yield _chunk(seen, waiting, batches, is_last=True)


def _chunk(
    seen: deque[tuple[float, int, bytes, bool]],
    new: int,
    batches: list[dict[str, np.ndarray]] | None = None,
    *,
    is_last: bool = False,
) -> FrameChunk:
    """Take the frames up to the `new`-th that needed a vector; the last chunk takes all that is left."""
    chunk = FrameChunk()
    while seen and (new > 0 or is_last):
        t_s, pts, thumbnail, is_new = seen.popleft()
        chunk.t_s.append(t_s)
        chunk.pts.append(pts)
        chunk.thumbnails.append(thumbnail)
        chunk.is_new.append(is_new)
        new -= is_new or batches is None
    if batches:
        chunk.vectors = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    return chunk
