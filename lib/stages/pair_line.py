"""The pair line's stages: what stands above each, and what enters its fingerprint."""

from typing import Any

from lib.lake import fingerprint
from lib.stages.stage import Line, Prints, Stage, Step, nothing
from lib.stages.video_line import items_wanted


def aligner_settings(prints: Prints, stage: Stage) -> str:
    """What a fitted aligner depends on beside the pairs that it was trained on."""
    return fingerprint(stage.name, stage.version, stage.parameters(prints.archive), prints.contract_id)


def _aligner_wanted(prints: Prints, stage: Stage, shard: str) -> str:
    """Fitted once: new pairs don't move it, so the artifact that stands is wanted while its settings are."""
    fitted, settings = prints.fitted(stage.name), aligner_settings(prints, stage)
    return fitted[0] if fitted and fitted[1].get("settings") == settings else settings


def _sides(side: str) -> Any:
    # Vectors depend on contents alone: a new place or a new split embeds nothing.
    def told(prints: Prints, shard: str) -> Any:
        from lib.stages.pair_items import hash_of

        return [(i.item, hash_of(i, side)) for i in prints.items(shard) if not i.removed and not i.reason]

    return told


PAIR_LINE = Line(
    stages=(
        Stage("items", 1, (), True, False, nothing, wanted=items_wanted),
        Stage("left_embeddings", 1, ("items",), True, True, nothing, _sides("left"), side="left"),
        Stage("right_embeddings", 1, ("items",), True, True, nothing, _sides("right"), side="right"),
        Stage(
            "aligner", 1, ("left_embeddings", "right_embeddings"), False, True,
            lambda a: a.aligner.model_dump(), wanted=_aligner_wanted,
        ),
        # Both sides' fingerprints hold which pairs stand and their contents: all that this reads of `items`.
        Stage(
            "shared_embeddings", 1, ("left_embeddings", "right_embeddings", "aligner"), True, True, nothing,
        ),
        # `--where` asks of columns of `items`, which stand beside the index's rows.
        Stage(
            "gallery_index", 1, ("shared_embeddings", "items"), False, True, lambda a: a.index.model_dump(),
        ),
        Stage("retrieval_report", 1, ("gallery_index", "aligner", "shared_embeddings", "items"), False, False,
              nothing),
    ),
    # `aligner` stands alone: it is fitted over all shards, so it waits for them.
    steps=(
        Step("sources", ("sources",), False),
        Step("embed", ("items", "left_embeddings", "right_embeddings"), True),
        Step("align", ("aligner",), False),
        Step("project", ("shared_embeddings",), True),
        Step("publish", ("gallery_index", "retrieval_report"), False),
    ),
)  # fmt: skip
