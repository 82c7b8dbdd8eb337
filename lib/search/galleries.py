"""One side's query asked of another archive: its stored vectors go through the other side's head.

Nothing is kept of it. Exact: every stored vector is looked at, a row group at a time, and the best are held.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lib.alignment.features import stacked
from lib.columns import vectors_of
from lib.embedding.vectors import unit
from lib.errors import ContractMismatchError, QueryError
from lib.search.pairs import PairHit, PairSearcher, SideQuery
from lib.stages.making import Work

_FEATURES = ("cls", "patch_mean")
# Moments of one video, or dates of one place, that may stand before the k-th other one.
_CANDIDATES = 64


@dataclass(frozen=True, slots=True)
class _Found:
    """A candidate: its score, where its row is, and what is told of it."""

    score: float
    shard: str
    told: dict[str, Any]


def require_gallery(pairs: Work, to: str, gallery: Work) -> None:
    """See that a side's head may be applied to another archive's vectors.

    Raises:
        QueryError: An archive of a kind that has no such vectors, or a side of texts.
        ContractMismatchError: They are of another backbone or size, or the side keeps other features.
    """
    kinds = ("video", "scene")
    name = gallery.archive.name
    if gallery.archive.kind not in kinds:
        raise QueryError(
            f"--gallery {name}: it is of kind {gallery.archive.kind}; give one of {' or '.join(kinds)}."
        )
    side = pairs.archive.pair_sides().side(to)
    core = pairs.pair.side(to).core
    if side.kind != "picture" or core is None:
        raise QueryError(
            f"--gallery {name} holds pictures, and the {to} side of {pairs.archive.name!r} is {side.kind}s."
        )
    theirs = gallery.contract
    same = (core.architecture, core.weights_sha256, core.preprocessing) == (
        theirs.architecture, theirs.weights_sha256, theirs.preprocessing,
    )  # fmt: skip
    if not same or side.views != "upright" or tuple(sorted(side.features)) != _FEATURES:
        entry = gallery.archive.embedding
        raise ContractMismatchError(
            f"the {to} side of {pairs.archive.name!r} ({pairs.pair.side(to).shown}) can't be held against "
            f"{name!r} ({theirs.shown}). In the entry of {pairs.archive.name!r}, set embedding.backbone = "
            f'"{entry.backbone}", embedding.size_px = {entry.size_px}, pairs.{to}.views = "upright" and '
            f'pairs.{to}.features = ["cls", "patch_mean"]; then `dinolake run {pairs.archive.name}`.'
        )


def search_gallery(
    searcher: PairSearcher, query: SideQuery, to: str, gallery: Work, *, k: int
) -> list[PairHit]:
    """The k best moments or places of another archive.

    Args:
        searcher: The pair archive's, for its heads.
        query: In the shared space.
        to: The side whose head maps the gallery.
        gallery: The other archive, as `require_gallery` allows it.
        k: Hits wanted.
    """
    head = searcher.aligner.left if to == "left" else searcher.aligner.right
    vector = unit(query.vectors.mean(axis=0, keepdims=True))[0]
    is_video = gallery.archive.kind == "video"
    best: list[_Found] = []
    for shard in _embedded_shards(gallery):
        made = _moments(gallery, shard, head, vector) if is_video else _windows(gallery, shard, head, vector)
        best = sorted([*best, *made], key=lambda one: -one.score)[: _CANDIDATES * k]
    hits: list[PairHit] = []
    for one in best:
        if len(hits) == k:
            break
        told = one.told
        if any(_is_same(told, hit) for hit in hits):
            continue
        hits.append(
            PairHit(
                len(hits) + 1, told["item"], to, str(gallery.root / told["path"]), None, round(one.score, 4),
                told.get("lon"), told.get("lat"), None, one.shard, told.get("start_s"), told.get("end_s"),
            )
        )  # fmt: skip
    return hits


def _embedded_shards(gallery: Work) -> list[str]:
    """Shards that stand under the contract that answers: what came since is embedded under the next."""
    is_video = gallery.archive.kind == "video"
    needed = ("clips", "frame_embeddings") if is_video else ("windows", "window_embeddings")
    folders = [gallery.lake.path(gallery.place(stage)).parent for stage in needed]
    shards = gallery.lake.ledger.shards(gallery.archive.name)
    return [shard for shard in shards if all((f / f"{shard}.parquet").is_file() for f in folders)]


def _moments(gallery: Work, shard: str, head: Any, vector: np.ndarray) -> Iterator[_Found]:
    """Clips of a shard's videos: the mean of their frames in the shared space."""
    paths = _paths(gallery, shard)
    clips = gallery.rows("clips", shard, ["item", "start_s", "end_s", "is_whole"]).to_pylist()
    by_item: dict[str, tuple[list[np.ndarray], list[float]]] = {}
    for block in gallery.blocks("frame_embeddings", shard, None, ["item", "t_s", *_FEATURES]):
        mapped = _mapped(block, head)
        for row, (item, t_s) in enumerate(
            zip(block.column("item").to_pylist(), block.column("t_s").to_pylist(), strict=True)
        ):
            rows, times = by_item.setdefault(item, ([], []))
            rows.append(mapped[row])
            times.append(t_s)
    stacked_rows = {item: (np.stack(rows), np.array(times)) for item, (rows, times) in by_item.items()}
    for clip in clips:
        if clip["is_whole"] or clip["item"] not in stacked_rows or clip["item"] not in paths:
            continue
        vectors, seconds = stacked_rows[clip["item"]]
        inside = (seconds >= clip["start_s"]) & (seconds <= clip["end_s"])
        if inside.any():
            score = float(unit(vectors[inside].mean(axis=0, keepdims=True))[0] @ vector)
            yield _Found(score, shard, clip | {"path": paths[clip["item"]]})


def _windows(gallery: Work, shard: str, head: Any, vector: np.ndarray) -> Iterator[_Found]:
    """A cell's windows that have data enough."""
    from lib.stages.scene_index import LEAST_VALID

    paths = _paths(gallery, shard)
    about = {
        row["sample"]: row
        for row in gallery.rows("windows", shard, ["sample", "item", "lon", "lat", "valid"]).to_pylist()
        if row["valid"] >= LEAST_VALID and row["item"] in paths
    }
    for block in gallery.blocks("window_embeddings", shard, None, ["sample", *_FEATURES]):
        scores = _mapped(block, head) @ vector
        for sample, score in zip(block.column("sample").to_pylist(), scores.tolist(), strict=True):
            if sample in about:
                row = about[sample]
                yield _Found(score, shard, row | {"path": paths[row["item"]]})


def _mapped(block: pa.Table, head: Any) -> np.ndarray:
    vectors: np.ndarray = head(stacked({name: vectors_of(block, name) for name in _FEATURES}))
    return vectors


def _paths(gallery: Work, shard: str) -> dict[str, str]:
    """Path of each item that stands, by its id."""
    return {i.item: i.path for i in gallery.lake.ledger.items(gallery.archive.name, shard) if not i.removed}


def _is_same(told: dict[str, Any], hit: PairHit) -> bool:
    """Whether a candidate overlaps a better moment, or shows the ground of a better place."""
    if "start_s" in told:
        ends = (hit.start_s or 0.0, hit.end_s or 0.0)
        return bool(told["item"] == hit.item and told["start_s"] < ends[1] and ends[0] < told["end_s"])
    return bool(abs(told["lon"] - (hit.lon or 0)) < 1e-6 and abs(told["lat"] - (hit.lat or 0)) < 1e-6)
