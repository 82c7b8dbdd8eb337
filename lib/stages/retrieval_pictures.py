"""Hits and the worst misses as a sheet: what was asked, what came first, what belongs to it."""

from collections.abc import Mapping

import numpy as np

from lib.report import Picture
from lib.search.pairs import thumbnail_of
from lib.stages.making import Work
from lib.stages.retrieval import Found, Held, Way

_SHOWN = 6
_BLANK = 232


def sheets(work: Work, held: Held, found: Found, way: Way) -> list[Picture]:
    """The surest hits and the worst misses of one direction; none where there are none."""
    ranked = found.ways[way]
    similarity = _best(found, held, way)
    asked = np.flatnonzero(ranked.relevant > 0)
    order = asked[np.argsort(-similarity[asked], kind="stable")]
    hits = [int(q) for q in order if ranked.ranks[q] == 0][:_SHOWN]
    misses = sorted((int(q) for q in asked if ranked.ranks[q] > 0), key=lambda q: -int(ranked.ranks[q]))[
        :_SHOWN
    ]
    made = []
    for queries, what in ((hits, "surest hits"), (misses, "worst misses")):
        if queries:
            made.append(_sheet(work, held, found, way, queries, what))
    return made


def _best(found: Found, held: Held, way: Way) -> np.ndarray:
    """Of each query its similarity to the best of what belongs to it."""
    pairs = held.pairs if way[0] == "left" else held.pairs[:, ::-1]
    queries, gallery = found.vectors[way[0]], found.vectors[way[1]]
    best = np.full(len(queries), -np.inf)
    np.maximum.at(best, pairs[:, 0], np.einsum("nd,nd->n", queries[pairs[:, 0]], gallery[pairs[:, 1]]))
    return best


def _sheet(work: Work, held: Held, found: Found, way: Way, queries: list[int], what: str) -> Picture:
    from lib.media.image import contact_sheet, png_bytes

    one, other = way
    pairs = held.pairs if one == "left" else held.pairs[:, ::-1]
    texts = _texts(work, held)
    tiles, captions = [], []
    for query in queries:
        scores = found.vectors[other] @ found.vectors[one][query]
        first = int(scores.argmax())
        belong = pairs[pairs[:, 0] == query, 1]
        truth = int(belong[scores[belong].argmax()])
        rank = int(found.ways[way].ranks[query]) + 1
        for side, row, says in (
            (one, query, "asked"),
            (other, first, f"first, {scores[first]:.2f}"),
            (other, truth, f"belongs, rank {rank}, {scores[truth]:.2f}"),
        ):
            picture, text = _tile(work, held, side, row, texts)
            tiles.append(picture)
            captions.append(f"{says}: {text}" if text else says)
    data = png_bytes(contact_sheet(tiles, captions, columns=6, tile_px=150))
    return Picture(
        data, f"{one} → {other}: the {what}", f"{what} of {one} to {other}, each with what was asked"
    )


def _tile(
    work: Work, held: Held, side: str, row: int, texts: Mapping[str, Mapping[str, str]]
) -> tuple[np.ndarray, str]:
    """A content's thumbnail and its pair's id, or a picture of its text."""
    from lib.media.image import text_picture
    from lib.stages.pictures import thumbnail_pixels

    digest = held.side(side).hashes[row]
    item, shard = held.items[side][digest]
    if work.archive.pair_sides().side(side).kind == "text":
        return text_picture(texts[side].get(digest, "")), ""
    stored = thumbnail_of(work, side, shard, digest)
    return thumbnail_pixels(stored) if stored else np.full((120, 160, 3), _BLANK, np.uint8), item


def _texts(work: Work, held: Held) -> dict[str, dict[str, str]]:
    """Content hash -> text, of the sides that are texts."""
    found: dict[str, dict[str, str]] = {}
    for side in ("left", "right"):
        if work.archive.pair_sides().side(side).kind != "text":
            continue
        found[side] = {}
        for shard in sorted({shard for _, shard in held.items[side].values()}):
            table = work.rows("items", shard, [f"{side}_hash", f"{side}_text"])
            for digest, text in zip(*(column.to_pylist() for column in table.columns), strict=True):
                if digest and text:
                    found[side][digest] = text
    return found
