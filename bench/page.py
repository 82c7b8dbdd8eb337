"""The figures for a reader: a table in the terminal, a page in Markdown with a plot beside it."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from bench.figures import Figure
from bench.plot import plot_of


def ratio_of(figure: Figure) -> str:
    """Its median, and the least and the most where it was measured more than once."""
    text = f"{figure.ratio:,.{figure.digits}f}"
    if len(figure.ratios) > 1:
        text += f" ({min(figure.ratios):,.{figure.digits}f} … {max(figure.ratios):,.{figure.digits}f})"
    return text


def goal_of(figure: Figure) -> str:
    """What it has to reach; empty where it stands for itself."""
    return "" if figure.goal is None else f"{'≤' if figure.is_at_most else '≥'} {figure.goal:g}"


def state_of(figure: Figure) -> str:
    """Whether it does."""
    return "" if figure.goal is None else "ok" if figure.is_reached else "MISSED"


def table_of(figures: Sequence[Figure]) -> Table:
    """The figures for a terminal."""
    table = Table("what", "against", "ratio", "goal", "", "detail", show_lines=True)
    for figure in figures:
        row = (
            figure.name,
            figure.against,
            ratio_of(figure),
            goal_of(figure),
            state_of(figure),
            figure.detail,
        )
        table.add_row(*map(escape, row))
    return table


def write_page(figures: Sequence[Figure], here: Mapping[str, Any], folder: Path) -> None:
    """Write `speed.md` and `speed.svg`.

    Args:
        figures: In the order in which they were measured.
        here: What `machine` told.
        folder: Made where it isn't there.
    """
    folder.mkdir(exist_ok=True)
    (folder / "speed.svg").write_text(plot_of(figures))
    (folder / "speed.md").write_text(markdown_of(figures, here))


def markdown_of(figures: Sequence[Figure], here: Mapping[str, Any]) -> str:
    """The whole page."""
    packages = ", ".join(f"{name} {version}" for name, version in here["packages"].items())
    missed = [figure for figure in figures if not figure.is_reached]
    lines = [
        "# Speed, as measured",
        "",
        f"`make bench{'-quick' if here['is_quick'] else ''}`, {here['taken'][:10]}, {here['seconds']} s in "
        f"all: {here['cpu']}, {here['cores']} cores, {here['memory_gb']} GB, "
        f"{'with' if here['has_avx512_bf16'] else 'without'} bfloat16 instructions, no GPU used; a load of "
        f"{here['load_at_start']:g} at the start; {here['code']}. Python {here['python']}; {packages}.",
        "",
        "A ratio is a median of pairs, theirs and ours measured in turn in one run, with the least and the "
        "most of them. Pairs that other processes disturbed are measured again. ViT-S/16 is DINOv3's small "
        "architecture with random weights; its speed is that of the real one.",
        "",
        f"{sum(figure.goal is not None for figure in figures)} figures have a goal, {len(missed)} miss it"
        + (": " + "; ".join(figure.name for figure in missed) if missed else "")
        + ".",
        *([f"Failed, and not here: {', '.join(here['failed_parts'])}."] if here["failed_parts"] else []),
        "",
        "![Each figure over its goal](speed.svg)",
    ]
    for part, told in groupby(figures, key=lambda figure: figure.part):
        lines += [
            "",
            f"## {part.capitalize()}",
            "",
            "| what | against | ratio | goal | |",
            "|---|---|---|---|---|",
        ]
        notes = []
        for figure in told:
            cells = (figure.name, figure.against, ratio_of(figure), goal_of(figure), state_of(figure))
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
            notes += [f"- {figure.name}: {figure.detail}."] if figure.detail else []
        lines += ["", *notes]
    return "\n".join(lines) + "\n"
