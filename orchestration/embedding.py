"""`dinolake embed`: any pictures and videos into one Parquet file, without a lake."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lib.errors import DinolakeError, UsageError

PICTURE_SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"])


@dataclass(slots=True)
class Embedded:
    """What came of it; `refused` is path -> reason."""

    vectors: int = 0
    files: int = 0
    backbone: str = ""
    refused: dict[str, str] = field(default_factory=dict)


def embed_paths(
    paths: list[Path],
    out: Path,
    *,
    backbone: str | None,
    per_second: float,
    size_px: int,
    say: Callable[[str], None],
) -> Embedded:
    """Embed files, and files in folders, in sorted order; what can't be read is named, and stops nothing.

    Raises:
        UsageError: A path that isn't there, or a folder named as the output.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path} isn't there.")
    if out.is_dir():
        raise UsageError(f"-o {out} is a folder; name a file, such as {out / 'vectors.parquet'}.")
    from lib.embedding.backbones import choose_default
    from lib.embedding.embed import Embedder
    from lib.embedding.vectors import unit
    from lib.media.sampling import Sampling

    if backbone is None:
        backbone, notes = choose_default()
        for note in notes:
            say(note)
    embedder = Embedder(backbone, size_px=size_px)
    made = Embedded(backbone=embedder.backbone.name)
    seen: list[tuple[str, float | None]] = []
    pictures = _pictures(_files(paths), Sampling(per_second=per_second), seen, made)
    dim = embedder.contract.cls_dim
    schema = pa.schema(
        [("path", pa.string()), ("t_s", pa.float64()), ("vector", pa.list_(pa.float32(), dim))],
        metadata={
            "dinolake.contract": embedder.contract.to_json(),
            "dinolake.runtime": embedder.runtime_name,
        },
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.part")
    try:
        with pq.ParquetWriter(partial, schema, use_dictionary=["path"]) as writer:
            for vectors in embedder.embed(pictures):
                rows, seen[: len(vectors)] = seen[: len(vectors)], []
                values = pa.array(unit(vectors.cls).reshape(-1))
                columns: dict[str, Any] = {
                    "path": [path for path, _ in rows],
                    "t_s": pa.array([t_s for _, t_s in rows], pa.float64()),
                    "vector": pa.FixedSizeListArray.from_arrays(values, dim),
                }
                writer.write_table(pa.table(columns, schema=schema))
                made.vectors += len(rows)
        if made.vectors:
            partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return made


def _files(paths: list[Path]) -> Iterator[Path]:
    from lib.stages.sources import VIDEO_SUFFIXES

    for path in paths:
        if path.is_dir():
            yield from sorted(
                p
                for p in path.rglob("*")
                if p.is_file() and p.suffix.lower() in PICTURE_SUFFIXES | VIDEO_SUFFIXES
            )
        else:
            yield path


def _pictures(
    files: Iterator[Path], sampling: Any, seen: list[tuple[str, float | None]], made: Embedded
) -> Iterator[np.ndarray]:
    from lib.media.image import read_image
    from lib.media.video import sample_video

    for file in files:
        before = len(seen) + made.vectors
        try:
            if file.suffix.lower() in PICTURE_SUFFIXES:
                rgb = read_image(file)
                seen.append((str(file), None))
                yield rgb
            else:
                stream = sample_video(file, sampling)
                for frame in stream:
                    seen.append((str(file), frame.t_s))
                    yield frame.rgb
                if stream.note:
                    made.refused[str(file)] = stream.note
        except DinolakeError as error:
            made.refused[str(file)] = str(error)
        made.files += len(seen) + made.vectors > before
