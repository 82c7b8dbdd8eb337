"""`python -m bench.publish`: what `make bench` measured last, into docs/ and the README's table.

So that neither holds a figure that `make bench` didn't print.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
BEGIN, END = "<!-- made by `python -m bench.publish` -->", "<!-- end -->"


def with_table(readme: str, figures: Sequence[Mapping[str, Any]], here: Mapping[str, Any]) -> str:
    """A README whose lines between the two marks are the figures that have a goal.

    Args:
        readme: The text as it is.
        figures: Of `latest.json`.
        here: Of `machine.json`.

    Raises:
        ValueError: The marks aren't there.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README has no lines {BEGIN} and {END} to write between")
    lines = [
        f"`make bench{'-quick' if here['is_quick'] else ''}`, {here['taken'][:10]}, {here['cores']} cores of "
        f"an {here['cpu']}, no GPU, {here['seconds'] / 60:.0f} minutes. Medians of pairs, and the least and "
        "the most.",
        "",
        "| what | against | ratio | goal |",
        "|---|---|---|---|",
        *map(_row, (figure for figure in figures if figure["goal"] is not None)),
    ]
    return "\n".join([before + begin, *lines, end + after])


def _row(figure: Mapping[str, Any]) -> str:
    digits = figure["digits"]
    ratio = f"{figure['ratio']:,.{digits}f}"
    least, most = figure["spread"]
    if least != most:
        ratio += f" ({least:,.{digits}f} … {most:,.{digits}f})"
    sign = "≤" if figure["goal_is"] == "at most" else "≥"
    goal = f"{sign} {figure['goal']:g}{'' if figure['ok'] else ', **missed**'}"
    cells = [cell.replace("|", "\\|") for cell in (figure["name"], figure["against"], ratio, goal)]
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    """Write them; 1 where there is nothing whole to publish."""
    try:
        figures = json.loads((HERE / "latest.json").read_text())
        here = json.loads((HERE / "machine.json").read_text())
    except FileNotFoundError:
        print("Nothing was measured yet: run `make bench` first.", file=sys.stderr)
        return 1
    if here["failed_parts"]:
        print(f"Of the last bench these failed: {', '.join(here['failed_parts'])}.", file=sys.stderr)
        return 1
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text(), figures, here))
    (ROOT / "docs").mkdir(exist_ok=True)
    for name in ("speed.md", "speed.svg"):
        shutil.copyfile(HERE / "out" / name, ROOT / "docs" / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
