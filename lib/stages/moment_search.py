"""Moment search, for any archive: stored frames, spoiled, must find the moment that they were taken from.

A query is a frame of the archive with its middle 70 % cut out, mirrored, darkened and saved as a poor JPEG.
The answer is right when a hit holds that second of that video, or of a known copy of it.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lib.columns import vectors_of
from lib.embedding.vectors import unit
from lib.metrics import NEVER, FirstHits, first_hits
from lib.search.query import Hit, Query, Searcher
from lib.stages.class_search import naive_rows
from lib.stages.copies import Copies, Place
from lib.stages.making import Work

QUERIES = 60
HITS = 10
_SLACK_S = 0.5


@dataclass(slots=True)
class Asked:
    """One query with its answer: the rank (from 0) of the first right moment, and of the right video."""

    truth: Place
    picture: bytes  # JPEG
    hits: list[Hit]
    moment_rank: int
    video_rank: int
    naive_video_rank: int


@dataclass(frozen=True, slots=True)
class MomentSearch:
    """All queries with their answers, and what chance would find."""

    asked: list[Asked]
    moment_chance: FirstHits
    video_chance: FirstHits
    videos: int


def measure_moment_search(work: Work, *, seed: int = 0) -> MomentSearch | None:
    """Ask for up to `QUERIES` spoiled frames, drawn over all videos; None if there is nothing to ask for."""
    from lib.embedding.embed import Embedder

    chosen = _choose(work, seed)
    if not chosen:
        return None
    searcher = Searcher(work)
    copies = Copies(work)
    videos, means = _naive_videos(work)
    entry = work.archive.embedding
    embedder = Embedder(entry.backbone, size_px=entry.size_px, batch=1)
    asked: list[Asked] = []
    for place, rgb in _decode(work, chosen):
        picture, spoiled = spoil(rgb)
        vectors = embedder.embed_all([spoiled])
        query = Query(searcher.features(vectors.cls, vectors.patch_mean), f"{place.item}#t={place.t_s}")
        hits = searcher.search(query, k=HITS)
        right = copies.of(place)
        naive = means @ unit(vectors.cls)[0]
        is_right = np.isin(videos, [p.item for p in right])
        asked.append(
            Asked(
                place, picture, hits, _rank(hits, right, slack_s=_SLACK_S), _video_rank(hits, right),
                int(first_hits(naive[None], is_right[None]).ranks[0]),
            )
        )  # fmt: skip
    right_of = [copies.of(a.truth) for a in asked]
    relevant_videos = [len({place.item for place in right}) for right in right_of]
    relevant, windows = searcher.windows_at(right_of)
    nothing = np.zeros(len(asked), np.int64)
    return MomentSearch(
        asked,
        FirstHits(nothing, np.array(relevant), np.full(len(asked), windows)),
        FirstHits(nothing, np.array(relevant_videos), np.full(len(asked), len(videos))),
        len(videos),
    )


def spoil(rgb: np.ndarray) -> tuple[bytes, np.ndarray]:
    """The query made of a frame: as a JPEG, and as the pixels that come out of it."""
    from PIL import Image, ImageEnhance, ImageOps

    height, width = rgb.shape[:2]
    top, left = round(0.15 * height), round(0.15 * width)
    picture = ImageOps.mirror(
        Image.fromarray(rgb[top : max(height - top, top + 1), left : max(width - left, left + 1)])
    )
    darker = ImageEnhance.Brightness(picture).enhance(0.75)
    file = io.BytesIO()
    darker.save(file, "JPEG", quality=30)
    return file.getvalue(), np.asarray(Image.open(file).convert("RGB"))


def _choose(work: Work, seed: int) -> dict[str, list[tuple[str, list[tuple[float, int]]]]]:
    """Frames to ask for: shard -> (item, [(t_s, pts)]); as many of each video, whatever its length."""
    frames: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for shard in work.shards("search_report"):
        table = work.rows("frames", shard, ["item", "t_s", "pts"])
        for item, t_s, pts in zip(
            *(table.column(n).to_pylist() for n in ("item", "t_s", "pts")), strict=True
        ):
            frames.setdefault((shard, item), []).append((t_s, pts))
    rng = np.random.default_rng(seed)
    names = sorted(frames)
    if len(names) > QUERIES:
        names = [names[at] for at in sorted(rng.choice(len(names), QUERIES, replace=False))]
    each = max(1, QUERIES // max(1, len(names)))
    chosen: dict[str, list[tuple[str, list[tuple[float, int]]]]] = {}
    for shard, item in names:
        there = frames[shard, item]
        picked = sorted(rng.choice(len(there), min(each, len(there)), replace=False))
        chosen.setdefault(shard, []).append((item, [there[at] for at in picked]))
    return chosen


def _decode(
    work: Work, chosen: dict[str, list[tuple[str, list[tuple[float, int]]]]]
) -> Iterator[tuple[Place, np.ndarray]]:
    from lib.media.video import read_frames_at

    for shard, items in chosen.items():
        paths = {row["item"]: row["path"] for row in work.rows("items", shard, ["item", "path"]).to_pylist()}
        for item, frames in items:
            times = {pts: t_s for t_s, pts in frames}
            reader = read_frames_at(
                work.root / paths[item], [pts for _, pts in frames], limit_s=work.archive.frames.limit_s
            )
            for frame in reader:
                yield Place(item, times[frame.pts]), frame.rgb


def _naive_videos(work: Work) -> tuple[np.ndarray, np.ndarray]:
    """The original design's gallery: a mean CLS vector a video, from one frame a second, of unit length."""
    names: list[str] = []
    means: list[np.ndarray] = []
    for shard in work.shards("search_report"):
        table = work.rows("frame_embeddings", shard, ["item", "t_s", "cls"])
        items, times_s = np.array(table.column("item").to_pylist(), object), table.column("t_s").to_numpy()
        cls = vectors_of(table, "cls").astype(np.float32)
        for name in dict.fromkeys(items.tolist()):
            at = np.flatnonzero(items == name)
            names.append(name)
            means.append(cls[at][naive_rows(times_s[at])].mean(axis=0))
    return np.array(names, object), unit(np.stack(means))


def _rank(hits: list[Hit], right: list[Place], *, slack_s: float) -> int:
    for at, hit in enumerate(hits):
        if any(p.item == hit.item and hit.start_s - slack_s <= p.t_s <= hit.end_s + slack_s for p in right):
            return at
    return int(NEVER)


def _video_rank(hits: list[Hit], right: list[Place]) -> int:
    videos = list(dict.fromkeys(hit.item for hit in hits))
    ranks = [videos.index(p.item) for p in right if p.item in videos]
    return min(ranks, default=int(NEVER))
