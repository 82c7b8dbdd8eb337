"""Partitions belong to an asset's identity: one partition a shard, one set of them an archive."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import dagster as dg

from lib.catalog import Archive
from lib.stages.acquisitions import cell_name, period_of, tile_of
from lib.stages.placing import period_start

# Shards a run takes: start-up costs seconds, and a run is all or nothing in Dagster's eyes.
SHARDS_A_RUN = 32
# Empty periods that a run passes over, each an event, before it costs less to begin another run.
_PERIODS_BETWEEN = 8


def shards_of(archive: str) -> dg.DynamicPartitionsDefinition:
    """The archive's shards, or a scene archive's tiles, added as sources are registered."""
    return dg.DynamicPartitionsDefinition(name=f"{archive}_shards")


def cells_of(archive: Archive) -> dg.MultiPartitionsDefinition:
    """A scene archive's cells: its tiles, dynamic, by periods from its first day to today."""
    return dg.MultiPartitionsDefinition(
        {"tile": shards_of(archive.name), archive.scenes.period: _periods(archive)}
    )


def partitions_of(archive: Archive) -> dg.PartitionsDefinition[str]:
    """What an archive's sharded assets are partitioned by."""
    return cells_of(archive) if archive.line == "scene" else shards_of(archive.name)


def shards_policy() -> dg.BackfillPolicy:
    """How backfills batch shards into runs."""
    return dg.BackfillPolicy.multi_run(SHARDS_A_RUN)


def looks_back(archive: Archive) -> dg.MultiPartitionMapping:
    """A change's cell stands on its own period and the one before.

    That is as much as Dagster can be told: the true previous acquisition, and the history, are found at run
    time, in whichever cells they are, and enter the fingerprint.
    """
    period = archive.scenes.period
    before = dg.TimeWindowPartitionMapping(
        start_offset=-1, end_offset=0, allow_nonexistent_upstream_partitions=True
    )
    return dg.MultiPartitionMapping(
        {
            "tile": dg.DimensionPartitionMapping("tile", dg.IdentityPartitionMapping()),
            period: dg.DimensionPartitionMapping(period, before),
        }
    )


def key_of(archive: Archive, shard: str) -> str:
    """The partition key of a shard."""
    if archive.line != "scene":
        return shard
    return dg.MultiPartitionKey({"tile": tile_of(shard), archive.scenes.period: period_of(shard)})


def shard_of(archive: Archive, key: str) -> str:
    """The shard of a partition key."""
    if archive.line != "scene":
        return key
    sides = cells_of(archive).get_partition_key_from_str(key).keys_by_dimension
    return cell_name(sides["tile"], sides[archive.scenes.period])


def dynamic_keys(archive: Archive, shards: Sequence[str]) -> list[str]:
    """The keys that have to be added before a run may name these shards."""
    return sorted({tile_of(shard) for shard in shards} if archive.line == "scene" else shards)


def spans(archive: Archive, shards: Sequence[str], wanted: set[str]) -> Iterator[list[str]]:
    """The wanted shards, in runs: each its first and last name a range of partitions that a run can take."""
    if archive.line != "scene":
        for is_wanted, group in groupby(shards, key=lambda shard: shard in wanted):
            if is_wanted:
                run = list(group)
                yield from (run[at : at + SHARDS_A_RUN] for at in range(0, len(run), SHARDS_A_RUN))
        return
    number = {period: n for n, period in enumerate(_periods(archive).get_partition_keys())}
    for _, cells in groupby(sorted(wanted & set(shards)), key=tile_of):
        run = []
        for cell in cells:
            gap = number[period_of(cell)] - number[period_of(run[-1])] if run else 0
            if gap > _PERIODS_BETWEEN or len(run) == SHARDS_A_RUN:
                yield run
                run = []
            run.append(cell)
        yield run


def _periods(archive: Archive) -> dg.TimeWindowPartitionsDefinition:
    first = period_start(archive.scenes.start, archive.scenes.period)
    # The period that is running has scenes already.
    if archive.scenes.period == "month":
        return dg.MonthlyPartitionsDefinition(start_date=first, end_offset=1)
    return dg.WeeklyPartitionsDefinition(start_date=first, day_offset=1, end_offset=1)
