"""summary_report: how well summaries stand for their videos; chance, the original design's k-means, and ours.

With users' annotations (TVSum, SumMe) the protocols' F, tau and rho. Without: what can be measured honestly,
which is how much of a video is like something shown, and, where scenes are known, how many of them are seen
and whether their cuts were found.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from lib.datasets import dataset
from lib.metrics import boundary_f1, coverage, paired_interval, scene_recall
from lib.report import Metric, Picture, Plot, Report, Section, Table
from lib.stages.centring import read_shard_features
from lib.stages.items import OK
from lib.stages.making import Work
from lib.stages.pictures import nearest_thumbnail, sheet, thumbnail_pixels
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
from lib.tasks.shots import find_shots, frame_edges
from lib.tasks.summarize import (
    Benchmark,
    Summary,
    agreement,
    random_agreement,
    random_segments,
    shown_frames,
    summarize_kmeans,
    summarize_kts,
)

_RANDOM_TRIALS = 20
_CLIP_S = 2.0
_CUT_TOLERANCE_S = 0.5
_PICTURED = 3
_NAIVE = "The original design: k-means (k = 5, seed 0) over clips of 2 s, the clip nearest each centre."
_OURS = "Shots by kernel temporal segmentation, scored by what they add, knapsack under the budget."


@dataclass(slots=True)
class _Video:
    """One video's features with its two summaries."""

    shard: str
    item: str
    path: str
    times_s: np.ndarray
    features: np.ndarray
    duration_s: float
    cuts_s: list[float]
    naive: Summary
    ours: Summary
    figures: dict[str, tuple[float, float, float]] = field(
        default_factory=dict
    )  # metric -> chance, naive, ours


def make_summary_report(work: Work) -> MadeReport:
    """Measure and write the report unless it is up to date."""
    return ensure_report(work, "summary_report", lambda: _compose(work))


def _compose(work: Work) -> Report:
    videos = [_summed_up(work, row) for row in _videos(work)]
    for video in videos:
        _measure(video)
    sections = []
    if videos:
        sections.append(_unannotated_section(work, videos))
    if annotated := _annotated_section(work, videos):
        sections.insert(0, annotated)
    return Report(
        title="How well it sums up",
        archive=work.archive.name,
        contract=contract_card(work, runtime_of(work)),
        sections=sections,
        lede="" if videos else "Nothing could be summed up: no video of this archive has frames.",
        facts=archive_facts(work),
        warnings=limits(work),
        rejects=rejects(work),
        versions=versions(),
        made_at=datetime.now(UTC),
    )


def _videos(work: Work) -> list[dict[str, Any]]:
    found = []
    for shard in work.shards("summary_report"):
        columns = ["item", "path", "duration_s", "segments", "verdict", "removed"]
        items = {row["item"]: row for row in work.rows("items", shard, columns).to_pylist()}
        if not work.rows("frame_embeddings", shard, ["item"]).num_rows:
            continue
        frames, features = read_shard_features(work, shard, is_centred=False)
        names, times_s = np.array(frames.column("item").to_pylist(), object), frames.column("t_s").to_numpy()
        for name in dict.fromkeys(names.tolist()):
            row, at = items[name], np.flatnonzero(names == name)
            if row["verdict"] == OK and not row["removed"]:
                found.append(row | {"shard": shard, "times_s": times_s[at], "features": features[at]})
    return found


def _summed_up(work: Work, row: dict[str, Any]) -> _Video:
    times_s, features = row["times_s"], row["features"]
    duration_s = max(row["duration_s"] or 0.0, float(times_s[-1]))
    cuts = sorted(s["start_s"] for s in row["segments"] or [] if 0 < s["start_s"] < duration_s)
    return _Video(
        row["shard"], row["item"], row["path"], times_s, features, duration_s, cuts,
        summarize_kmeans(features, times_s, duration_s),
        summarize_kts(features, times_s, duration_s, budget=work.archive.summary.budget),
    )  # fmt: skip


def _measure(video: _Video) -> None:
    """All three at one length: what shows more of a video is like more of it, whatever its method."""
    shown_s = _length(video.ours.segments)
    clip_s = min(_CLIP_S, shown_s)
    share = shown_s / video.duration_s
    drawn = [
        random_segments(video.duration_s, share=share, clip_seconds=clip_s, seed=seed)
        for seed in range(_RANDOM_TRIALS)
    ]
    clips = max(1, round(shown_s / clip_s))
    equal = summarize_kmeans(
        video.features, video.times_s, video.duration_s, clips=clips, clip_seconds=clip_s
    )

    def covered(segments: list[tuple[float, float]]) -> float:
        return coverage(video.features, shown_frames(video.times_s, segments))

    video.figures["coverage at one length"] = (
        _mean(covered(s) for s in drawn), covered(equal.segments), covered(video.ours.segments)
    )  # fmt: skip
    if not video.cuts_s:
        return

    def seen(segments: list[tuple[float, float]]) -> float:
        return scene_recall(video.cuts_s, segments, duration_s=video.duration_s)

    video.figures["scenes seen at one length"] = (
        _mean(map(seen, drawn)),
        seen(equal.segments),
        seen(video.ours.segments),
    )
    rng = np.random.default_rng(0)
    random_cuts = [
        np.sort(rng.uniform(0, video.duration_s, len(video.cuts_s))).tolist() for _ in range(_RANDOM_TRIALS)
    ]
    f1 = [boundary_f1(cuts, video.cuts_s, tolerance_s=_CUT_TOLERANCE_S) for cuts in random_cuts]
    ours = boundary_f1([s.start_s for s in video.ours.shots[1:]], video.cuts_s, tolerance_s=_CUT_TOLERANCE_S)
    # k-means has no shots of its own; its nearest thing to a cut is where its fixed clips begin.
    naive = boundary_f1(
        [s.start_s for s in video.naive.shots[1:]], video.cuts_s, tolerance_s=_CUT_TOLERANCE_S
    )
    video.figures["cuts found (F1, within 0.5 s)"] = (_mean(f1), naive, ours)


def _unannotated_section(work: Work, videos: list[_Video]) -> Section:
    metrics = []
    for name in dict.fromkeys(name for video in videos for name in video.figures):
        figures = np.array([video.figures[name] for video in videos if name in video.figures])
        chance, naive, ours = figures.mean(axis=0)
        interval = paired_interval(figures[:, 2], figures[:, 1])
        metrics.append(
            Metric("video summary", name, chance, naive, ours, len(figures), gain_interval=interval)
        )
    rows = [
        (v.item, v.duration_s, len(v.ours.shots), _length(v.ours.segments), _length(v.naive.segments))
        for v in videos
    ]
    columns = ("video", "seconds", "shots", "seconds shown, ours", "seconds shown by 5 clips of 2 s")
    table = Table("Every video", columns, rows)
    return Section(
        "What the summaries hold",
        lead="Coverage: how like its nearest shown frame every frame of the video is (mean cosine). "
        "All three show as many seconds: clips drawn at random (mean of 20 draws), k-means, and ours.",
        metrics=metrics,
        naive="The original design's k-means (seed 0) over clips of 2 s, with as many clips as make "
        "ours' length.",
        ours=f"{_OURS} Budget: {work.archive.summary.budget:.0%} of the video.",
        plots=[_plot(video) for video in _pictured(videos)],
        pictures=[board for video in _pictured(videos) if (board := _storyboard(work, video))],
        details=[table],
    )


def _pictured(videos: list[_Video]) -> list[_Video]:
    """Videos with known scenes first, then the longest."""
    return sorted(videos, key=lambda v: (not v.cuts_s, -v.duration_s))[:_PICTURED]


def _plot(video: _Video) -> Plot:
    from lib.charts import line_plot

    svg = line_plot(
        video.times_s.tolist(), {"frame score": video.ours.frame_scores.tolist()},
        chosen_s=video.ours.segments, cuts_s=video.cuts_s,
    )  # fmt: skip
    cuts = "; known cuts marked" if video.cuts_s else ""
    return Plot(svg, f"{video.item}: frame scores, with what the summary shows shaded{cuts}")


def _storyboard(work: Work, video: _Video) -> Picture | None:
    pictures, captions = [], []
    for start_s, end_s in video.ours.segments:
        if jpeg := nearest_thumbnail(work, video.shard, video.item, (start_s + end_s) / 2):
            pictures.append(thumbnail_pixels(jpeg))
            captions.append(f"{start_s:.1f} to {end_s:.1f} s")
    if not pictures:
        return None
    text = f"{video.item}: a frame of each segment shown"
    return Picture(sheet(pictures, captions, columns=min(6, len(pictures))), text, text)


def _annotated_section(work: Work, videos: list[_Video]) -> Section | None:
    known = dataset(work.archive.dataset) if work.archive.dataset else None
    if known is None or known.read_user_scores is None or known.over_users is None:
        return None
    users = known.read_user_scores(work.root)
    benchmark: Benchmark = "tvsum" if known.over_users == "mean" else "summe"
    rows = []
    for video in videos:
        scores = users.get(Path(video.path).stem)
        if scores is None:
            continue
        edges = frame_edges(video.times_s, video.duration_s)
        shots = find_shots(video.features, edges)
        chance = random_agreement(edges, shots, users=scores, benchmark=benchmark)
        naive = agreement(video.naive.frame_scores, edges, shots, users=scores, benchmark=benchmark)
        ours = agreement(video.ours.frame_scores, edges, shots, users=scores, benchmark=benchmark)
        rows.append([[getattr(a, name) for a in (chance, naive, ours)] for name in ("f", "tau", "rho")])
    if not rows:
        return None
    figures = np.array(rows)  # (videos, metrics, methods)
    means = figures.mean(axis=0)
    metrics = [
        Metric(
            "video summary, users", name, means[at, 0], means[at, 1], means[at, 2], len(figures),
            gain_interval=paired_interval(figures[:, at, 2], figures[:, at, 1]),
        )
        for at, name in enumerate(("F", "Kendall tau-b", "Spearman rho"))
    ]  # fmt: skip
    return Section(
        "Against the users' annotations",
        lead=f"{known.title}: keyshots at 15 %, F over users by {known.over_users}. A random score "
        "reaches a high F too, so F alone proves little: read tau and rho.",
        metrics=metrics,
        naive=_NAIVE + " Its frames are scored by nearness to their centre.",
        ours=_OURS,
    )


def _length(segments: list[tuple[float, float]]) -> float:
    return float(sum(end - start for start, end in segments))


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))
