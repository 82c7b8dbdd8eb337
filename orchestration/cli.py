"""The command line.

Messages go to standard error; standard output has results, or one JSON document with --json.
"""

import os
import sys
import warnings
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from lib.errors import DinolakeError
from orchestration.terminal import plural, print_json, say, show, show_table, shown

app = typer.Typer(
    name="dinolake",
    help="A lake of frozen DINOv3 features: search, summaries and reports over your archives.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ArchiveArgument = Annotated[str, typer.Argument(help="An archive of the catalog.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON document on standard output, nothing else there.")
]


def main() -> None:
    """Run a command; an expected error is one message and its exit status, never a traceback."""
    # Dagster marks backfill policies as beta; that is for us to know, not for every run to print.
    warnings.filterwarnings("ignore", message=".*backfill_policy.*")
    try:
        app()
    except DinolakeError as error:
        say(f"dinolake: {error}")
        raise SystemExit(error.exit_status) from None
    except KeyboardInterrupt:
        say("dinolake: interrupted.")
        raise SystemExit(130) from None
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader of a pipe left (`| head`); what was asked for is done.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        what = f"{shown(error.filename)}: {error.strerror}." if error.filename else str(error)
        say(f"dinolake: {what}")
        raise SystemExit(1) from None
    except Exception as error:
        if os.environ.get("DINOLAKE_TRACEBACK"):
            raise
        what = f"dinolake: this is a bug in Dinolake ({type(error).__name__}: {error})."
        say(f"{what} DINOLAKE_TRACEBACK=1 shows where.")
        raise SystemExit(1) from None


def _version(is_asked: bool) -> None:
    if is_asked:
        show(f"dinolake {metadata.version('dinolake')}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A lake of frozen DINOv3 features."""


@app.command()
def archives(as_json: JsonOption = False) -> None:
    """List the archives, what they hold, and how much is stale."""
    from orchestration.listing import list_archives

    rows = list_archives()
    if as_json:
        print_json(rows)
        return
    if not rows:
        show("no archives yet: `dinolake add NAME video FOLDER`")
        return
    columns = ("archive", "kind", "items", "rejected", "stale_shards", "state")
    show_table([c.replace("_", " ") for c in columns], [[row[c] for c in columns] for row in rows])


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it: [a-z][a-z0-9_]*.")],
    kind: Annotated[str, typer.Argument(help="video (scene, pair and image come later).")],
    root: Annotated[Path | None, typer.Argument(help="Folder of the sources.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="A public dataset instead of a folder, such as ucf101.")
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(help="A backbone spec; left out, DINOv3 is tried first, then the packaged one."),
    ] = None,
    per_second: Annotated[float, typer.Option(help="Frames a second to look at.")] = 1.0,
) -> None:
    """Add an archive to the catalog, with the defaults that were chosen for it written into its entry."""
    from orchestration.adding import add_archive_entry

    entry, path = add_archive_entry(
        name, kind, root, dataset=dataset, backbone=backbone, per_second=per_second, say=say
    )
    say(f"added {entry.name!r} to {path}. Next: dinolake run {entry.name}")


@app.command()
def run(
    archive: ArchiveArgument,
    stage: Annotated[
        str | None, typer.Argument(help="Stop at this stage; what is above it is made too.")
    ] = None,
    as_json: JsonOption = False,
    accept_empty: Annotated[
        bool, typer.Option(help="The sources' folder is empty, and that is right.")
    ] = False,
    refit: Annotated[bool, typer.Option(help="Fit the archive's centring mean again.")] = False,
) -> None:
    """Make what is missing or stale, as Dagster runs."""
    from orchestration.access import open_lake, the_catalog
    from orchestration.runs import run_archive

    chosen = the_catalog().archive(archive)
    outcome = run_archive(chosen, open_lake(), until=stage, accept_empty=accept_empty, refit=refit, say=say)
    if as_json:
        stages = {name: asdict(counted) for name, counted in outcome.stages.items()}
        print_json({"archive": archive, "stages": stages, "runs": outcome.runs, "warnings": outcome.warnings})
        return
    rows = [
        (name, *(f"{n:,}" for n in (counted.made, counted.kept, counted.rejected)), f"{counted.seconds:.1f}")
        for name, counted in outcome.stages.items()
    ]
    show_table(["stage", "made", "kept", "rejected", "seconds"], rows)
    for file, reason in outcome.reasons.items():
        say(f"refused or cut short: {shown(file)}: {reason}")
    for check, found in outcome.warnings.items():
        say(f"check {check}: {found}")
    if outcome.is_all_kept:
        say("nothing to do: everything was up to date.")


@app.command()
def search(
    archive: ArchiveArgument,
    image: Annotated[Path | None, typer.Option(help="A picture to look for.")] = None,
    video: Annotated[Path | None, typer.Option(help="A clip to look for.")] = None,
    item: Annotated[str | None, typer.Option(help="A stored item, or a moment of it: ITEM#t=12.0.")] = None,
    k: Annotated[int, typer.Option("-k", help="Hits wanted.")] = 5,
    where: Annotated[
        str | None, typer.Option(help="SQL over the clips: duration_s > 60, label = 'cat'…")
    ] = None,
    as_json: JsonOption = False,
    sheet: Annotated[Path | None, typer.Option(help="Write a page with the hits' pictures.")] = None,
    clips: Annotated[Path | None, typer.Option(help="Cut the hits as mp4 files into this folder.")] = None,
) -> None:
    """Find moments that look like a picture, a clip or a stored item."""
    from orchestration.access import open_lake, the_catalog
    from orchestration.searching import Request, answer

    request = Request(image=image, video=video, item=item, k=k, where=where)
    found = answer(the_catalog().archive(archive), open_lake(), request, sheet=sheet, clips=clips)
    for note in found.notes:
        say(note)
    if as_json:
        hits = [{name: value for name, value in asdict(hit).items() if name != "shard"} for hit in found.hits]
        print_json({"archive": archive, "contract": found.contract, "hits": hits})
    elif found.hits:
        rows = [
            (hit.rank, hit.item, f"{hit.start_s:.1f}", f"{hit.end_s:.1f}", f"{hit.score:.3f}", hit.path)
            for hit in found.hits
        ]
        show_table(["", "item", "from", "to", "score", "path"], rows)
    else:
        show("no hits")
    if clips is not None and found.hits and not found.clips:
        raise DinolakeError("none of the hits could be cut; the reasons are above.")


@app.command()
def summarize(
    video: Annotated[Path, typer.Argument(help="The video to sum up.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The mp4 to write; its storyboard and JSON go beside it.")
    ],
    method: Annotated[str, typer.Option(help="kts: shots under a budget; kmeans: fixed clips.")] = "kts",
    budget: Annotated[float, typer.Option(help="Share of the video's length, for kts.")] = 0.15,
    clips: Annotated[int, typer.Option(help="Number of clips, for kmeans.")] = 5,
    clip_seconds: Annotated[float, typer.Option(help="Length of a clip in seconds, for kmeans.")] = 2.0,
    backbone: Annotated[str | None, typer.Option(help="A backbone spec.")] = None,
    per_second: Annotated[float, typer.Option(help="Frames a second to look at.")] = 2.0,
    as_json: JsonOption = False,
) -> None:
    """Sum a video up: an mp4 with its sound, a storyboard, and the shots with their scores."""
    from orchestration.summarizing import summarize_file

    made = summarize_file(
        video, out, method=method, budget=budget, clips=clips, clip_seconds=clip_seconds,
        backbone=backbone, per_second=per_second, say=say,
    )  # fmt: skip
    if as_json:
        print_json(made.document)
    else:
        for path in made.paths:
            show(shown(path))


@app.command()
def change(
    before: Annotated[Path, typer.Argument(help="The earlier picture: a GeoTIFF, or any picture.")],
    after: Annotated[Path, typer.Argument(help="The later one; warped onto the earlier's grid if need be.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write to.")],
    backbone: Annotated[str | None, typer.Option(help="A backbone spec.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Find what changed between two pictures of one place: a map, polygons with areas, a picture."""
    from orchestration.changing import change_files

    made = change_files(before, after, out, backbone=backbone, say=say)
    if as_json:
        print_json(made.summary)
        return
    unit = "px" if "changed_px" in made.summary else "m2"
    area = f"{made.summary[f'changed_{unit}']:,.0f} {'m²' if unit == 'm2' else 'px'}"
    show(f"{plural(made.summary['polygons'], 'polygon')}, {area}, {made.summary['changed_pct']:.2f} %")
    for path in made.paths:
        show(shown(path))


@app.command()
def embed(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, videos, or folders of them.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The Parquet file: path, t_s, vector.")],
    backbone: Annotated[
        str | None, typer.Option(help="A backbone spec; left out, DINOv3 is tried first.")
    ] = None,
    per_second: Annotated[float, typer.Option(help="Frames a second of a video.")] = 1.0,
    size_px: Annotated[int, typer.Option(help="Side of the picture the backbone sees.")] = 224,
) -> None:
    """Embed any pictures and videos into one Parquet file.

    Backbone specs: efficientnet_lite0 (packaged, not DINOv3) · timm:vit_small_patch16_dinov3.lvd1689m (any
    DINOv3 name of timm) · hf:FOLDER (a Hugging Face directory) · meta:FILE.pth (Meta's own checkpoint) ·
    random:NAME.
    """
    from orchestration.embedding import embed_paths

    made = embed_paths(paths, out, backbone=backbone, per_second=per_second, size_px=size_px, say=say)
    for path, reason in made.refused.items():
        say(f"refused: {shown(path)}: {reason}")
    counted = f"{plural(made.vectors, 'vector')} of {plural(made.files, 'file')}"
    show(f"{counted}, {made.backbone}, to {shown(out)}")
    if not made.vectors:
        raise DinolakeError("nothing could be embedded; the reasons are above.")


@app.command()
def plan(
    archive: Annotated[str | None, typer.Argument(help="One archive; left out, all.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what `dinolake run` would make, before it runs."""
    from orchestration.listing import list_plans

    plans = list_plans(archive)
    if as_json:
        print_json(plans)
        return
    states = ("done", "stale", "missing")
    rows = [
        (
            entry["archive"],
            stage,
            *(counted[state] for state in states),
            ", ".join(f"{reason} ({count})" for reason, count in counted["why"].items()),
        )
        for entry in plans
        for stage, counted in entry["stages"].items()
    ]
    show_table(["archive", "stage", *states, "why (shards)"], rows)
    for entry in plans:
        if "error" in entry:
            say(f"{entry['archive']}: {entry['error']}")


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Of the web page.", min=1, max=65535)] = 3000,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
) -> None:
    """Open the Dagster UI on this lake, with its daemon (what `make dev` runs)."""
    from orchestration.serving import serve_ui

    serve_ui(host, port, say=say)


@app.command(hidden=True)
def demo() -> None:
    """What `make demo` runs, once everything is installed."""
    from orchestration.demo import run_demo

    run_demo(say=show)


if __name__ == "__main__":
    main()
