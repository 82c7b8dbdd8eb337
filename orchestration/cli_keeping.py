"""Commands that keep a lake: what is forgotten, collected, and which model serves."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from orchestration.cli_queries import ArchiveArgument, JsonOption
from orchestration.terminal import print_json, say, show, show_table


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


COMMANDS: tuple[Callable[..., Any], ...] = (switch,)
