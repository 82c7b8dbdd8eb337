"""`dinolake embed`: any pictures and videos into one Parquet file, without a lake."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lib.errors import DinolakeError, UsageError
from orchestration.outputs import is_utf8, require_output

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
        UsageError: A path that isn't there, nothing to embed, an output that is an input or a folder, or
            numbers out of range.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path} isn't there.")
    files = list(_files(paths))
    require_output(out, "-o", inputs=files)
    if not files:
        raise UsageError(
            f"{', '.join(map(str, paths))}: no file there has a picture's or a video's ending. "
            "Files without one can be given by name."
        )
    from lib.embedding.backbones import choose_default, contract_of, resolve
    from lib.embedding.embed import Embedder
    from lib.embedding.vectors import unit
    from lib.media.sampling import Sampling

    sampling = Sampling(per_second=per_second)
    notes: list[str] = []
    if backbone is None:
        backbone, notes = choose_default()
    spec = resolve(backbone)
    contract_of(spec, size_px=size_px)  # a size that doesn't fit is told first, and alone
    for note in notes:
        say(note)
    embedder = Embedder(spec, size_px=size_px)
    made = Embedded(backbone=embedder.backbone.name)
    seen: list[tuple[str, float | None]] = []
    pictures = _pictures(files, sampling, seen, made)
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
    from lib.stages.scan import VIDEO_SUFFIXES

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
    files: Iterable[Path], sampling: Any, seen: list[tuple[str, float | None]], made: Embedded
) -> Iterator[np.ndarray]:
    from lib.media.image import read_image
    from lib.media.video import sample_video

    for file in files:
        before = len(seen) + made.vectors
        if not is_utf8(file):
            made.refused[str(file)] = "its name is no valid UTF-8: rename it"
            continue
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
