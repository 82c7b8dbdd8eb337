"""The video line's stages: what stands above each, and what enters its fingerprint."""

from typing import Any

from lib.lake import fingerprint
from lib.stages.stage import Line, Prints, Stage, Step, nothing


def items_wanted(prints: Prints, stage: Stage, shard: str) -> str:
    """All that the ledger knows of a shard's items: the first stage of every line."""
    rows = [
        (i.item, i.path, i.content_hash, i.reason, i.label, i.split, i.segments, i.removed)
        + ((i.facts,) if i.facts else ())
        for i in prints.items(shard)
    ]
    return fingerprint(stage.name, stage.version, rows)


def centring_wanted(prints: Prints, stage: Stage, shard: str) -> str:
    """Fitted once: new data doesn't move it, so the artifact that stands is the one that is wanted."""
    fitted = prints.fitted(stage.name)
    return (
        fitted[0] if fitted else fingerprint(stage.name, stage.version, "not fitted yet", prints.contract_id)
    )


def _media(prints: Prints, shard: str) -> Any:
    # What is decoded depends on contents alone: a new label or a new date re-makes no frame.
    return [(i.item, i.content_hash) for i in prints.items(shard) if i.content_hash and not i.removed]


VIDEO_LINE = Line(
    stages=(
        Stage("items", 1, (), True, False, nothing, wanted=items_wanted),
        Stage(
            "frames", 2, ("items",), True, False, lambda a: a.frames.model_dump(exclude={"limit_s"}), _media
        ),
        Stage("frame_embeddings", 1, ("frames",), True, True, nothing),
        Stage("centring", 1, ("frame_embeddings",), False, True, nothing, wanted=centring_wanted),
        Stage("clips", 1, ("frame_embeddings", "centring"), True, True, lambda a: a.clips.model_dump()),
        Stage("summaries", 1, ("frame_embeddings",), True, True, lambda a: a.summary.model_dump()),
        # `--where` asks of columns of `items`, which stand beside the index's rows.
        Stage("clip_index", 1, ("clips", "items"), False, True, lambda a: a.index.model_dump()),
        Stage("search_report", 1, ("clip_index", "clips", "items"), False, False, nothing),
        Stage("summary_report", 1, ("summaries", "items"), False, False, nothing),
    ),
    # `centring` stands alone: it is fitted over all shards, so it waits for them, and clips for it.
    steps=(
        Step("sources", ("sources",), False),
        Step("embed", ("items", "frames", "frame_embeddings"), True),
        Step("centre", ("centring",), False),
        Step("cut", ("clips", "summaries"), True),
        Step("publish", ("clip_index", "search_report", "summary_report"), False),
    ),
)
