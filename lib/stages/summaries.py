"""summaries: for each video, its shots with their scores, a score for each frame, and the segments chosen."""

import numpy as np
import pyarrow as pa

from lib import schemas
from lib.lake import Facts, ShardWriter
from lib.sections import SummaryConfig
from lib.stages.centring import read_shard_features
from lib.stages.items import OK
from lib.stages.making import Work, ensure
from lib.tasks.summarize import Summary, summarize_kmeans, summarize_kts


def make_summaries(work: Work, shard: str) -> Facts:
    """Sum up every video of a shard from its stored vectors."""

    def fill(writer: ShardWriter) -> None:
        if not work.rows("frame_embeddings", shard, ["item"]).num_rows:
            return
        items = work.rows("items", shard, ["item", "duration_s", "verdict", "removed"]).to_pylist()
        durations = {r["item"]: r["duration_s"] for r in items if r["verdict"] == OK and not r["removed"]}
        frames, features = read_shard_features(work, shard, is_centred=False)
        names = np.array(frames.column("item").to_pylist())
        times = frames.column("t_s").to_numpy()
        for name in dict.fromkeys(names.tolist()):
            at = np.flatnonzero(names == name)
            duration_s = max(durations[name] or 0.0, float(times[at][-1]))
            summary = summarize(features[at], times[at], duration_s, config=work.archive.summary)
            writer.write(
                pa.Table.from_pylist(
                    [_row(name, times[at], summary, work.archive.summary)], schemas.SUMMARIES
                )
            )
            writer.facts.made += 1

    return ensure(work, "summaries", shard, schemas.SUMMARIES, fill)


def summarize(
    features: np.ndarray, times_s: np.ndarray, duration_s: float, *, config: SummaryConfig
) -> Summary:
    """One video's summary by the configured method; features: (n, d) float32 of unit length, not centred."""
    if config.method == "kmeans":
        return summarize_kmeans(
            features, times_s, duration_s, clips=config.clips, clip_seconds=config.clip_seconds
        )
    return summarize_kts(features, times_s, duration_s, budget=config.budget)


def _row(item: str, times_s: np.ndarray, summary: Summary, config: SummaryConfig) -> dict[str, object]:
    return {
        "item": item,
        "method": config.method,
        "times_s": times_s.tolist(),
        "scores": summary.frame_scores.tolist(),
        "shots": [
            {"start_s": s.start_s, "end_s": s.end_s, "score": s.score, "is_chosen": s.chosen}
            for s in summary.shots
        ],
        "segments": [{"start_s": start, "end_s": end} for start, end in summary.segments],
    }
