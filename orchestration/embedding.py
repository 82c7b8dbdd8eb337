"""`dinolake embed`: any pictures and videos into one Parquet file, without a lake."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lib.errors import UsageError
from orchestration.outputs import require_output

if TYPE_CHECKING:
    from lib.stages.embed_files import Embedded


def embed_paths(
    paths: list[Path],
    out: Path,
    *,
    backbone: str | None,
    per_second: float,
    size_px: int,
    say: Callable[[str], None],
) -> "Embedded":
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
    from lib.media.sampling import Sampling
    from lib.stages.embed_files import embed_files

    sampling = Sampling(per_second=per_second)
    notes: list[str] = []
    if backbone is None:
        backbone, notes = choose_default()
    spec = resolve(backbone)
    contract_of(spec, size_px=size_px)  # a size that doesn't fit is told first, and alone
    for note in notes:
        say(note)
    return embed_files(files, out, Embedder(spec, size_px=size_px), sampling=sampling)


def _files(paths: list[Path]) -> Iterator[Path]:
    from lib.stages.embed_files import PICTURE_SUFFIXES
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
