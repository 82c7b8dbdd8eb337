"""What `make demo` shows: videos, scenes and pairs through their lines, with answers to check for truth."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lib.catalog import Archive, set_backbone
from lib.datasets.demo import FILM
from lib.lake import write_whole
from lib.settings import read_settings
from lib.stages.making import Work
from orchestration.access import open_lake, the_catalog
from orchestration.outcome import RunOutcome
from orchestration.runs import run_archive
from orchestration.searching import Answer, Request, answer

_ARCHIVE = "demo"
_PICTURE = ("bikes", 6.0)


def run_demo(*, say: Callable[[str], None]) -> None:
    """Run the line, search by picture and by clip, sum the film up, and say where everything is."""
    began = time.perf_counter()
    say("Dinolake demo: four real videos, and a film joined from pieces of them")
    say("\nBackbone:")
    archive = choose_backbone(_ARCHIVE, say)
    lake = open_lake()
    outcome = run_archive(archive, lake, say=lambda line: say(f"  {line}"))
    work = Work(lake, archive)
    tell_made(outcome, work, say)
    folder = lake.root / "_demo"
    folder.mkdir(parents=True, exist_ok=True)
    _search_by_picture(work, folder, say)
    _search_by_clip(work, folder, say)
    _sum_up(work, folder, say)
    from orchestration.demo_scenes import SCENES, show_scenes

    say("\nScenes: six dates made from a Landsat scene of the Great Salt Lake, with changes planted")
    scenes_archive = choose_backbone(SCENES)
    scenes = run_archive(scenes_archive, lake, say=lambda line: say(f"  {line}"))
    tell_made(scenes, Work(lake, scenes_archive), say)
    show_scenes(Work(lake, scenes_archive), folder, say=say)
    from orchestration.demo_pairs import PAIRS, show_pairs_found

    say("\nPairs: windows of the same scene in visible light and in infrared, turned, flipped and shifted")
    pairs_archive = choose_backbone(PAIRS)
    pairs = run_archive(pairs_archive, lake, say=lambda line: say(f"  {line}"))
    tell_made(pairs, Work(lake, pairs_archive), say)
    show_pairs_found(Work(lake, pairs_archive), folder, say=say)
    say("\nReports (one self-contained page each):")
    pages = (
        f"{_ARCHIVE}/search_report",
        f"{_ARCHIVE}/summary_report",
        f"{SCENES}/change_report",
        f"{PAIRS}/retrieval_report",
        "_scoreboard",
    )
    for page in pages:
        say(f"  {next((lake.root / page).glob('*.html'))}")
    outcomes = (outcome, scenes, pairs)
    say(
        f"\n{sum(len(each.runs) for each in outcomes)} Dagster runs were added to the history: `make dev` "
        f"opens the UI: groups {_ARCHIVE}, {SCENES}, {PAIRS}."
    )
    if all(each.is_all_kept for each in outcomes):
        say("Nothing was recomputed: everything stood in the lake already.")
    say(f"{time.perf_counter() - began:.0f} s in all.")


def choose_backbone(name: str, say: Callable[[str], None] = lambda line: None) -> Archive:
    """The archive under the best backbone that can be had, noted in its catalog entry."""
    from lib.embedding.backbones import choose_default

    archive = the_catalog().archive(name)
    spec, notes = choose_default()
    for note in notes:
        say(f"  {note}")
    if spec != archive.embedding.backbone:
        set_backbone(read_settings().catalog, name, spec)
        archive = the_catalog().archive(name)
    return archive


def tell_made(outcome: RunOutcome, work: Work, say: Callable[[str], None]) -> None:
    """What each stage came to, and where it lies."""
    say("\nMade (samples made anew, kept as they were, refused; seconds):")
    for stage, counted in outcome.stages.items():
        say(f"  {stage:17} {counted.made:5} {counted.kept:5} {counted.rejected:5} {counted.seconds:7.1f}")
    say(f"  contract: {work.contracts.shown}")
    say(f"  lake: {work.lake.root}")


def _search_by_picture(work: Work, folder: Path, say: Callable[[str], None]) -> None:
    from lib.media.video import sample_video
    from lib.stages.moment_search import spoil

    item, second = _PICTURE
    path = work.root / f"{item}.mp4"
    frame = min(sample_video(path, work.archive.frames.sampling()), key=lambda f: abs(f.t_s - second))
    query = folder / "query.jpg"
    write_whole(query, spoil(frame.rgb)[0])
    sheet = folder / "hits_by_picture.html"
    found = answer(work.archive, work.lake, Request(query, None, None, 5), sheet=sheet)
    say(f"\nSearch by picture: {query}")
    say(f"  ({item} at {second:.1f} s, its middle cut out, mirrored, darkened, saved as a poor JPEG)")
    _tell_hits(found, say)
    picture = _contact_sheet(work, found, query.read_bytes(), folder / "hits_by_picture.png")
    say(f"  to look at: {sheet} and {picture}")


def _search_by_clip(work: Work, folder: Path, say: Callable[[str], None]) -> None:
    from lib.media.encode import cut_clip

    film = next(
        i for shard in work.prints.shards for i in work.rows("items", shard).to_pylist() if i["path"] == FILM
    )
    piece = film["segments"][len(film["segments"]) // 2]
    query = folder / "query.mp4"
    cut_clip(work.root / film["path"], piece["start_s"], piece["end_s"], query)
    sheet = folder / "hits_by_clip.html"
    found = answer(work.archive, work.lake, Request(None, query, None, 5), sheet=sheet)
    say(f"\nSearch by clip: {query}")
    say(
        f"  (the film from {piece['start_s']:.1f} to {piece['end_s']:.1f} s, which was taken from "
        f"{piece['copy_of']} at {piece['copy_start_s']:.1f} s: both are right)"
    )
    _tell_hits(found, say)
    say(f"  to look at: {sheet}")


def _tell_hits(found: Answer, say: Callable[[str], None]) -> None:
    for hit in found.hits:
        say(f"  {hit.rank}. {hit.item:22} {hit.start_s:5.1f} – {hit.end_s:5.1f} s   score {hit.score:.3f}")


def _contact_sheet(work: Work, found: Answer, query: bytes, path: Path) -> Path:
    from PIL import Image

    from lib.stages.pictures import hit_picture, sheet

    pictures = [np.asarray(Image.open(io.BytesIO(query)).convert("RGB"))]
    pictures += [hit_picture(work, hit) for hit in found.hits]
    captions = ["query", *(f"{h.rank}. {h.item} {h.t_s:.1f} s  {h.score:.2f}" for h in found.hits)]
    write_whole(path, sheet(pictures, captions))
    return path


def _sum_up(work: Work, folder: Path, say: Callable[[str], None]) -> None:
    from orchestration.summarizing import summarize_file

    film = work.root / FILM
    out = folder / "film_summary.mp4"
    if not out.is_file() or out.stat().st_mtime < film.stat().st_mtime:
        made = summarize_file(
            film, out, method="kts", budget=0.3, clips=5, clip_seconds=2.0,
            backbone=work.archive.embedding.backbone, per_second=4.0, say=lambda line: None,
        )  # fmt: skip
        shown_s, duration_s = made.document["summary_s"], made.document["duration_s"]
        say(f"\nSummary of {film.name}: {shown_s:.1f} of {duration_s:.1f} s")
    else:
        say(f"\nSummary of {film.name}, as it stood:")
    for path in (out, out.with_name("film_summary_storyboard.jpg"), out.with_suffix(".json")):
        say(f"  {path}")
