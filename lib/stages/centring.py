"""centring: the mean vector of an archive's frames or windows, fitted once from its training side.

A fitted artifact: new data doesn't move it, so that old clips stay comparable with new ones. Deleting its
file, or `dinolake run ARCHIVE --refit`, fits it again, and everything that uses it follows.
"""

import numpy as np
import pyarrow as pa

from lib import schemas
from lib.columns import vectors_column, vectors_of
from lib.embedding.vectors import unit
from lib.lake import WHOLE, Facts, fingerprint
from lib.stages.making import Work

# The stage whose vectors it is the mean of.
_SOURCE = {"video": "frame_embeddings", "scene": "window_embeddings"}


def frame_features(cls: np.ndarray, patch_mean: np.ndarray) -> np.ndarray:
    """A sample's search feature before centring: CLS and mean patch, each of unit length, side by side.

    Args:
        cls: (n, D).
        patch_mean: (n, P).

    Returns:
        (n, D + P) float32.
    """
    return np.concatenate([unit(cls), unit(patch_mean)], axis=1)


def make_centring(work: Work, *, refit: bool = False) -> Facts:
    """Fit the mean over the frames of the training side (of all frames, where there are no splits)."""
    place = work.place("centring")
    with work.lake.lock(place):
        footer = work.lake.footer(place)
        if footer and not refit:
            return Facts(kept=footer[1].rows)
        total, frames, train_only = _sum(work)
        if not frames:
            return Facts()
        mean = (total / frames).astype(np.float32)
        mark = fingerprint("centring", work.contract.id, mean.tobytes().hex())
        schema = pa.schema(
            [("mean", schemas.vector32(len(mean))), ("frames", pa.int64()), ("is_train_only", pa.bool_())]
        )
        with work.lake.writing(place, schema, mark) as writer:
            column = vectors_column(mean[None], dtype=np.float32)
            writer.write({"mean": column, "frames": [frames], "is_train_only": [train_only]})
            writer.facts.made = 1
            writer.facts.notes = {"frames": frames, "is_train_only": train_only}
        return writer.facts


def read_centre(work: Work) -> np.ndarray:
    """The fitted mean, (D + P,) float32."""
    centre: np.ndarray = vectors_of(work.rows("centring", WHOLE), "mean")[0]
    return centre


def _sum(work: Work) -> tuple[np.ndarray, int, bool]:
    train: dict[str, bool] = {}
    for shard in work.shards("centring"):
        items = work.rows("items", shard, ["item", "split"])
        train |= {r["item"]: r["split"] == "train" for r in items.to_pylist()}
    train_only = any(train.values())
    total: np.ndarray = np.zeros(1, np.float64)
    frames = 0
    for shard in work.shards("centring"):
        table = work.rows(_SOURCE[work.archive.kind], shard, ["item", "cls", "patch_mean"])
        features = frame_features(vectors_of(table, "cls"), vectors_of(table, "patch_mean"))
        if train_only:
            features = features[np.array([train[item] for item in table.column("item").to_pylist()], bool)]
        total = total + features.sum(axis=0, dtype=np.float64)
        frames += len(features)
    return total, frames, train_only


def centred(features: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Features made comparable: the mean taken off, then unit length. (n, d) float32."""
    return unit(features - centre)


def read_shard_features(work: Work, shard: str, *, is_centred: bool = True) -> tuple[pa.Table, np.ndarray]:
    """A shard's frames (sample, item, t_s) and their unit features, (n, d) float32.

    Centred for search and for likeness over the archive; not for shots within one video, where taking off the
    mean magnifies noise (a street scene of one shot fell into fifteen).
    """
    table = work.rows("frame_embeddings", shard, ["sample", "item", "t_s", "cls", "patch_mean"])
    features = frame_features(vectors_of(table, "cls"), vectors_of(table, "patch_mean"))
    features = centred(features, read_centre(work)) if is_centred else unit(features)
    return table.select(["sample", "item", "t_s"]), features
