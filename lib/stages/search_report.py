"""search_report: how well moments and classes are found: chance, naive and ours, on the same vectors."""

from datetime import UTC, datetime

import numpy as np

from lib.metrics import paired_interval
from lib.report import Metric, Picture, Report, Section, Table
from lib.stages.class_search import ClassSearch, measure_class_search
from lib.stages.making import Work
from lib.stages.moment_search import Asked, MomentSearch, measure_moment_search
from lib.stages.pictures import answers_sheet
from lib.stages.reporting import (
    MadeReport,
    archive_facts,
    contract_card,
    ensure_report,
    limits,
    rejects,
    runtime_of,
    versions,
)

_KS = (1, 5, 10)
_CLASS_KS = (1, 5, 10, 20, 50)
# Where guessing is right anyway, a figure says nothing.
_SURE = 0.99
_SHOWN = 6
_NAIVE = (
    "The original design: the CLS token at 224 px of one frame a second, averaged over the video, flat L2."
)
_OURS = (
    "CLS beside the mean patch, centred by the archive's mean, windows of a few seconds, late interaction."
)


def make_search_report(work: Work) -> MadeReport:
    """Measure and write the report unless it is up to date."""
    return ensure_report(work, "search_report", lambda: _compose(work))


def _compose(work: Work) -> Report:
    sections = []
    footer = work.lake.footer(work.place("clip_index"))
    moments = measure_moment_search(work) if footer else None
    if moments:
        sections.append(_moment_section(work, moments))
    classes = measure_class_search(work) if footer else None
    if classes:
        sections.append(_class_section(classes))
    if footer:
        notes = footer[1].notes
        row = (notes["kind"], notes["clips"], notes["dim"], notes["recall"], notes["recall_queries"])
        index = Table(
            "The index",
            ("kind", "windows", "numbers a vector", "recall@10 against exact", "held queries"),
            [row],
        )
        sections.append(
            Section(
                "Index", lead="What search runs on; published only above its recall floor.", tables=[index]
            )
        )
    return Report(
        title="How well it searches",
        archive=work.archive.name,
        contract=contract_card(work, runtime_of(work)),
        sections=sections,
        lede="Nothing could be asked: no video of this archive has frames." if not sections else "",
        facts=archive_facts(work),
        warnings=limits(work),
        rejects=rejects(work),
        versions=versions(),
        made_at=datetime.now(UTC),
    )


def _moment_section(work: Work, found: MomentSearch) -> Section:
    asked = found.asked
    metrics = []
    for k in _KS:
        ours = np.array([a.moment_rank < k for a in asked], float)
        metrics.append(
            Metric(
                "moment search", f"R@{k}", found.moment_chance.chance(k), None, float(ours.mean()),
                len(asked), note="naive finds whole videos, not moments",
            )
        )  # fmt: skip
    for k in (k for k in _KS if k < found.videos):
        ours = np.array([a.video_rank < k for a in asked], float)
        naive = np.array([a.naive_video_rank < k for a in asked], float)
        metrics.append(
            Metric(
                "video search", f"R@{k}", found.video_chance.chance(k), float(naive.mean()),
                float(ours.mean()), len(asked), gain_interval=paired_interval(ours, naive),
            )
        )  # fmt: skip
    return Section(
        "Finding a moment by a picture",
        lead=f"{len(asked)} stored frames, each cut to its middle 70 %, mirrored, darkened and saved as a "
        "poor JPEG, must find the second they came from (or a known copy of it). "
        "Moment: a hit holds that second. Video: a hit lies in that video.",
        metrics=metrics,
        naive=_NAIVE,
        ours=_OURS,
        pictures=_pictures(work, asked),
        details=[_table(asked)],
    )


def _pictures(work: Work, asked: list[Asked]) -> list[Picture]:
    worst = sorted(asked, key=lambda a: (-min(a.moment_rank, 99), a.hits[0].score if a.hits else 0.0))[
        :_SHOWN
    ]
    best = sorted(asked, key=lambda a: (a.moment_rank, -(a.hits[0].score if a.hits else 0.0)))[:_SHOWN]
    shown = []
    for title, chosen in (("The best answers", best), ("The worst answers", worst)):
        png = answers_sheet(work, chosen)
        alt = f"{title}: each row a query and its first hits"
        shown.append(Picture(png, f"{title}. Left the query, then its first hits, best first.", alt))
    return shown


def _table(asked: list[Asked]) -> Table:
    rows = [
        (a.truth.item, a.truth.t_s, a.moment_rank + 1 if a.moment_rank < 99 else None,
         *((a.hits[0].item, a.hits[0].start_s, a.hits[0].score) if a.hits else ("", None, None)))
        for a in asked
    ]  # fmt: skip
    columns = ("taken from", "at s", "rank of the moment", "first hit", "from s", "score")
    return Table("Every query", columns, rows, note="no rank: not among the first ten")


def _class_section(found: ClassSearch) -> Section:
    metrics = [
        Metric(
            "class search", f"R@{k}", found.ours.chance(k), found.naive.recall(k), found.ours.recall(k),
            found.queries,
            gain_interval=paired_interval(found.ours.ranks < k, found.naive.ranks < k),
        )
        for k in _CLASS_KS
        if k <= found.gallery and found.ours.chance(k) < _SURE
    ]  # fmt: skip
    sides = (
        "the test side asks, the training side answers" if found.is_split else "every video asks all others"
    )
    hit = "a window that overlaps a segment of the class" if found.is_untrimmed else "a video of the class"
    return Section(
        "Finding the same class",
        lead=f"{found.classes} classes, {found.queries} queries against {found.gallery}: {sides}; "
        f"a hit is {hit}.",
        metrics=metrics,
        naive=_NAIVE.replace("video", "video or segment"),
        ours="CLS beside the mean patch, centred by the training side's mean, averaged over the stretch, "
        "cosine.",
    )
