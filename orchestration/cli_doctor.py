"""Commands that look after a lake's health."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from lib.errors import DinolakeError
from orchestration.cli_queries import JsonOption
from orchestration.terminal import print_json, say, show, shown


def doctor(
    archive: Annotated[str | None, typer.Argument(help="One archive; left out, all.")] = None,
    repair: Annotated[
        bool, typer.Option(help="Put aside what is broken, so that the next run makes it again.")
    ] = False,
    quick: Annotated[bool, typer.Option(help="Read footers only, not every page of every file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the lake and all that it needs; each finding with its remedy. Status 1 where an error is left."""
    from orchestration.doctoring import examine_all

    exam = examine_all(archive, is_quick=quick, is_repairing=repair, say=say)
    if as_json:
        print_json({"findings": [found.as_json() for found in exam.findings]})
    else:
        order = ("error", "warning", "info")
        for found in sorted(exam.findings, key=lambda each: order.index(each.level)):
            show(shown(f"{found.level}: {found.what}"))
            if found.repaired:
                show(shown(f"    repaired: {found.repaired}"))
            elif found.remedy:
                show(shown(f"    remedy: {found.remedy}"))
    errors = sum(found.level == "error" and not found.repaired for found in exam.findings)
    repaired = sum(bool(found.repaired) for found in exam.findings)
    if repaired:
        say(f"{repaired} repaired. What was put aside is kept in the lake's _broken folder.")
    if not exam.is_sound:
        raise DinolakeError(f"{errors} error{'s' * (errors > 1)} found.")
    say("no errors.")


def health(as_json: JsonOption = False) -> None:
    """Write the page that tells of every archive: what is due, failed, refused, fresh, and what answers."""
    from lib.health import make_health
    from orchestration.access import open_lake, the_catalog

    path, summary = make_health(open_lake(), the_catalog())
    if as_json:
        print_json({"page": str(path), **summary})
        return
    show(shown(path))


COMMANDS: tuple[Callable[..., Any], ...] = (doctor, health)
