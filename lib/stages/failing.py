"""Shards that can't be made: noted, named, and after a few tries left alone."""

from collections.abc import Iterable
from datetime import UTC, datetime

from lib.errors import LakeError, StageFailedError
from lib.retrying import is_its_own
from lib.stages.line import line_of, stage_of
from lib.stages.making import Work


def require_above(work: Work, stages: Iterable[str], shard: str) -> None:
    """Refuse to make a shard out of files that are behind their source: it would pass for up to date.

    Raises:
        StageFailedError: A stage above, and not among those that are made, has to be made first.
    """
    ours = set(stages)
    above = {name for stage in ours for name in stage_of(work.archive, stage).upstream} - ours
    for name in sorted(above):
        if stage_of(work.archive, name).is_sharded:
            is_there = work.is_current(name, shard)
        else:
            is_there = work.is_made(name)
        if not is_there:
            raise StageFailedError(
                f"it needs {name}, which isn't up to date: `dinolake run {work.archive.name}` makes both."
            )


def note_failure(work: Work, stages: Iterable[str], shard: str, error: Exception) -> str:
    """Note in the ledger that a shard failed, and at which stage; why, as a line."""
    lines = str(error).splitlines()
    reason = lines[0] if lines else type(error).__name__
    if not isinstance(error, LakeError | StageFailedError) and not type(error).__module__.startswith("lib."):
        reason = f"{type(error).__name__}: {reason}"
    ours = set(stages)
    order = [stage.name for stage in line_of(work.archive).stages if stage.name in ours]
    # Of stages that are made together, the first that doesn't stand is the one that failed.
    stage = next((name for name in order if not work.is_current(name, shard)), order[-1])
    place = work.place(stage, shard)
    try:
        work.lake.ledger.note_failure(
            work.archive.name, stage, place.contract, shard,
            fingerprint=work.prints.of(stage, shard), reason=reason, counts=is_its_own(error),
            at=datetime.now(UTC).isoformat(timespec="seconds"),
        )  # fmt: skip
    except LakeError:
        # A disk that is full has no room for this either; the run's own outcome still tells.
        return reason
    return reason
