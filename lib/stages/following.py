"""What follows from what is registered: the shards that are due for their data, and can be made now.

What other code, parameters or another backbone make stale is left to `dinolake run` and to the catalog's
`reprocess`: an edit of the catalog alone starts no work on everything that an archive holds.
"""

from collections.abc import Mapping

from lib.lake import WHOLE, Facts, Mark
from lib.stages.line import line_of
from lib.stages.making import Work
from lib.stages.stage import Line, Stage

# Parts of a fingerprint that data don't move.
_OF_THE_MAKING = ("version", "parameters", "contract")


def following(work: Work) -> dict[str, set[str]]:
    """Stage -> its shards that are due by new, changed or removed sources and have what they are made from.

    The steps of a line come one after the other, as in a run: what is fitted or indexed over all shards
    waits for all that can be made. A shard that failed holds up nothing but itself; one in quarantine is left
    alone.
    """
    line = line_of(work.archive)
    if not work.prints.shards:
        return {}
    due, ready = dict[str, set[str]](), dict[str, set[str]]()
    for stage in line.stages:
        due[stage.name], by_data = _due(work, stage)
        ready[stage.name] = _with_all_above(work, line, stage, by_data, due, ready)
    return {name: shards for name, shards in ready.items() if shards}


def _due(work: Work, stage: Stage) -> tuple[set[str], set[str]]:
    """The shards that aren't what they should be, and those of them that data made so."""
    if not stage.is_sharded:
        if work.is_current(stage.name):
            return set(), set()
        made = work.lake.footer(work.place(stage.name)) if not stage.name.endswith("_report") else None
        is_by_data = _is_by_data(work, stage, WHOLE, {WHOLE: made} if made else {})
        return {WHOLE}, {WHOLE} if is_by_data else set()
    standing = work.standing(stage.name)
    shards = {
        shard
        for shard in set(work.prints.shards) - set(work.prints.quarantined)
        if (made := standing.get(shard)) is None or made[0] != work.prints.of(stage.name, shard)
    }
    return shards, {shard for shard in shards if _is_by_data(work, stage, shard, standing)}


def _is_by_data(
    work: Work, stage: Stage, shard: str, standing: Mapping[str, tuple[str, Facts] | None]
) -> bool:
    made = standing.get(shard)
    if made is not None:
        wanted: Mark = work.prints.of(stage.name, shard)
        former = made[1].parts
        return all(former.get(part) == wanted.parts.get(part) for part in _OF_THE_MAKING if part in former)
    if shard in standing or not stage.has_contract:
        return True
    # Made under another contract only: another backbone is wanted, no other data came.
    folder = work.lake.folder(work.archive.name, stage.name)
    others = work.lake.contracts(work.archive.name, stage.name)
    return not any((folder / other / f"{shard}.parquet").is_file() for other in others)


def _with_all_above(
    work: Work, line: Line, stage: Stage, shards: set[str], due: Mapping[str, set[str]],
    ready: Mapping[str, set[str]],
) -> set[str]:  # fmt: skip
    """Those of the shards that nothing above holds up."""
    step = next(step for step in line.steps if stage.name in step.stages)
    made_from = set(work.prints.shards_for(stage.name))
    left = set(shards)
    for name in _above(line, stage):
        if name in step.stages:
            # In the same run: what is due above is made in it too, or this waits.
            left -= due[name] - ready[name]
        elif due[name] & (made_from | {WHOLE}):
            return set()
    return left


def _above(line: Line, stage: Stage) -> list[str]:
    known = {each.name: each for each in line.stages}
    above, left = list[str](), list(stage.upstream)
    while left:
        name = left.pop()
        if name not in above:
            above.append(name)
            left.extend(known[name].upstream)
    return above
