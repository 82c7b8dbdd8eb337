"""Small pictures in SVG, drawn by hand: score curves over a film, and chance, naive and ours on one scale."""

import math
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from lib.page import clock, figure, render, tick

_WIDTH, _HEIGHT = 760, 236
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 34, 40
_TIME_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
# Twice the plot's width in points; a film of hours has more, and a page must stay light.
_MOST_POINTS = 1400
_BAR_LEFT, _BAR_WIDTH = 8, 144


def line_plot(
    times_s: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    chosen_s: Sequence[tuple[float, float]] = (),
    cuts_s: Sequence[float] = (),
    y_label: str = "score",
    x_label: str | None = None,
) -> Markup:
    """Draw curves over a film's time, the chosen shots shaded and the true cuts marked.

    Args:
        times_s: When each value stands, ascending, seconds.
        series: Name to values, one a time; a value that is not finite breaks its line. Four are told apart.
        chosen_s: Start and end of each shot that the summary took.
        cuts_s: Where the truth has its cuts.
        y_label: What the values are, with their unit if they have one.
        x_label: What is drawn over, where it is no film's time: epochs.

    Raises:
        ValueError: A series is not as long as `times_s`.
    """
    for name, values in series.items():
        if len(values) != len(times_s):
            raise ValueError(
                f"series {name!r} has {len(values)} values for {len(times_s)} times: they must pair up"
            )
    finite = [float(v) for values in series.values() for v in values if math.isfinite(v)]
    if not finite:
        return render("plot.svg.j2", empty=True)
    start, end = float(times_s[0]), max(float(times_s[-1]), float(times_s[0]) + 1e-3)
    # Shots and cuts may reach past the first and the last sampled frame.
    start = min([start, *(a for a, _ in chosen_s), *cuts_s])
    end = max([end, *(b for _, b in chosen_s), *cuts_s])
    ticks = _value_ticks(min(finite), max(finite))

    def x(t: float) -> float:
        return round(_LEFT + (t - start) / (end - start) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(v: float) -> float:
        low, high = ticks[0], ticks[-1]
        return round(_HEIGHT - _BOTTOM - (v - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM), 1)

    is_long = end > 120 and x_label is None
    return render(
        "plot.svg.j2",
        empty=False,
        box={"width": _WIDTH, "height": _HEIGHT, "left": _LEFT, "top": _TOP},
        floor=_HEIGHT - _BOTTOM,
        right=_WIDTH - _RIGHT,
        lines=[{"name": name, "path": _path(times_s, values, x, y)} for name, values in series.items()],
        key=_key(list(series), has_shots=bool(chosen_s), has_cuts=bool(cuts_s)),
        shots=[
            {"x": x(a), "width": max(round(x(b) - x(a), 1), 1.0), "says": f"{clock(a)} – {clock(b)}"}
            for a, b in chosen_s
        ],
        cuts=[{"x": x(t), "says": f"cut at {clock(t)}"} for t in cuts_s],
        x_ticks=[
            (x(t), clock(t).removesuffix(".0") if is_long else f"{t:g}") for t in _time_ticks(start, end)
        ],
        y_ticks=[(y(v), tick(v)) for v in ticks],
        x_label=x_label or ("time (min:s)" if is_long else "time (s)"),
        y_label=y_label,
        says=f"{', '.join(series)} over {x_label} {start:g} to {end:g}"
        if x_label
        else f"{', '.join(series)} over {clock(start)} to {clock(end)}; "
        f"{len(chosen_s)} chosen shots, {len(cuts_s)} true cuts",
    )


def _path(
    times_s: Sequence[float],
    values: Sequence[float],
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> str:
    steps, is_drawing = [], False
    for i in _kept(values):
        if math.isfinite(values[i]):
            steps.append(f"{'L' if is_drawing else 'M'}{x(times_s[i])} {y(values[i])}")
        is_drawing = math.isfinite(values[i])
    return "".join(steps)


def _kept(values: Sequence[float]) -> list[int]:
    """Indices to draw: all, or of each bucket its least and its greatest, so that no spike is lost."""
    if len(values) <= _MOST_POINTS:
        return list(range(len(values)))
    width = math.ceil(2 * len(values) / _MOST_POINTS)
    kept: list[int] = []
    for first in range(0, len(values), width):
        bucket = range(first, min(first + width, len(values)))
        if not all(math.isfinite(values[i]) for i in bucket):
            kept += bucket  # a gap stays a gap
            continue
        kept += sorted({min(bucket, key=lambda i: values[i]), max(bucket, key=lambda i: values[i])})
    return kept


def _value_ticks(low: float, high: float) -> list[float]:
    """Round values around the data, four or so; zero and one are kept where scores reach for them."""
    if low >= 0 and high <= 1:
        low, high = 0.0, max(high, 1.0 if high > 0.5 else high)
    spread = (high - low) or max(abs(high), 1.0)
    power = 10.0 ** math.floor(math.log10(spread / 3))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if spread / (power * m) <= 4.0001)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, max(last, first + 1) + 1)]


def _time_ticks(start: float, end: float) -> list[float]:
    step = next((s for s in _TIME_STEPS_S if (end - start) / s <= 9), (end - start) / 8)
    return [k * step for k in range(math.ceil(start / step), math.floor(end / step) + 1)]


def _key(names: list[str], *, has_shots: bool, has_cuts: bool) -> list[dict[str, object]]:
    """The legend's entries with their places: widths are guessed from letters, as SVG can't measure text."""
    entries = [(f"line line-{i % 4}", name) for i, name in enumerate(names)]
    entries += [("shot", "chosen shot")] * has_shots + [("cut", "true cut")] * has_cuts
    placed, at = [], float(_LEFT)
    for kind, name in entries:
        placed.append({"kind": kind, "name": name, "x": at})
        at += 42 + 6.4 * len(name)
    return placed


def comparison_bar(values: Mapping[str, float | None], *, scale: tuple[float, float], verdict: str) -> Markup:
    """Draw chance (a tick), naive (a ring) and ours (a dot, joined to naive) on one scale.

    Args:
        values: `chance`, `naive` and `ours`; what is None is left out.
        scale: What the left and the right end stand for; values beyond are drawn at the end.
        verdict: The class of colour, see `Metric.verdict`.
    """
    low, high = scale

    def x(value: float) -> float:
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        return round(_BAR_LEFT + share * _BAR_WIDTH, 1)

    return render(
        "bar.svg.j2",
        at={name: x(value) for name, value in values.items() if value is not None},
        zero=x(0.0) if low < 0 < high else None,
        verdict=verdict,
        says="; ".join(f"{name} {figure(value)}" for name, value in values.items()),
    )


def shared_scale(values: Sequence[float]) -> tuple[float, float]:
    """The ends of one scale for all these values: 0 to 1 for rates, further only where they go there."""
    low = min([0.0, *values])
    high = max([0.0, *values])
    if high <= 1:
        return (math.floor(low * 4) / 4, 1.0)
    step = 10.0 ** math.floor(math.log10(high)) / 2
    return (math.floor(low / step) * step, math.ceil(high / step) * step)
