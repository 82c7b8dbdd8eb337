"""clips: windows of a few seconds and whole videos, as the mean of centred unit frame vectors."""

from typing import Any

import numpy as np

from lib import schemas
from lib.columns import vectors_column
from lib.embedding.vectors import unit
from lib.lake import Facts, ShardWriter
from lib.sections import ClipsConfig
from lib.stages.centring import read_shard_features
from lib.stages.items import OK
from lib.stages.making import Work, ensure


def make_clips(work: Work, shard: str) -> Facts:
    """Cut every video of a shard into windows; nothing is decoded or embedded here."""
    dim = work.contract.cls_dim + work.contract.patch_dim

    def fill(writer: ShardWriter) -> None:
        if not work.rows("frame_embeddings", shard, ["item"]).num_rows:
            return
        items = work.rows("items", shard, ["item", "duration_s", "verdict", "removed"]).to_pylist()
        durations = {r["item"]: r["duration_s"] for r in items if r["verdict"] == OK and not r["removed"]}
        frames, features = read_shard_features(work, shard)
        names = np.array(frames.column("item").to_pylist())
        times = frames.column("t_s").to_numpy()
        for name in dict.fromkeys(names.tolist()):
            at = np.flatnonzero(names == name)
            rows = cut(
                name, times[at], features[at], duration_s=durations[name] or 0.0, config=work.archive.clips
            )
            writer.write(rows)
            writer.facts.made += len(rows["clip"])

    return ensure(work, "clips", shard, schemas.clips(dim), fill)


def windows(duration_s: float, config: ClipsConfig) -> list[tuple[float, float]]:
    """Start and end of a video's windows; the last one ends with the video, and none is much shorter."""
    if duration_s <= config.length_s:
        return [(0.0, duration_s)]
    starts = np.arange(0.0, duration_s - config.length_s, config.stride_s).tolist()
    return [(start, start + config.length_s) for start in starts] + [
        (duration_s - config.length_s, duration_s)
    ]


def cut(
    item: str, times_s: np.ndarray, features: np.ndarray, *, duration_s: float, config: ClipsConfig
) -> dict[str, Any]:
    """The clip rows of one video.

    Args:
        item: The video.
        times_s: (n,) ascending.
        features: (n, d) float32, centred and of unit length.
        duration_s: The video's length; where the header lies, the last frame's time counts.
        config: Window length and stride.
    """
    duration_s = max(duration_s, float(times_s[-1]))
    spans: list[tuple[float, float, bool]] = [(0.0, duration_s, True)]
    spans += [(start, end, False) for start, end in windows(duration_s, config)]
    kept, vectors, counts = [], [], []
    for start_s, end_s, is_whole in spans:
        # Half-open, but the last frame of a video belongs to its last window.
        inside = (times_s >= start_s) & ((times_s < end_s) | (end_s >= duration_s))
        if inside.any():
            kept.append((round(start_s, 3), round(end_s, 3), is_whole))
            vectors.append(features[inside].mean(axis=0))
            counts.append(int(inside.sum()))
    return {
        "clip": [f"{item}#whole" if whole else f"{item}#t={start},{end}" for start, end, whole in kept],
        "item": [item] * len(kept),
        "start_s": [start for start, _, _ in kept],
        "end_s": [end for _, end, _ in kept],
        "is_whole": [whole for _, _, whole in kept],
        "frames": counts,
        "vector": vectors_column(unit(np.stack(vectors))),
    }
