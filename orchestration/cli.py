"""The command line.

Messages go to standard error; standard output has results, or one JSON document with --json.
"""

import json
import os
import sys
import warnings
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from lib.errors import DinolakeError

app = typer.Typer(
    name="dinolake",
    help="A lake of frozen DINOv3 features: search, summaries and reports over your archives.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_out, _err = Console(highlight=False), Console(stderr=True, highlight=False)

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
        _err.print(f"dinolake: {error}", markup=False, soft_wrap=True)
        raise SystemExit(error.exit_status) from None
    except KeyboardInterrupt:
        _err.print("dinolake: interrupted; what was committed stays, the same command goes on from there.")
        raise SystemExit(130) from None
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader of a pipe left (`| head`); what was asked for is done.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        _err.print(f"dinolake: {error}", markup=False, soft_wrap=True)
        raise SystemExit(1) from None
    except Exception as error:
        if os.environ.get("DINOLAKE_TRACEBACK"):
            raise
        what = f"dinolake: this is a bug in Dinolake ({type(error).__name__}: {error})."
        _err.print(f"{what} DINOLAKE_TRACEBACK=1 shows where.", markup=False, soft_wrap=True)
        raise SystemExit(1) from None


def _say(line: str) -> None:
    _err.print(line, markup=False, soft_wrap=True)


def _print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _version(is_asked: bool) -> None:
    if is_asked:
        _out.print(f"dinolake {metadata.version('dinolake')}")
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
        _print_json(rows)
        return
    table = Table("archive", "kind", "items", "rejected", "stale shards", "state", box=None, pad_edge=False)
    for row in rows:
        counts = (str(row["items"]), str(row["rejected"]), str(row["stale_shards"]))
        table.add_row(row["archive"], row["kind"], *counts, row["state"])
    _out.print(table if rows else "no archives yet: `dinolake add NAME video FOLDER`")


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
        name, kind, root, dataset=dataset, backbone=backbone, per_second=per_second, say=_say
    )
    _say(f"added {entry.name!r} to {path}. Next: dinolake run {entry.name}")


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
    outcome = run_archive(chosen, open_lake(), until=stage, accept_empty=accept_empty, refit=refit, say=_say)
    if as_json:
        stages = {name: asdict(counted) for name, counted in outcome.stages.items()}
        _print_json(
            {"archive": archive, "stages": stages, "runs": outcome.runs, "warnings": outcome.warnings}
        )
        return
    table = Table("stage", "made", "kept", "rejected", "seconds", box=None, pad_edge=False)
    for name, counted in outcome.stages.items():
        table.add_row(
            name,
            *(f"{value:,}" for value in (counted.made, counted.kept, counted.rejected)),
            f"{counted.seconds:.1f}",
        )
    _out.print(table)
    for file, reason in outcome.reasons.items():
        _say(f"refused or cut short: {file!r}: {reason}")
    for check, found in outcome.warnings.items():
        _say(f"check {check}: {found}")
    if outcome.is_all_kept:
        _say("nothing to do: everything was up to date.")


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
        _say(note)
    if as_json:
        hits = [{name: value for name, value in asdict(hit).items() if name != "shard"} for hit in found.hits]
        _print_json({"archive": archive, "contract": found.contract, "hits": hits})
        return
    table = Table("", "item", "from", "to", "score", "path", box=None, pad_edge=False)
    for hit in found.hits:
        table.add_row(
            str(hit.rank), hit.item, f"{hit.start_s:.1f}", f"{hit.end_s:.1f}", f"{hit.score:.3f}", hit.path
        )
    _out.print(table if found.hits else "no hits")


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
        backbone=backbone, per_second=per_second, say=_say,
    )  # fmt: skip
    if as_json:
        _print_json(made.document)
    else:
        for path in made.paths:
            _out.print(str(path), markup=False, soft_wrap=True)


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

    made = embed_paths(paths, out, backbone=backbone, per_second=per_second, size_px=size_px, say=_say)
    for path, reason in made.refused.items():
        _say(f"refused: {path!r}: {reason}")
    _out.print(
        f"{made.vectors:,} vectors of {made.files} files, {made.backbone}, to {out}",
        markup=False,
        soft_wrap=True,
    )
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
        _print_json(plans)
        return
    table = Table("archive", "stage", "done", "stale", "missing", box=None, pad_edge=False)
    for entry in plans:
        for stage, counted in entry["stages"].items():
            table.add_row(entry["archive"], stage, *(str(counted[n]) for n in ("done", "stale", "missing")))
    _out.print(table)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Of the web page.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
) -> None:
    """Open the Dagster UI on this lake, with its daemon (what `make dev` runs)."""
    from lib.settings import project_root
    from orchestration.instance import prepare_home

    prepare_home()
    # In the servers that it starts too: a line of these for each asset would bury what matters.
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    _say(f"Dagster UI at http://{host}:{port} (Ctrl-C ends it)")
    program = Path(sys.executable).with_name("dagster")
    arguments = ["dev", "-w", str(project_root() / "workspace.yaml"), "-h", host, "-p", str(port)]
    os.execv(program, [str(program), *arguments])  # noqa: S606 - no shell


@app.command(hidden=True)
def demo() -> None:
    """What `make demo` runs, once everything is installed."""
    from orchestration.demo import run_demo

    run_demo(say=lambda line: _out.print(line, markup=False, soft_wrap=True))


if __name__ == "__main__":
    main()
