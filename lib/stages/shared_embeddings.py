"""shared_embeddings: both sides' contents in the space that the aligner maps them to."""

from lib import schemas
from lib.columns import vectors_column
from lib.embedding.vectors import to_half
from lib.errors import AlignerError
from lib.lake import Facts, ShardWriter
from lib.stages.aligner import aligner_folder, read_aligner
from lib.stages.items import OK
from lib.stages.making import Work, ensure
from lib.stages.pair_sources import SIDES
from lib.stages.side_vectors import stacked_blocks


def make_shared_embeddings(work: Work, shard: str) -> Facts:
    """Map a shard's vectors of both sides.

    Raises:
        AlignerError: No aligner stands, or it maps everything to one point.
    """
    fitted = work.prints.fitted("aligner")
    if fitted is not None and fitted[1]["facts"]["is_collapsed"]:
        raise AlignerError(
            f"the aligner of {work.archive.name!r} isn't published: it maps everything to one point. Look at "
            f"its training pairs; `dinolake run {work.archive.name} --refit` trains again."
        )
    aligner = read_aligner(aligner_folder(work))

    def fill(writer: ShardWriter) -> None:
        for side in SIDES:
            head = aligner.left if side == "left" else aligner.right
            names = _standing(work, shard, side)
            for digests, features in stacked_blocks(work, shard, side):
                at = [n for n, digest in enumerate(digests) if digest in names]
                if not at:
                    continue
                items = [names[digests[n]] for n in at]
                writer.write(
                    {
                        "sample": [f"{side}:{item}" for item in items],
                        "side": [side] * len(at),
                        "item": items,
                        "sample_hash": [digests[n] for n in at],
                        "vector": vectors_column(to_half(head(features[at]))),
                    }
                )
                writer.facts.made += len(at)

    return ensure(work, "shared_embeddings", shard, schemas.shared_embeddings(aligner.dim), fill)


def _standing(work: Work, shard: str, side: str) -> dict[str, str]:
    """Content hash -> the first pair that has it, of pairs that stand."""
    columns = ["item", f"{side}_hash", "verdict", "removed"]
    found: dict[str, str] = {}
    for row in work.rows("items", shard, columns).to_pylist():
        if row["verdict"] == OK and not row["removed"] and row[f"{side}_hash"]:
            found.setdefault(row[f"{side}_hash"], row["item"])
    return found
