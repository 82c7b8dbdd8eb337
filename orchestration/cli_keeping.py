"""Commands that keep a lake: what is forgotten, collected, and which model serves."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from orchestration.cli_queries import ArchiveArgument, JsonOption
from orchestration.terminal import plural, print_json, say, show, show_table, shown


def switch(
    archive: ArchiveArgument,
    to: Annotated[str | None, typer.Option(help="The contract that shall answer.")] = None,
    back: Annotated[bool, typer.Option(help="The one that answered before.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say which models' indexes could answer searches, or let another one answer: at once and whole."""
    from orchestration.keeping import switch_archive

    rows, moved = switch_archive(archive, to=to, back=back)
    if as_json:
        print_json({"archive": archive, "contracts": rows})
        return
    if moved is not None:
        before, now = moved
        say(f"{archive}: {now} answers" + (f", in place of {before}." if before != now else ", as before."))
    if not rows:
        show("nothing was indexed yet")
        return
    columns = ("contract", "backbone", "since", "state", "fault")
    show_table([*columns], [[row[column] for column in columns] for row in rows])


def gc(
    archive: Annotated[str | None, typer.Argument(help="One archive; left out, the whole lake.")] = None,
    older_than: Annotated[float, typer.Option(help="Days that it must have been out of use.")] = 7.0,
    dry_run: Annotated[bool, typer.Option(help="Only say what would go.")] = False,
    dropped_archives: Annotated[
        bool, typer.Option(help="Also archives that aren't in the catalog any more: for good.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what nothing points to any more: old models, superseded indexes, items that are gone."""
    from orchestration.keeping import collect

    done = collect(
        archive, older_than_days=older_than, dry_run=dry_run, dropped_archives=dropped_archives, say=say
    )
    for note in done.notes:
        say(note)
    for name, count in done.purged.items():
        what = "would be taken" if dry_run else "taken"
        say(f"{name}: {plural(count, 'item')} {what} out of every file: forgotten, or gone at the source.")
    if as_json:
        print_json(done.as_json())
        return
    if done.litter:
        rows = [(shown(one.path), f"{one.bytes:,}", one.why) for one in done.litter]
        show_table(["path", "bytes", "why"], rows)
    total = sum(one.bytes for one in done.litter)
    show(f"{total:,} bytes would be freed" if dry_run else f"{done.freed:,} bytes freed")


def forget(
    archive: ArchiveArgument,
    items: Annotated[list[str], typer.Argument(help="Items, as searches name them, or their paths.")],
    as_json: JsonOption = False,
) -> None:
    """Take items out of every answer now, for good, and out of every file with the next gc."""
    from orchestration.keeping import forget_items

    done = forget_items(archive, items)
    if as_json:
        print_json({"archive": archive, "forgotten": list(done.items), "copies": list(done.copies)})
        return
    for item in done.items:
        show(f"forgotten: {shown(item)}")
    for item in done.copies:
        show(f"forgotten: {shown(item)}, the same file under another name")
    say("No search finds them any more. `dinolake gc` takes them out of every file of the lake.")


COMMANDS: tuple[Callable[..., Any], ...] = (switch, gc, forget)
