"""left_embeddings, right_embeddings: the vectors of one side's distinct contents, once each in a shard."""

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from lib import schemas
from lib.columns import vectors_column
from lib.compute import Compute, Failed
from lib.lake import Facts, ShardWriter
from lib.ledger import LedgerItem
from lib.sections import SideConfig
from lib.stages.changing import Expected, SourcesChangedError, distrust, is_change
from lib.stages.items import OK
from lib.stages.making import Work, ensure
from lib.stages.pair_table import folder_of
from lib.stages.side_worker import SideTask, SideWorkerFactory

# Contents sent to a worker at once: vectors and thumbnails of so many are a few MB.
_BLOCK = 128
_LIMIT_S = 1800.0


def make_side_embeddings(work: Work, shard: str, side: str, compute: Compute) -> Facts:
    """Embed what is new of one side of a shard; contents whose vectors stand keep them.

    Args:
        work: A pair archive's.
        shard: Of its pairs.
        side: `left` or `right`.
        compute: Where the network runs.

    Raises:
        SourcesChangedError: A file isn't the one that was registered, or became another meanwhile. The ledger
            has it noted, the next run looks at it again, and what stands of the shard stays.
    """
    stage = f"{side}_embeddings"
    dims = work.pair.side(side).stored
    schema = schemas.side_embeddings(dims)

    def fill(writer: ShardWriter) -> None:
        config = work.archive.pair_sides().side(side)
        wanted = _contents(work, shard, side)
        former = work.former_rows(stage, shard, schema.names)
        known = former.column("sample_hash").to_pylist() if former else []
        places = {digest: at for at, digest in enumerate(known)}
        kept = [digest for digest in wanted if digest in places]
        if former is not None and kept:
            block = former.take([places[digest] for digest in kept])
            names = [wanted[digest][0] for digest in kept]
            for column in ("item", "sample"):
                at = block.column_names.index(column)
                block = block.set_column(at, schema.field(column), pa.array(names, pa.string()))
            writer.write(block)
            writer.facts.kept = len(kept)
        due = [digest for digest in wanted if digest not in places]
        pairs = {i.item: i for i in work.lake.ledger.items(work.archive.name, shard)}
        tasks = [
            _task({digest: wanted[digest] for digest in due[at : at + _BLOCK]}, config, pairs)
            for at in range(0, len(due), _BLOCK)
        ]
        chunks = compute.map(SideWorkerFactory(config, work.archive.embedding), tasks, limit_s=_LIMIT_S)
        for number, chunk in chunks:
            block_of = due[number * _BLOCK : (number + 1) * _BLOCK]
            _write_made(writer, [(d, *wanted[d]) for d in block_of], dims, chunk)
        # An item's path is its id, of a pair.
        changed = {item: why for item, why in writer.facts.reasons.items() if is_change(why)}
        if changed:
            raise SourcesChangedError(changed, {name: pair.content_hash for name, pair in pairs.items()})

    try:
        return ensure(work, stage, shard, schema, fill)
    except SourcesChangedError as error:
        distrust(work, shard, error)
        raise


def _task(wanted: dict[str, tuple[str, str]], config: SideConfig, pairs: dict[str, LedgerItem]) -> SideTask:
    contents = tuple(content for _, content in wanted.values())
    if config.kind == "text":
        return SideTask(contents)
    expected = []
    for digest, (item, _) in wanted.items():
        told = json.loads(pairs[item].facts).get("sides", {}) if item in pairs else {}
        sides = [side for side in told.values() if side["hash"] == digest]
        expected.append(Expected.told(digest, sides[0] if sides else {}))
    return SideTask(contents, tuple(expected))


def _contents(work: Work, shard: str, side: str) -> dict[str, tuple[str, str]]:
    """Content hash -> (the first pair that has it, its path or text), of the pairs that are good."""
    columns = ["item", side, f"{side}_hash", f"{side}_text", "verdict", "removed"]
    folder = folder_of(work.archive, work.root)
    found: dict[str, tuple[str, str]] = {}
    for row in work.rows("items", shard, columns).to_pylist():
        digest = row[f"{side}_hash"]
        if row["verdict"] != OK or row["removed"] or not digest or digest in found:
            continue
        content = row[f"{side}_text"]
        found[digest] = (row["item"], str(folder / row[side]) if content is None else content)
    return found


def _write_made(
    writer: ShardWriter, wanted: list[tuple[str, str, str]], dims: Iterable[str], chunk: Any
) -> None:
    """A block's vectors; what couldn't be read with its reason."""
    is_lost = isinstance(chunk, Failed)
    refused = dict.fromkeys(range(len(wanted)), chunk.reason) if is_lost else chunk.refused
    for number, reason in refused.items():
        writer.facts.reasons[wanted[number][1]] = reason
        writer.facts.rejected += 1
    good = [row for number, row in enumerate(wanted) if number not in refused]
    if not good:
        return
    writer.write(
        {
            "sample": [item for _, item, _ in good],
            "item": [item for _, item, _ in good],
            "sample_hash": [digest for digest, _, _ in good],
            **{name: vectors_column(chunk.vectors[name]) for name in dims},
            "thumbnail": pa.array(chunk.thumbnails, pa.binary()),
        }
    )
    writer.facts.made += len(good)
    writer.facts.notes["runtime"] = chunk.runtime
