"""One plot of all figures that have a goal: how far each is from it, as a drawing in SVG."""

import math
from collections.abc import Sequence
from html import escape

from bench.figures import Figure

_ROW, _TOP, _LEFT, _PLOT, _RIGHT = 19, 52, 520, 380, 190
# Beyond these a mark stands at the edge: 500 times faster would press all else together.
_LEAST, _MOST = 0.5, 16.0
_TICKS = (0.5, 1, 2, 4, 8, 16)
_GOOD, _BAD, _SOFT = "#1c5d99", "#a8410c", "#5c6067"


def plot_of(figures: Sequence[Figure]) -> str:
    """Draw a row a figure: right of the line at 1 its goal is reached; a bar for the least and the most.

    Where less is better the goal is divided by the figure, so that right is better everywhere.
    """
    shown = [figure for figure in figures if figure.goal]
    width, height = _LEFT + _PLOT + _RIGHT, _TOP + _ROW * len(shown) + 16
    floor = _TOP + _ROW * len(shown)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fcfcfb"/>',
        _text(12, 18, "How far each figure is from its goal (right of 1: reached)", weight=600),
    ]
    for tick in _TICKS:
        at, is_goal = _x(tick), tick == 1
        colour, width_px = ("#1b1c1e", 1.5) if is_goal else ("#d9d9d4", 1)
        drawn.append(f'<path d="M{at} {_TOP - 8}V{floor}" stroke="{colour}" stroke-width="{width_px}"/>')
        label = f"{tick:g}" if tick not in (_LEAST, _MOST) else f"{'≤' if tick == _LEAST else '≥'} {tick:g}"
        drawn.append(_text(at, _TOP - 14, label, anchor="middle", colour=_SOFT))
    for number, figure in enumerate(shown):
        drawn += _row(figure, _TOP + _ROW * number + _ROW / 2)
    return "\n".join([*drawn, "</svg>"]) + "\n"


def _row(figure: Figure, y: float) -> list[str]:
    colour = _GOOD if figure.is_reached else _BAD
    least, most = sorted(_x(_over_goal(figure, value)) for value in (min(figure.ratios), max(figure.ratios)))
    middle = _x(_over_goal(figure, figure.ratio))
    sign = "≤" if figure.is_at_most else "≥"
    value = f"{figure.ratio:,.{figure.digits}f}  ({sign} {figure.goal:g})"
    name = figure.name if len(figure.name) <= 84 else figure.name[:83] + "…"
    return [
        _text(_LEFT - 12, y + 4, name, anchor="end"),
        f'<path d="M{least} {y}H{most}" stroke="{colour}" stroke-width="3" stroke-opacity=".45"/>',
        f'<circle cx="{middle}" cy="{y}" r="4" fill="{colour}"/>',
        _text(_LEFT + _PLOT + 14, y + 4, value, colour=colour),
    ]


def _over_goal(figure: Figure, value: float) -> float:
    goal = figure.goal or 1.0
    if value <= 0:  # nothing was used at all, or it failed outright
        return _MOST if figure.is_at_most else _LEAST
    return goal / value if figure.is_at_most else value / goal


def _x(over_goal: float) -> float:
    held = min(max(over_goal, _LEAST), _MOST)
    return round(_LEFT + _PLOT * math.log(held / _LEAST) / math.log(_MOST / _LEAST), 1)


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#1b1c1e", weight: int = 400
) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )
