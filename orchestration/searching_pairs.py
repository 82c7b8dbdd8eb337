"""`dinolake search` in pairs: a picture, a text or a stored pair in; the other side's nearest out."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.catalog import Archive
from lib.errors import QueryError, UnreadableMediaError
from lib.lake import Lake, write_whole
from lib.serving import note_of, served
from lib.stages.making import Work
from orchestration.outputs import require_output
from orchestration.searching import Request, check
from orchestration.terminal import shown

if TYPE_CHECKING:
    from lib.search.pairs import PairHit, PairSearcher, SideQuery

_OTHER = {"left": "right", "right": "left"}


@dataclass(slots=True)
class PairsAnswer:
    """The hits, their contract, and what the user should know besides."""

    contract: str
    hits: "list[PairHit]"
    notes: list[str] = field(default_factory=list)


def answer_pairs(
    archive: Archive, lake: Lake, request: Request, *, gallery: Archive | None = None,
    sheet: Path | None = None, geo: Path | None = None,
) -> PairsAnswer:  # fmt: skip
    """Search an archive of pairs, or another one with its heads, and write the sheet and the map asked for.

    Raises:
        QueryError: As `check`; a side that the archive hasn't; a query that can't be read.
        ContractMismatchError: The gallery's vectors aren't of the side's contract.
        UsageError: The sheet or the map can't be written where it should go.
    """
    check(archive, request, geo=geo)
    work = served(lake, archive)
    side, to = sides_of(work.archive, request)
    for path, option in ((sheet, "--sheet"), (geo, "--geo")):
        if path is not None:
            require_output(path, option, inputs=[request.image] if request.image else [])
    other = served(lake, gallery) if gallery is not None else None
    if other is not None:
        from lib.search.galleries import require_gallery

        if request.where is not None:
            raise QueryError("--where asks about the pairs' own columns; with --gallery, leave it out.")
        require_gallery(work, to, other)
    from lib.search.pairs import PairSearcher, best_guess

    searcher = PairSearcher(work)
    query, picture = _query(work, searcher, request, side)
    if other is not None:
        from lib.search.galleries import search_gallery

        hits = search_gallery(searcher, query, to, other, k=request.k)
    else:
        hits = searcher.search(query, to=to, k=request.k, where=request.where)
    found = PairsAnswer(work.pair.id, hits, list(filter(None, [note_of(archive, work)])))
    if gallery is not None and other is not None:
        found.notes.extend(filter(None, [note_of(gallery, other)]))
    kinds = {name: work.archive.pair_sides().side(name).kind for name in ("left", "right")}
    if request.item is None and kinds["left"] == kinds["right"]:
        found.notes.append(f"taken for a {side} side; what is searched are {to} sides (--to)")
    if (guess := best_guess(hits)) is not None:
        found.notes.append(
            f"best guess: {guess.lon:.5f},{guess.lat:.5f} (longitude, latitude), score {guess.score:.3f}"
        )
    if sheet is not None:
        _write_sheet(work, searcher, query, picture, hits, sheet, is_own=other is None)
        found.notes.append(f"sheet: {shown(sheet)}")
    if geo is not None:
        write_whole(geo, _points(hits))
        placed = sum(hit.lon is not None and hit.lat is not None for hit in hits)
        found.notes.append(
            f"map: {shown(geo)}" if placed else f"map: {shown(geo)}, empty: no hit has a place"
        )
    return found


def sides_of(archive: Archive, request: Request) -> tuple[str, str]:
    """The query's side and the one that is searched.

    Raises:
        QueryError: The archive has no such side.
    """
    pairs = archive.pair_sides()
    texts = [name for name in ("left", "right") if pairs.side(name).kind == "text"]
    seen = [name for name in ("left", "right") if name not in texts]
    to = request.to
    if to in ("text", "image"):
        fitting = texts if to == "text" else seen
        if not fitting:
            raise QueryError(f"no side of {archive.name!r} is {'text' if to == 'text' else 'of pictures'}.")
        to = fitting[-1] if len(fitting) == 1 else None
    if to not in (None, "left", "right"):
        raise QueryError(f"--to {to}: give left or right, or text or image where one side is that.")
    if request.item is not None:
        to = to or "right"
        return _OTHER[to], to
    own = texts if request.text is not None else seen
    if not own:
        what = "a text" if request.text is not None else "a picture"
        raise QueryError(f"archive {archive.name!r} can't be asked with {what}: none of its sides is one.")
    side = next((name for name in own if _OTHER[name] == to), None) if to else own[0]
    # Both may be the same side: a picture among pictures, in the space that the pairs taught.
    side = side or own[0]
    return side, to or _OTHER[side]


def _query(
    work: Work, searcher: "PairSearcher", request: Request, side: str
) -> "tuple[SideQuery, bytes | None]":
    import numpy as np

    config = work.archive.pair_sides().side(side)
    if request.item is not None:
        return searcher.of_item(request.item, side), None
    if request.text is not None:
        from lib.embedding.text import TextEncoder
        from lib.sentences import checked_text
        from lib.stages.side_worker import prepared

        try:
            text = checked_text(request.text)
        except UnreadableMediaError as error:
            raise QueryError(f"--text: {error}.") from error
        vectors = TextEncoder(config.encoder).encode([prepared(text, config)])
        return searcher.query({"text": vectors}, side, text), None
    from lib.media.image import jpeg_bytes
    from lib.stages.side_worker import open_embedder, read_side, side_vectors

    path = request.image or Path()
    try:
        pixels = read_side(str(path), config)
    except UnreadableMediaError as error:
        raise QueryError(f"{path} can't be read as a {config.kind}: {error}") from error
    embedder = open_embedder(config, work.archive.embedding, batch=1 if config.views == "upright" else None)
    blocks = next(iter(side_vectors(embedder, iter([pixels]), config)))
    made = {name: np.asarray(values)[None] for name, values in blocks.items()}
    return searcher.query(made, side, shown(path)), jpeg_bytes(pixels, max_side=320)


def _points(hits: "list[PairHit]") -> str:
    """Hits that have coordinates as GeoJSON points."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [hit.lon, hit.lat]},
            "properties": {"rank": hit.rank, "item": hit.item, "score": hit.score, "path": hit.path},
        }
        for hit in hits
        if hit.lon is not None and hit.lat is not None
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False)


def _write_sheet(
    work: Work, searcher: "PairSearcher", query: "SideQuery", picture: bytes | None, hits: "list[PairHit]",
    path: Path, *, is_own: bool,
) -> None:  # fmt: skip
    from lib.hits_sheet import HitCard, hits_sheet
    from lib.stages.reporting import limits

    cards = [
        HitCard(
            hit.text or hit.item, hit.score, thumbnail=searcher.thumbnail(hit) if is_own else None,
            start_s=hit.start_s, end_s=hit.end_s, file=Path(hit.path) if hit.path else None,
            place=f"{hit.lon:.5f}, {hit.lat:.5f}" if hit.lon is not None and hit.lat is not None else "",
        )
        for hit in hits
    ]  # fmt: skip
    page = hits_sheet(
        picture,
        cards,
        archive=work.archive.name,
        asked=query.shown,
        contract=work.pair.id,
        warnings=limits(work),
    )
    write_whole(path, page)


def pair_document(hit: "PairHit") -> dict[str, Any]:
    """A hit as `--json` prints it."""
    told = asdict(hit)
    del told["shard"]
    return told


def show_pairs(archive: str, found: PairsAnswer, *, as_json: bool) -> None:
    """Print what was found."""
    from orchestration.terminal import print_json, show, show_table

    if as_json:
        told = [pair_document(hit) for hit in found.hits]
        print_json({"archive": archive, "contract": found.contract, "hits": told})
        return
    if not found.hits:
        show("no hits")
        return
    rows = [
        (h.rank, h.item, f"{h.score:.3f}", _place(h), _moment(h), h.text or shown(Path(h.path)))
        for h in found.hits
    ]
    show_table(["", "item", "score", "lon, lat", "from, to", "found"], rows)


def _place(hit: "PairHit") -> str:
    return f"{hit.lon:.5f}, {hit.lat:.5f}" if hit.lon is not None and hit.lat is not None else ""


def _moment(hit: "PairHit") -> str:
    return f"{hit.start_s:.1f}, {hit.end_s:.1f}" if hit.start_s is not None and hit.end_s is not None else ""
