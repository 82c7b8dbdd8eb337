"""Pictures of what a stage made, as PNG: contact sheets of frames, summaries, queries with their answers."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lib.search.query import Hit
from lib.stages.making import Work

if TYPE_CHECKING:
    from lib.stages.moment_search import Asked

_COLUMNS, _TILE_PX, _MOST = 6, 160, 24


def thumbnail_pixels(jpeg: bytes) -> np.ndarray:
    """A stored thumbnail as RGB pixels."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def sheet(pictures: Sequence[np.ndarray], captions: Sequence[str], *, columns: int = _COLUMNS) -> bytes:
    """A contact sheet as PNG."""
    from lib.media.image import contact_sheet, png_bytes

    return png_bytes(contact_sheet(pictures, captions, columns=columns, tile_px=_TILE_PX))


def frames_sheet(work: Work, shard: str) -> bytes | None:
    """Frames of a shard, spread evenly; None where it has none."""
    table = work.rows("frames", shard, ["item", "t_s", "thumbnail"])
    if not table.num_rows:
        return None
    rows = table.take(np.unique(np.linspace(0, table.num_rows - 1, _MOST).round().astype(int))).to_pylist()
    return sheet(
        [thumbnail_pixels(row["thumbnail"]) for row in rows],
        [f"{row['item']} {row['t_s']:.1f} s" for row in rows],
    )


def summary_sheet(work: Work, shard: str) -> bytes | None:
    """One picture a chosen segment of a shard's first videos; None where there is none."""
    shown: list[tuple[str, float]] = []
    for row in work.rows("summaries", shard, ["item", "segments"]).slice(0, 8).to_pylist():
        shown += [(row["item"], (s["start_s"] + s["end_s"]) / 2) for s in row["segments"]]
    pictures, captions = [], []
    for item, t_s in shown[:_MOST]:
        jpeg = nearest_thumbnail(work, shard, item, t_s)
        if jpeg:
            pictures.append(thumbnail_pixels(jpeg))
            captions.append(f"{item} {t_s:.1f} s")
    return sheet(pictures, captions) if pictures else None


def nearest_thumbnail(work: Work, shard: str, item: str, t_s: float) -> bytes | None:
    """The stored thumbnail of an item nearest to a time."""
    import pyarrow.compute as pc

    place = work.place("frames", shard)
    table = work.lake.read(place, ["t_s", "thumbnail"], pc.field("item") == item)
    if not table.num_rows:
        return None
    at = int(np.abs(table.column("t_s").to_numpy() - t_s).argmin())
    return bytes(table.column("thumbnail")[at].as_py())


def answers_sheet(work: Work, asked: Sequence["Asked"], *, hits: int = 5) -> bytes:
    """A row a query: its picture, then its first hits."""
    pictures: list[np.ndarray] = []
    captions: list[str] = []
    for a in asked:
        pictures.append(thumbnail_pixels(a.picture))
        captions.append(f"? {a.truth.item} {a.truth.t_s:.1f} s")
        shown = a.hits[:hits]
        for hit in shown:
            pictures.append(hit_picture(work, hit))
            captions.append(f"{hit.rank}. {hit.item} {hit.t_s:.1f} s  {hit.score:.2f}")
        for _ in range(hits - len(shown)):
            pictures.append(np.full((90, 160, 3), 255, np.uint8))
            captions.append("")
    return sheet(pictures, captions, columns=hits + 1)


def hit_picture(work: Work, hit: Hit) -> np.ndarray:
    """A hit's best frame."""
    jpeg = nearest_thumbnail(work, hit.shard, hit.item, hit.t_s)
    return thumbnail_pixels(jpeg) if jpeg else np.full((90, 160, 3), 200, np.uint8)
