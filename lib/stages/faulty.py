"""What a failed check leaves behind: shards that it found at fault count as not done, and are made again."""

from collections.abc import Sequence

from lib.lake import WHOLE
from lib.stages.making import Work


def drop_faulty(work: Work, stage: str, faults: Sequence[str]) -> list[str]:
    """Take away the files of the shards that faults begin with (`shard: what`); those shards.

    A file that stands under its fingerprint would be taken for done by every later run, whatever is wrong
    with it.
    """
    faulty = [shard for shard in work.prints.shards if any(f.startswith(f"{shard}: ") for f in faults)]
    for shard in faulty:
        _drop(work, stage, shard)
    return faulty


def drop_whole(work: Work, stage: str) -> None:
    """The same for a stage that is made over all shards."""
    _drop(work, stage, WHOLE)


def _drop(work: Work, stage: str, shard: str) -> None:
    place = work.place(stage, shard)
    with work.lake.lock(place):
        work.lake.path(place).unlink(missing_ok=True)
