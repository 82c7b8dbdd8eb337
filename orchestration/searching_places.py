"""`dinolake search` in scenes: a place, a picture, a window, or examples in; places out, on a map too."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.catalog import Archive
from lib.errors import QueryError, UnreadableMediaError, UsageError
from lib.lake import Lake, write_whole
from lib.serving import note_of, served
from lib.stages.making import Work
from orchestration.outputs import require_output
from orchestration.searching import Request, check
from orchestration.terminal import shown

if TYPE_CHECKING:
    from lib.search.places import PlaceHit, PlaceQuery, PlaceSearcher


@dataclass(slots=True)
class PlacesAnswer:
    """The hits, their contract, and what the user should know besides."""

    contract: str
    hits: "list[PlaceHit]"
    notes: list[str] = field(default_factory=list)


def answer_places(
    archive: Archive, lake: Lake, request: Request, *, sheet: Path | None = None, geo: Path | None = None
) -> PlacesAnswer:
    """Search an archive of scenes, and write the sheet and the map that were asked for.

    Raises:
        QueryError: As `check`; a place, or examples, that no window holds.
        UsageError: The sheet or the map can't be written where it should go.
    """
    check(archive, request, geo=geo)
    inputs = [path for path in (request.image, request.like, request.unlike) if path is not None]
    if sheet is not None and geo is not None and sheet.absolute() == geo.absolute():
        raise UsageError(f"--sheet and --geo both name {shown(geo)}: give each a file of its own.")
    for path, option in ((sheet, "--sheet"), (geo, "--geo")):
        if path is not None:
            require_output(path, option, inputs=inputs)
    from lib.search.places import PlaceSearcher

    work = served(lake, archive)
    searcher = PlaceSearcher(work)
    picture: bytes | None = None
    notes = list(filter(None, [note_of(archive, work)]))
    if request.like is not None:
        hits, asked, told = _like(searcher, request)
        notes.extend(told)
    else:
        query, picture = _query(work, searcher, request)
        asked = query.shown
        hits = searcher.search(query, k=request.k, where=request.where)
    found = PlacesAnswer(work.contract.id, hits, notes)
    if sheet is not None:
        _write_sheet(work, searcher, asked, picture, hits, sheet)
        found.notes.append(f"sheet: {shown(sheet)}")
    if geo is not None:
        _write_map(searcher, hits, geo)
        found.notes.append(f"map: {shown(geo)}")
    return found


def place_document(hit: "PlaceHit") -> dict[str, Any]:
    """A hit as `--json` prints it."""
    told = asdict(hit)
    del told["shard"]
    return told | {"start_s": None, "end_s": None}


def _query(work: Work, searcher: "PlaceSearcher", request: Request) -> "tuple[PlaceQuery, bytes | None]":
    if request.item is not None:
        return searcher.of_sample(request.item), None
    if request.at is not None:
        return searcher.at(*_degrees(request.at)), None
    from lib.embedding.embed import Embedder
    from lib.media.image import jpeg_bytes, read_image
    from lib.search.places import PlaceQuery, place_features

    path = request.image or Path()
    try:
        pixels = read_image(path)
    except UnreadableMediaError as error:
        raise QueryError(f"{path} can't be read as a picture: {error}") from error
    entry = work.archive.embedding
    embedder = Embedder(entry.backbone, size_px=entry.size_px, pooling=work.archive.pooling(), batch=1)
    vectors = embedder.embed_all([pixels])
    feature = place_features(searcher, vectors.cls, vectors.patch_mean)
    return PlaceQuery(feature, shown(path)), jpeg_bytes(pixels, max_side=320)


def _degrees(text: str) -> tuple[float, float]:
    try:
        lon, lat = (float(part) for part in text.split(","))
    except ValueError as error:
        raise QueryError(f"--at {text!r}: give longitude,latitude in degrees, as in -112.3,40.7.") from error
    return lon, lat


def _like(searcher: "PlaceSearcher", request: Request) -> "tuple[list[PlaceHit], str, list[str]]":
    """Places ranked by a light head that is fitted to the windows under the examples."""
    from lib.media.vectorfiles import read_shapes
    from lib.tasks.likeness import rank_alike

    yes_path = request.like or Path()
    yes = searcher.rows_under(read_shapes(yes_path))
    no = searcher.rows_under(read_shapes(request.unlike)) if request.unlike else yes[:0]
    for path, rows in ((yes_path, yes), (request.unlike, no)):
        if path is not None and not len(rows):
            raise QueryError(f"no window of the archive lies under what {path} shows; is it of this place?")
    features = searcher.vectors()
    scores = rank_alike(features[yes], features[no], features)
    asked = f"like {len(yes)} windows" + (f", unlike {len(no)}" if request.unlike else "")
    note = f"fitted to {len(yes)} windows that are alike" + (f" and {len(no)} that aren't" if len(no) else "")
    return searcher.ranked(scores, k=request.k, where=request.where), asked, [note]


def _write_sheet(
    work: Work,
    searcher: "PlaceSearcher",
    asked: str,
    picture: bytes | None,
    hits: "list[PlaceHit]",
    path: Path,
) -> None:
    from lib.hits_sheet import HitCard, hits_sheet
    from lib.stages.reporting import limits

    cards = [
        HitCard(
            f"{hit.item} ({hit.lon:.4f}, {hit.lat:.4f})", hit.score, thumbnail=searcher.details(hit)[0],
            file=Path(hit.path), place=hit.acquired,
        )
        for hit in hits
    ]  # fmt: skip
    page = hits_sheet(
        picture, cards, archive=work.archive.name, asked=asked, contract=work.contract.id,
        warnings=limits(work),
    )  # fmt: skip
    write_whole(path, page)


def _write_map(searcher: "PlaceSearcher", hits: "list[PlaceHit]", path: Path) -> None:
    from lib.hits_map import places_geojson

    outlines = [searcher.details(hit)[1] for hit in hits]
    kept = ("rank", "item", "score", "acquired", "tile", "sample")
    told = [{name: getattr(hit, name) for name in kept} for hit in hits]
    write_whole(path, places_geojson(outlines, told))


def show_places(archive: str, found: PlacesAnswer, *, as_json: bool) -> None:
    """Print the places that were found."""
    from orchestration.terminal import print_json, show, show_table

    if as_json:
        told = [place_document(hit) for hit in found.hits]
        print_json({"archive": archive, "contract": found.contract, "hits": told})
    elif found.hits:
        rows = [
            (h.rank, h.item, h.acquired, f"{h.lon:.5f}", f"{h.lat:.5f}", f"{h.score:.3f}", h.path)
            for h in found.hits
        ]
        show_table(["", "item", "acquired", "lon", "lat", "score", "path"], rows)
    else:
        show("no hits")
