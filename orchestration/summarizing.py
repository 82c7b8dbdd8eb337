"""`dinolake summarize`: one video in; an mp4, a storyboard and a JSON of its shots out."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.errors import QueryError, UnreadableMediaError, UsageError
from lib.lake import write_whole
from orchestration.outputs import is_utf8, require_output
from orchestration.terminal import shown

if TYPE_CHECKING:
    from lib.media.sampling import Sampling


@dataclass(frozen=True, slots=True)
class MadeSummary:
    """What was written, and the JSON document."""

    paths: tuple[Path, ...]
    document: dict[str, Any]


def summarize_file(
    video: Path, out: Path, *, method: str, budget: float, clips: int, clip_seconds: float,
    backbone: str | None, per_second: float, say: Callable[[str], None],
) -> MadeSummary:  # fmt: skip
    """Sum up one video without a lake.

    Raises:
        UsageError: An unknown method, or numbers out of range.
        QueryError: The video can't be read.
    """
    if method not in ("kts", "kmeans"):
        raise UsageError(f"--method is {method!r}; it is kts or kmeans.")
    if out.suffix.lower() != ".mp4":
        raise UsageError(f"-o {out}: a summary is an mp4; give a name that ends in .mp4.")
    if not video.is_file():
        raise QueryError(f"{video} is no file.")
    board, listing = out.with_name(f"{out.stem}_storyboard.jpg"), out.with_suffix(".json")
    for path in (out, board, listing):
        require_output(path, "-o", inputs=[video])
    if not is_utf8(video):
        raise UsageError(f"{shown(video)}: its name is no valid UTF-8; rename it.")
    from lib.embedding.backbones import choose_default
    from lib.media.encode import write_summary
    from lib.media.sampling import Sampling
    from lib.media.video import probe_video
    from lib.tasks.summarize import check_budget, check_clips

    sampling = Sampling(per_second=per_second)
    check_budget(budget) if method == "kts" else check_clips(clips, clip_seconds)
    if backbone is None:
        backbone, notes = choose_default()
        for note in notes:
            say(note)
    try:
        facts = probe_video(video)
        times_s, features, pictures, runtime = _features(video, backbone, sampling)
    except UnreadableMediaError as error:
        raise QueryError(f"{video} can't be summed up: {error}") from error
    duration_s = max(facts.duration_s, float(times_s[-1]))
    summary = _summary(features, times_s, duration_s, method, budget, clips, clip_seconds)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_summary(video, summary.segments, out)
    write_whole(board, _storyboard(summary.segments, times_s, pictures))
    document = {
        "video": str(video), "summary": str(out), "storyboard": str(board), "method": method,
        "backbone": backbone, "runtime": runtime, "duration_s": round(duration_s, 3),
        "summary_s": round(sum(end - start for start, end in summary.segments), 3),
        "segments": [{"start_s": round(a, 3), "end_s": round(b, 3)} for a, b in summary.segments],
        "shots": [
            {"start_s": round(s.start_s, 3), "end_s": round(s.end_s, 3),
             "score": round(s.score, 4), "is_chosen": s.chosen}
            for s in summary.shots
        ],
        "frames": [
            {"t_s": round(float(t), 3), "score": round(float(score), 4)}
            for t, score in zip(times_s, summary.frame_scores, strict=True)
        ],
    }  # fmt: skip
    write_whole(listing, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))
    return MadeSummary((out, board, listing), document)


def _features(
    video: Path, backbone: str, sampling: "Sampling"
) -> tuple[np.ndarray, np.ndarray, list[bytes], str]:
    from lib.embedding.embed import Embedder
    from lib.embedding.vectors import unit
    from lib.media.image import jpeg_bytes
    from lib.media.video import sample_video
    from lib.stages.centring import frame_features

    embedder = Embedder(backbone)
    times_s: list[float] = []
    pictures: list[bytes] = []

    def frames() -> Any:
        for frame in sample_video(video, sampling):
            times_s.append(frame.t_s)
            pictures.append(jpeg_bytes(frame.rgb, max_side=320))
            yield frame.rgb

    vectors = embedder.embed_all(frames())
    return (
        np.array(times_s),
        unit(frame_features(vectors.cls, vectors.patch_mean)),
        pictures,
        embedder.runtime_name,
    )


def _summary(
    features: np.ndarray, times_s: np.ndarray, duration_s: float, method: str, budget: float, clips: int,
    clip_seconds: float,
) -> Any:  # fmt: skip
    from lib.tasks.summarize import summarize_kmeans, summarize_kts

    if method == "kmeans":
        return summarize_kmeans(features, times_s, duration_s, clips=clips, clip_seconds=clip_seconds)
    return summarize_kts(features, times_s, duration_s, budget=budget)


def _storyboard(segments: list[tuple[float, float]], times_s: np.ndarray, pictures: list[bytes]) -> bytes:
    from lib.media.image import contact_sheet, jpeg_bytes
    from lib.stages.pictures import thumbnail_pixels

    shown = [int(np.abs(times_s - (start + end) / 2).argmin()) for start, end in segments]
    board = contact_sheet(
        [thumbnail_pixels(pictures[at]) for at in shown],
        [f"{start:.1f} to {end:.1f} s" for start, end in segments],
        columns=min(4, len(shown)), tile_px=320,
    )  # fmt: skip
    return jpeg_bytes(board, max_side=max(board.shape[:2]), quality=88)
