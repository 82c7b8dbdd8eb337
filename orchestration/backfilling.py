"""`dinolake backfill`: which shards a range names."""

from collections.abc import Callable, Sequence
from datetime import date

from lib.catalog import Archive
from lib.errors import UsageError
from lib.lake import Lake
from lib.plan import shards_ahead
from lib.stages.acquisitions import period_of, tile_of
from lib.stages.placing import period_start
from orchestration.outcome import RunOutcome
from orchestration.runs import run_archive


def backfill_archive(
    archive: Archive, lake: Lake, *, shards: str | None, tiles: str | None, since: str | None,
    until: str | None, retries: bool, say: Callable[[str], None],
) -> RunOutcome:  # fmt: skip
    """Make a range of shards, up to 32 a run; stages over all shards follow when none is behind.

    Raises:
        UsageError: Nothing answers to the range, or it is asked for in another kind's words.
    """
    known = shards_ahead(archive, lake)
    if archive.line == "scene":
        if shards is not None:
            raise UsageError("scenes are asked for by --tiles, --from and --to; --shards is for other kinds.")
        chosen = _cells(archive, known, tiles, since, until)
    else:
        if tiles is not None or since is not None or until is not None:
            raise UsageError(
                f"archive {archive.name!r} is of kind {archive.kind}: --tiles, --from and --to are for "
                "scenes. Give --shards FIRST..LAST."
            )
        chosen = _between(known, shards)
    if not chosen:
        span = f"{known[0]} to {known[-1]}" if known else "none: its sources hold nothing yet"
        raise UsageError(f"no shard of archive {archive.name!r} answers to that (known: {span}).")
    everything = set(chosen) == set(known)
    return run_archive(
        archive, lake, only=None if everything else chosen, retries=retries, say=say, is_strict=False
    )


def _between(known: Sequence[str], asked: str | None) -> list[str]:
    if asked is None:
        return list(known)
    first, dots, last = asked.partition("..")
    last = last if dots else first
    for name in (first, last):
        if name and name not in known:
            span = f"{known[0]} to {known[-1]}" if known else "none yet"
            raise UsageError(f"--shards {asked!r}: no shard {name!r} (known: {span}). Give FIRST..LAST.")
    if first and last and first > last:
        raise UsageError(f"--shards {asked!r} runs backwards: give {last}..{first}.")
    return [shard for shard in known if (not first or shard >= first) and (not last or shard <= last)]


def _cells(
    archive: Archive, known: Sequence[str], tiles: str | None, since: str | None, until: str | None
) -> list[str]:
    wanted = {tile.strip() for tile in tiles.split(",")} if tiles is not None else None
    there = {tile_of(shard) for shard in known}
    if wanted is not None and (unknown := wanted - there):
        raise UsageError(f"--tiles: no tile {min(unknown)!r} (known: {', '.join(sorted(there)[:10])}).")
    first = period_start(_day("--from", since), archive.scenes.period) if since is not None else ""
    last = period_start(_day("--to", until), archive.scenes.period) if until is not None else "9999"
    return [
        shard
        for shard in known
        if (wanted is None or tile_of(shard) in wanted) and first <= period_of(shard) <= last
    ]


def _day(option: str, told: str) -> date:
    try:
        return date.fromisoformat(told)
    except ValueError:
        raise UsageError(f"{option} {told!r} is no day: write it as 2024-01-31.") from None
