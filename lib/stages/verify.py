"""What must hold of committed shards, looked up rather than believed: read by the asset checks."""

from collections.abc import Collection

import numpy as np
import pyarrow.compute as pc

from lib.columns import vectors_of
from lib.stages.making import Work
from lib.stages.published_index import Indexed


def rejected_share(work: Work) -> tuple[int, int]:
    """(files seen, files refused) over all committed shards; files that are gone don't count."""
    # As their footers count them: reading every shard after every batch of them takes the square of it.
    made = [found[1] for found in work.standing("items").values() if found]
    return sum(facts.rows + facts.rejected for facts in made), sum(facts.rejected for facts in made)


def embedding_faults(work: Work, shards: Collection[str] | None = None) -> list[str]:
    """Shards, of some or all, where a frame has no vector, or one that is not finite or of no length."""
    return _vector_faults(work, "frames", "frame_embeddings", shards)


def window_faults(work: Work, shards: Collection[str] | None = None) -> list[str]:
    """Cells, of some or all, where a window has no vector, or one that is not finite or of no length."""
    return _vector_faults(work, "windows", "window_embeddings", shards)


def _vector_faults(work: Work, samples: str, embeddings: str, shards: Collection[str] | None) -> list[str]:
    faults = []
    for shard in work.prints.shards if shards is None else sorted(work.prints.known.intersection(shards)):
        if work.done(embeddings, shard) is None or work.done(samples, shard) is None:
            continue
        seen = set(work.rows(samples, shard, ["sample"]).column("sample").to_pylist())
        table = work.rows(embeddings, shard, ["sample", "cls", "patch_mean"])
        without = seen - set(table.column("sample").to_pylist())
        refused = len(work.lake.footer(work.place(embeddings, shard))[1].reasons)  # type: ignore[index]
        if without and not refused:
            faults.append(f"{shard}: {len(without)} {samples} have no vector")
        for name in ("cls", "patch_mean"):
            norms = np.linalg.norm(vectors_of(table, name).astype(np.float32), axis=1)
            if not (np.isfinite(norms) & (norms > 0)).all():
                faults.append(f"{shard}: {name} has vectors that are not finite, or of no length")
    return faults


def index_faults(work: Work, indexed: Indexed) -> tuple[list[str], dict[str, float]]:
    """How the published index differs from the rows it should hold, and its measured recall."""
    wanted: set[str] = set()
    for shard in work.shards(indexed.stage):
        wanted |= set(indexed.rows(work, shard, False).column(indexed.key).to_pylist())
    footer = work.lake.footer(work.place(indexed.stage))
    if footer is None:
        return [f"there is no index, though {len(wanted)} {indexed.noun} stand"] if wanted else [], {}
    rows = work.rows(indexed.stage, columns=[indexed.key, "is_gone"])
    held = set(rows.filter(pc.invert(rows.column("is_gone"))).column(indexed.key).to_pylist())
    faults = []
    if held != wanted:
        faults.append(
            f"{len(wanted - held)} {indexed.noun} aren't in the index, {len(held - wanted)} in it are none"
        )
    recall = float(footer[1].notes["recall"])
    if recall < work.archive.index.min_recall:
        faults.append(f"recall@10 is {recall:.3f}, below {work.archive.index.min_recall}")
    return faults, {"recall": recall, indexed.noun: float(len(held))}


def aligner_faults(work: Work) -> tuple[str, str, dict[str, float]]:
    """Why the fitted aligner mustn't be published, what is to be known of it besides, and its figures."""
    fitted = work.prints.fitted("aligner")
    if fitted is None:
        return "there is no aligner", "", {}
    facts, doubt = fitted[1]["facts"], ""
    figures = {"pairs": float(facts["pairs"]), "folds": float(facts["folds"])}
    if facts["validation"] is not None:
        tried = facts["validation"]
        figures |= {"validation_recall_at_1": tried["recall_at_1"][0], "chance": tried["chance"][0]}
        if not facts["is_above_chance"]:
            doubt = (
                f"on pairs held out of training it finds {tried['recall_at_1'][0]:.3f} at first, hardly more "
                f"than chance ({tried['chance'][0]:.3f}): too few pairs, or shuffled ones?"
            )
    return "it maps everything to one point" if facts["is_collapsed"] else "", doubt, figures
