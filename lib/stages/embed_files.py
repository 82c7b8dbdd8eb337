"""Pictures and videos into one Parquet file of vectors, without a lake; threads read pictures ahead."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lib.ahead import ahead
from lib.columns import vectors_column
from lib.embedding.vectors import unit
from lib.errors import DinolakeError, UnreadableMediaError

if TYPE_CHECKING:
    from lib.embedding.embed import Embedder
    from lib.media.sampling import Sampling

PICTURE_SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"])
# Squashed pictures that wait for the network: eight batches, 5 MB at 224 px. Measured on 2 cores over 200
# JPEGs of 500 x 375 px, against reading them in turn: 31.3 ms a picture instead of 32.1 (ViT-S/16), 7.8
# instead of 8.9 (EfficientNet-Lite0). The network alone takes 30.5 and 6.4.
_AHEAD = 32
_BLOCK = 1024  # rows a row group


@dataclass(slots=True)
class Embedded:
    """What came of it; `refused` is path -> reason."""

    vectors: int = 0
    files: int = 0
    backbone: str = ""
    refused: dict[str, str] = field(default_factory=dict)


def embed_files(files: Sequence[Path], out: Path, embedder: "Embedder", *, sampling: "Sampling") -> Embedded:
    """Write a row a picture and a row a sampled frame: `path`, `t_s` (null for pictures), `vector`.

    Rows come in the files' order, vectors at unit length in float32. What can't be read is named in
    `refused`, and stops nothing; without any row, nothing is written. However many files there are, only some
    dozen squashed pictures and a row group are held.

    Args:
        files: Pictures by their endings, all others as videos.
        out: Replaced whole at the end, or left as it is.
        embedder: What embeds.
        sampling: Which frames of a video.
    """
    made = Embedded(backbone=embedder.backbone.name)
    dim = embedder.contract.cls_dim
    schema = pa.schema(
        [("path", pa.string()), ("t_s", pa.float64()), ("vector", pa.list_(pa.float32(), dim))],
        metadata={
            "dinolake.contract": embedder.contract.to_json(),
            "dinolake.runtime": embedder.runtime_name,
        },
    )
    rows = _Rows()
    pictures = _pictures(
        files, rows, made, sampling=sampling, size_px=embedder.contract.preprocessing.size_px
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.part")
    try:
        with pq.ParquetWriter(partial, schema, use_dictionary=["path"]) as writer:
            for block in _blocks(vectors.cls for vectors in embedder.embed(pictures)):
                writer.write_table(rows.taken(block, schema))
                made.vectors += len(block)
        if made.vectors:
            partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return made


@dataclass(slots=True)
class _Rows:
    """Where the pictures came from that went to the network, and aren't written yet."""

    paths: list[str] = field(default_factory=list)
    times: list[float | None] = field(default_factory=list)

    def note(self, path: Path, t_s: float | None = None) -> None:
        self.paths.append(str(path))
        self.times.append(t_s)

    def taken(self, vectors: np.ndarray, schema: pa.Schema) -> pa.Table:
        """The first rows with their vectors, (n, dim) float16."""
        count = len(vectors)
        columns = [
            pa.array(self.paths[:count], pa.string()),
            pa.array(self.times[:count], pa.float64()),
            vectors_column(unit(vectors), np.float32).cast(schema.field("vector").type),
        ]
        del self.paths[:count], self.times[:count]
        return pa.Table.from_arrays(columns, schema=schema)


def _blocks(batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Batches of rows joined to row groups: a network's own are a few rows."""
    waiting: list[np.ndarray] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= _BLOCK:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def _pictures(
    files: Iterable[Path], rows: _Rows, made: Embedded, *, sampling: "Sampling", size_px: int
) -> Iterator[np.ndarray]:
    from lib.media.image import read_squashed
    from lib.media.video import sample_video

    def read(file: Path) -> np.ndarray | None:
        return read_squashed(file, size_px) if file.suffix.lower() in PICTURE_SUFFIXES else None

    for file, reading in ahead(read, files, most=_AHEAD):
        frames = 0
        try:
            _require_utf8(file)
            picture = reading.result()
            if picture is not None:
                rows.note(file)
                frames = 1
                yield picture
            else:
                stream = sample_video(file, sampling)
                for frame in stream:
                    rows.note(file, frame.t_s)
                    frames += 1
                    yield frame.rgb
                if stream.note:
                    made.refused[str(file)] = stream.note
        except DinolakeError as error:
            made.refused[str(file)] = str(error)
        made.files += frames > 0


def _require_utf8(file: Path) -> None:
    """Parquet's strings are UTF-8, and so are pages and JSON."""
    try:
        str(file).encode()
    except UnicodeEncodeError as error:
        raise UnreadableMediaError("its name is no valid UTF-8: rename it") from error
