"""The command line.

Messages go to standard error; standard output has results, or one JSON document with --json.
"""

import logging
import os
import sys
import warnings
from collections.abc import Callable
from importlib import metadata
from typing import Annotated, Any

import typer

from lib.errors import DinolakeError
from orchestration import cli_bench, cli_doctor, cli_keeping, cli_queries, cli_run
from orchestration.cli_queries import JsonOption
from orchestration.terminal import print_json, say, show, show_table, shown

app = typer.Typer(
    name="dinolake",
    help="A lake of frozen DINOv3 features: search, summaries and reports over your archives.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


# Whose errors mean that what Dagster remembers can't be had.
_STORAGE = ("dagster_postgres", "psycopg2", "sqlalchemy")


def main() -> None:
    """Run a command; an expected error is one message and its exit status, never a traceback."""
    # What Dagster marks as beta is for us to know, not for every run to print.
    warnings.filterwarnings("ignore", message=".*is currently in beta.*")
    # Each attempt on a database that is gone would be told; what it comes to is one message.
    logging.getLogger().addFilter(lambda told: "Retrying failed database" not in str(told.msg))
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
        if type(error).__module__.startswith(_STORAGE):
            cause = error.__cause__ or error
            first, *_ = [*str(cause).splitlines(), type(cause).__name__]
            what = f"dinolake: Dagster's storage can't be reached ({first.rstrip('.')})."
            say(f"{what} What is committed stays; once it answers, the same command goes on.")
            raise SystemExit(1) from None
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
    kind: Annotated[str, typer.Argument(help="video, scene or pair (image comes later).")],
    root: Annotated[
        str | None,
        typer.Argument(
            help="Folder of the sources, or s3://BUCKET/PREFIX. Scenes: a STAC API's address or a "
            "catalog.json, too. Pairs: a CSV."
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="A public dataset instead of a folder, such as ucf101.")
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(help="A backbone spec; left out, DINOv3 is tried first, then the packaged one."),
    ] = None,
    per_second: Annotated[float, typer.Option(help="Videos: frames a second to look at.")] = 1.0,
    pattern: Annotated[
        str,
        typer.Option(help="Scenes: what files are called, where that tells the date: {tile}_%Y%m%d, %Y."),
    ] = "",
    period: Annotated[str, typer.Option(help="Scenes: week or month, the time side of a cell.")] = "week",
    start: Annotated[
        str | None,
        typer.Option(help="Scenes: first day of the periods; left out, by the files that are there."),
    ] = None,
    collection: Annotated[
        list[str] | None, typer.Option(help="STAC: a collection; may be given several times.")
    ] = None,
    bbox: Annotated[str | None, typer.Option(help="STAC: west,south,east,north in degrees.")] = None,
    datetime: Annotated[str | None, typer.Option(help="STAC: a span of time, 2024-01-01/...")] = None,
    asset: Annotated[
        list[str] | None, typer.Option(help="STAC: the asset to take; several: the first that an item has.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--map", help="Pairs: what a column is called: left=street_view_path. Several times."),
    ] = None,
) -> None:
    """Add an archive to the catalog, with the defaults that were chosen for it written into its entry."""
    from orchestration.adding import Asked, add_archive_entry

    asked = Asked(
        name, kind, root, dataset=dataset, backbone=backbone, per_second=per_second, pattern=pattern,
        period=period, start=start, collections=tuple(collection or ()), bbox=bbox, datetime=datetime,
        assets=tuple(asset or ()), columns=tuple(column or ()),
    )  # fmt: skip
    entry, path = add_archive_entry(asked, say=say)
    say(f"added {entry.name!r} to {path}. Next: dinolake run {entry.name}")


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
    states = ("done", "stale", "missing", "quarantined")
    rows = [
        (
            entry["archive"],
            stage,
            *(counted[state] for state in states),
            f"{counted['samples']['due']:,}",
            _estimated(counted),
            ", ".join(f"{reason} ({count})" for reason, count in counted["why"].items()),
        )
        for entry in plans
        for stage, counted in entry["stages"].items()
    ]
    show_table(["archive", "stage", *states, "samples due", "about", "why (shards)"], rows)
    for entry in plans:
        if "error" in entry:
            say(f"{entry['archive']}: {entry['error']}")


def _estimated(counted: dict[str, Any]) -> str:
    """What a stage will cost by past runs, as far as there were any."""
    if not counted["samples"]["due"]:
        return ""
    seconds, size = counted["estimate"]["seconds"], counted["estimate"]["bytes"]
    told = [] if seconds is None else [f"{seconds:,.0f} s"]
    return ", ".join([*told, *([] if size is None else [f"{size / 1e6:,.1f} MB"])]) or "not known yet"


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


_COMMANDS: tuple[Callable[..., Any], ...] = (
    *cli_run.COMMANDS,
    *cli_queries.COMMANDS,
    *cli_keeping.COMMANDS,
    *cli_doctor.COMMANDS,
    *cli_bench.COMMANDS,
)
for _command in _COMMANDS:
    app.command(_command.__name__.replace("_", "-"))(_command)


if __name__ == "__main__":
    main()
