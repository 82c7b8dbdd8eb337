"""Partitions belong to an asset's identity: one partition a shard, one set of them an archive."""

import dagster as dg

# Shards a run takes: start-up costs seconds, and a run is all or nothing in Dagster's eyes.
SHARDS_A_RUN = 32


def shards_of(archive: str) -> dg.DynamicPartitionsDefinition:
    """The archive's shards, added as sources are registered."""
    return dg.DynamicPartitionsDefinition(name=f"{archive}_shards")


def shards_policy() -> dg.BackfillPolicy:
    """How backfills batch shards into runs."""
    return dg.BackfillPolicy.multi_run(SHARDS_A_RUN)
