"""Reports: what was measured, against chance and the naive method, as one HTML page and JSON beside it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

from markupsafe import Markup

from lib.charts import comparison_bar, shared_scale
from lib.page import count, figure, megabytes, render_page, seconds, signed, write_page

Verdict = Literal["better", "worse", "level", "unsure", "unknown"]

# Under this many cases, one of them shows in the second digit, and the page says so.
_FEW_CASES = 30
_LONG_LIST = 12


@dataclass(frozen=True, slots=True)
class Published:
    """A figure that others measured, on other weights; `figure` as they print it (`98.68`, `.211 / .275`)."""

    figure: str
    whose: str


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a task in the three columns of every report.

    A figure that is None (or came out as no finite number) shows as a dash, and `note` says why.
    `gain_interval` is the 95 % interval of the gain, where there is one: paired over the cases, + is better.
    """

    task: str
    metric: str
    chance: float | None
    naive: float | None
    ours: float | None
    n: int
    note: str = ""
    higher_is_better: bool = True
    gain_interval: tuple[float, float] | None = None
    published: Sequence[Published] = ()

    def __post_init__(self) -> None:
        # JSON has no nan, and numpy's numbers are not JSON's: settled here once.
        for name in ("chance", "naive", "ours"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                object.__setattr__(
                    self, "note", "; ".join(filter(None, (self.note, f"{name} came out as {value}")))
                )
            object.__setattr__(
                self, name, float(value) if value is not None and math.isfinite(value) else None
            )
        object.__setattr__(self, "n", int(self.n))

    @property
    def gain(self) -> float | None:
        """Ours minus naive, turned so that + is better; None where either is missing."""
        if self.ours is None or self.naive is None:
            return None
        return self.ours - self.naive if self.higher_is_better else self.naive - self.ours

    @property
    def verdict(self) -> Verdict:
        """How ours stands to naive; `unsure`: its interval holds zero; `level`: the digits shown agree."""
        if self.gain is None:
            return "unknown"
        if self.gain_interval is not None and self.gain_interval[0] <= 0 <= self.gain_interval[1]:
            return "unsure"
        if figure(self.ours) == figure(self.naive):
            return "level"
        return "better" if self.gain > 0 else "worse"

    @property
    def is_above_chance(self) -> bool:
        """False only where both are known and ours does not beat guessing."""
        if self.ours is None or self.chance is None:
            return True
        return self.ours > self.chance if self.higher_is_better else self.ours < self.chance

    @property
    def is_rate(self) -> bool:
        """Whether all its figures lie in −1 … 1, as shares and correlations do."""
        return all(abs(v) <= 1 for v in (self.chance, self.naive, self.ours) if v is not None)

    def as_json(self) -> dict[str, object]:
        """The row that scripts read: the house's six fields first."""
        return {
            "task": self.task,
            "metric": self.metric,
            "chance": self.chance,
            "naive": self.naive,
            "ours": self.ours,
            "n": self.n,
            "higher_is_better": self.higher_is_better,
            "gain": self.gain,
            "gain_interval": None if self.gain_interval is None else [float(v) for v in self.gain_interval],
            "note": self.note,
            "published": [{"figure": p.figure, "whose": p.whose} for p in self.published],
        }


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG or JPEG with what it says (`caption`), and what it shows for those who can't see it (`alt`)."""

    data: bytes
    caption: str
    alt: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing of `lib.charts.line_plot` with what it shows."""

    svg: Markup
    caption: str


@dataclass(frozen=True, slots=True)
class Table:
    """Plain rows of text, numbers or None; columns of numbers are aligned, with sensible digits."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One task: a lead in plain words, its figures, what backs them up; `details` are long tables, folded.

    `naive` and `ours` say in a sentence each what the two columns ran.
    """

    title: str
    lead: str = ""
    metrics: Sequence[Metric] = ()
    naive: str = ""
    ours: str = ""
    plots: Sequence[Plot] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    details: Sequence[Table] = ()


@dataclass(frozen=True, slots=True)
class ContractCard:
    """The contract that every vector behind the figures has, and what its licence asks of the reader."""

    contract_id: str
    backbone: str
    weights_hash: str
    preprocessing: str
    runtime: str
    licence: str
    licence_url: str = ""
    licence_asks: str = ""


@dataclass(frozen=True, slots=True)
class Reject:
    """A file that stands in the archive but not in the figures, or with a part of it only."""

    file: str
    reason: str
    # Cut short: what could be decoded of it stands in the figures.
    is_used: bool = False

    @property
    def row(self) -> tuple[str, str]:
        """The two as cells of a table."""
        return self.file, self.reason


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report page says.

    `facts` are raw values by name (`items`, `frames`, `embed_seconds`, `bytes`): names that end in `seconds`
    or `bytes` are written as durations and MB. `warnings` stand first, sentences that limit the figures.
    """

    title: str
    archive: str
    contract: ContractCard
    sections: Sequence[Section]
    lede: str = ""
    facts: Mapping[str, float | str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    rejects: Sequence[Reject] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    made_at: datetime | None = None

    @property
    def metrics(self) -> list[Metric]:
        """The figures of all sections, in order."""
        return [metric for section in self.sections for metric in section.metrics]


def write_report(report: Report, folder: Path) -> Path:
    """Write `report.json`, then `report.html`, each moved in whole; gives the page's path."""
    return write_page(folder, report_json(report), report_html(report))


def report_json(report: Report) -> dict[str, object]:
    """What scripts read: the contract's id and every figure, and beside them how they came about."""
    card = report.contract
    return {
        "title": report.title,
        "archive": report.archive,
        "contract": card.contract_id,
        "metrics": [{**m.as_json(), "section": s.title} for s in report.sections for m in s.metrics],
        "facts": {name: _plain(value) for name, value in report.facts.items()},
        "embedding": {name: getattr(card, name) for name in ContractCard.__dataclass_fields__},
        "warnings": list(report.warnings),
        "rejects": [{"file": r.file, "reason": r.reason} for r in report.rejects],
        "versions": dict(report.versions),
        "made_at": None if report.made_at is None else report.made_at.isoformat(timespec="seconds"),
    }


def report_html(report: Report) -> str:
    """The page: self-contained, without scripts."""
    return render_page(
        "report.html.j2",
        report=report,
        facts=[(_fact_label(name), _fact(name, value)) for name, value in report.facts.items()],
        standing=standing([("", metric) for metric in report.metrics]),
        sections=[(section, figure_rows(section.metrics)) for section in report.sections],
        reject_reasons=_by_reason(report.rejects) if len(report.rejects) > _LONG_LIST else (),
        made_at=f"{report.made_at:%Y-%m-%d %H:%M %Z}".strip() if report.made_at else "",
    )


def standing(placed: Sequence[tuple[str, Metric]]) -> dict[str, object]:
    """Where ours stands to naive over all figures, the lost ones by name: the page opens with it.

    Args:
        placed: Each figure with where it is from, empty where the page has one place only.
    """
    by_verdict: dict[str, list[tuple[str, Metric]]] = {v: [] for v in get_args(Verdict)}
    for place, metric in placed:
        by_verdict[metric.verdict].append((place, metric))
    compared = [metric for _, metric in placed if metric.gain is not None]
    return {
        "compared": len(compared),
        "without_interval": sum(metric.gain_interval is None for metric in compared),
        **by_verdict,
        "at_chance": [(place, metric) for place, metric in placed if not metric.is_above_chance],
    }


def figure_rows(metrics: Sequence[Metric]) -> dict[str, object]:
    """Rows of a table of figures, with their bars on as few scales as may be, and its numbered footnotes."""
    rates = [v for m in metrics if m.is_rate for v in (m.chance, m.naive, m.ours) if v is not None]
    footnotes: list[str] = []
    rows = []
    common = shared_scale(rates)
    for position, metric in enumerate(metrics):
        values = {"chance": metric.chance, "naive": metric.naive, "ours": metric.ours}
        known = [v for v in values.values() if v is not None]
        scale = common if metric.is_rate else shared_scale(known)
        texts = [metric.note] if metric.note else []
        if not texts and len(known) < len(values):
            texts = ["not measured, and no reason was given"]
        if (
            metric.is_rate
            and metric.gain is not None
            and 0 < metric.n < _FEW_CASES
            and metric.gain_interval is None
        ):
            texts.append(_few(metric.n))
        footnotes += [text for text in texts if text not in footnotes]
        rows.append(
            {
                "metric": metric,
                "is_same_task": position > 0 and metrics[position - 1].task == metric.task,
                "marks": [footnotes.index(text) + 1 for text in texts],
                "gain": figure(None) if metric.gain is None else signed(metric.gain),
                "interval": " … ".join(signed(v) for v in metric.gain_interval or ()),
                "bar": comparison_bar(values, scale=scale, verdict=metric.verdict),
                "scale": scale,
                "is_own_scale": scale != common,
            }
        )
    return {"rows": rows, "footnotes": footnotes, "scale": common}


def _few(cases: int) -> str:
    if cases == 1:
        return "a single case"
    return (
        f"only {cases} cases: where a figure is a mean over them, one case can move it by {figure(1 / cases)}"
    )


def _by_reason(rejects: Sequence[Reject]) -> list[tuple[str, int]]:
    """Each reason with its count, commonest first; reasons that differ after a colon only are one."""
    tally: dict[str, int] = {}
    for reject in rejects:
        reason = reject.reason.split(":")[0]
        tally[reason] = tally.get(reason, 0) + 1
    return sorted(tally.items(), key=lambda pair: (-pair[1], pair[0]))


def _fact_label(name: str) -> str:
    # The value carries its unit, so that `embed_seconds` reads "embed time: 5 min 12 s".
    for unit, noun in (("seconds", "time"), ("bytes", "size")):
        if name.endswith(unit):
            name = name.removesuffix(unit) + noun
    return name.replace("_", " ")


def _fact(name: str, value: float | str) -> str:
    value = _plain(value)  # type: ignore[assignment]
    if value is None or isinstance(value, str):
        return value or figure(None)
    if name.endswith("seconds"):
        return seconds(value)
    if name.endswith("bytes"):
        return megabytes(int(value))
    return count(value) if isinstance(value, int) else figure(value)


def _plain(value: float | str) -> float | str | None:
    """A value as JSON has it: numpy's numbers made Python's, and no nan."""
    if isinstance(value, str):
        return value
    if hasattr(value, "__index__"):
        return int(value)
    return float(value) if math.isfinite(value) else None
