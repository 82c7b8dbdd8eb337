"""`dinolake search`: turn what the user gave into a query, ask, and lay the answer out."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lib.catalog import Archive
from lib.errors import DinolakeError, QueryError, UnreadableMediaError
from lib.lake import Lake, write_whole
from lib.serving import note_of, served
from lib.stages.making import Work
from orchestration.outputs import require_folder, require_output
from orchestration.terminal import shown

if TYPE_CHECKING:
    from lib.search.query import Hit, Query, Searcher


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked: one of picture, clip or item; how many; under which condition."""

    image: Path | None
    video: Path | None
    item: str | None
    k: int
    where: str | None = None
    # Of scenes: "longitude,latitude", and files of examples.
    at: str | None = None
    like: Path | None = None
    unlike: Path | None = None
    # Of pairs: words, and the side that is searched.
    text: str | None = None
    to: str | None = None


# What each kind of archive can be asked with.
WAYS = {
    "video": ("image", "video", "item"),
    "scene": ("image", "item", "at", "like"),
    "pair": ("image", "text", "item"),
}
_ALL_WAYS = ("image", "video", "item", "at", "like", "text")


@dataclass(slots=True)
class Answer:
    """The hits, their contract, what the user should know besides, and the clips that were cut."""

    contract: str
    hits: "list[Hit]"
    notes: list[str] = field(default_factory=list)
    clips: list[Path] = field(default_factory=list)


def check(archive: Archive, request: Request, *, clips: Path | None = None, geo: Path | None = None) -> None:
    """See that an archive can be asked so.

    Raises:
        QueryError: Not just one of the ways to ask; k below 1; a file that isn't there.
    """
    ways = WAYS.get(archive.line)
    if ways is None:
        built = " and ".join(f"{kind}s" for kind in WAYS)
        kind = archive.line.replace("_", " ")
        raise QueryError(f"archive {archive.name!r} is a {kind} archive; this version searches {built}.")
    given = [name for name in _ALL_WAYS if getattr(request, name) is not None]
    if len(given) != 1 or given[0] not in ways:
        listed = ", ".join(f"--{way}" for way in ways[:-1])
        raise QueryError(f"in an archive of {archive.kind}s, give one of {listed} and --{ways[-1]}.")
    for option, value, kinds in (
        ("--clips", clips, ("video",)),
        ("--geo", geo, ("scene", "pair")),
        ("--to", request.to, ("pair",)),
    ):
        if value is not None and archive.kind not in kinds:
            of = "s and ".join(kinds)
            raise QueryError(f"{option} is for archives of {of}s; {archive.name!r} is of {archive.kind}s.")
    if request.unlike is not None and request.like is None:
        raise QueryError("--unlike goes with --like: give examples of what is looked for as well.")
    if request.k < 1:
        raise QueryError(f"-k is {request.k}; ask for 1 or more hits.")
    for path in (request.image, request.video, request.like, request.unlike):
        if path is not None and not path.is_file():
            raise QueryError(f"{path} is no file.")


def answer(
    archive: Archive, lake: Lake, request: Request, *, sheet: Path | None = None, clips: Path | None = None
) -> Answer:
    """Search an archive of videos, and write the sheet and the clips that were asked for.

    Raises:
        QueryError: As `check`, or a query that can't be read.
        UsageError: The sheet or the clips can't be written where they should go.
    """
    check(archive, request, clips=clips)
    asked = [path for path in (request.image, request.video) if path is not None]
    if sheet is not None:
        require_output(sheet, "--sheet", inputs=asked)
    if clips is not None:
        require_folder(clips, f"--clips {clips}")
    from lib.search.query import Searcher

    work = served(lake, archive)
    searcher = Searcher(work)
    query, picture = _query(work, searcher, request)
    found = Answer(work.contract.id, searcher.search(query, k=request.k, where=request.where))
    found.notes.extend(filter(None, [note_of(archive, work)]))
    if sheet is not None:
        require_output(sheet, "--sheet", inputs=[Path(hit.path) for hit in found.hits])
        _write_sheet(work, searcher, query, picture, found, sheet)
        found.notes.append(f"sheet: {shown(sheet)}")
    if clips is not None:
        _cut(found, clips, asked)
    return found


def _query(work: Work, searcher: "Searcher", request: Request) -> "tuple[Query, bytes | None]":
    from lib.media.image import jpeg_bytes, read_image
    from lib.search.query import Query

    if request.item is not None:
        return searcher.of_item(request.item), None
    entry = work.archive.embedding
    from lib.embedding.embed import Embedder

    path = request.image or request.video
    try:
        if request.image is not None:
            pictures = [read_image(request.image)]
        else:
            from lib.media.video import sample_video

            stream = sample_video(
                request.video or "", work.archive.frames.sampling(), limit_s=work.archive.frames.limit_s
            )
            pictures = [frame.rgb for frame in stream]
    except UnreadableMediaError as error:
        raise QueryError(
            f"{path} can't be read as a {'picture' if request.image else 'video'}: {error}"
        ) from error
    embedder = Embedder(entry.backbone, size_px=entry.size_px, batch=1 if len(pictures) == 1 else None)
    vectors = embedder.embed_all(pictures)
    features = searcher.features(vectors.cls, vectors.patch_mean)
    middle = pictures[len(pictures) // 2]
    return Query(features, shown(path)), jpeg_bytes(middle, max_side=320)


def _write_sheet(
    work: Work, searcher: "Searcher", query: "Query", picture: bytes | None, found: Answer, path: Path
) -> None:
    from lib.hits_sheet import HitCard, hits_sheet
    from lib.stages.reporting import limits

    cards = [
        HitCard(
            hit.item, hit.score, thumbnail=searcher.thumbnail(hit), start_s=hit.start_s, end_s=hit.end_s,
            file=Path(hit.path),
        )
        for hit in found.hits
    ]  # fmt: skip
    page = hits_sheet(
        picture,
        cards,
        archive=work.archive.name,
        asked=query.shown,
        contract=found.contract,
        warnings=limits(work),
    )
    write_whole(path, page)


def _cut(found: Answer, folder: Path, asked: list[Path]) -> None:
    from lib.media.encode import cut_clip

    folder.mkdir(parents=True, exist_ok=True)
    for hit in found.hits:
        out = folder / f"{hit.rank:02d}_{_plain(hit.item)}_{hit.start_s:.1f}-{hit.end_s:.1f}.mp4"
        try:
            require_output(out, "--clips:", inputs=[Path(hit.path), *asked])
            cut_clip(Path(hit.path), hit.start_s, hit.end_s, out)
            found.clips.append(out)
            found.notes.append(f"clip: {shown(out)}")
        except DinolakeError as error:
            found.notes.append(f"hit {hit.rank} can't be cut: {error}")


def _plain(name: str) -> str:
    import re

    return re.sub(r"[^\w.-]+", "_", name)[-80:]
