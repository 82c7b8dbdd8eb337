"""`dinolake switch`, `gc` and `forget`: what answers, what is collected, what has to be out of the lake."""

from dataclasses import dataclass, field
from typing import Any

from lib.collect import DAY_S, Litter, find_litter, remove
from lib.errors import UsageError
from lib.serving import listed, switch
from orchestration.access import open_lake, the_catalog


def switch_archive(
    name: str, *, to: str | None, back: bool
) -> tuple[list[dict[str, Any]], tuple[str, str] | None]:
    """The contracts that could answer for an archive, after the switch that was asked for, and that switch.

    Raises:
        UsageError: Both ways were asked for, or there is no such contract.
        LakeError: Its index isn't whole.
    """
    if to is not None and back:
        raise UsageError("--to and --back: give one of them.")
    lake, archive = open_lake(), the_catalog().archive(name)
    moved = switch(lake, archive, to=to, back=back) if to is not None or back else None
    return listed(lake, archive), moved


@dataclass(slots=True)
class Collected:
    """What gc removed, or would; what couldn't be judged; and the bytes that were freed."""

    litter: list[Litter] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    freed: int = 0

    def as_json(self) -> dict[str, Any]:
        """The shape that `dinolake gc --json` prints."""
        removed = [{"path": str(one.path), "bytes": one.bytes, "why": one.why} for one in self.litter]
        return {"removed": removed, "freed_bytes": self.freed, "notes": self.notes}


def collect(name: str | None, *, older_than_days: float, dry_run: bool, dropped_archives: bool) -> Collected:
    """Remove what nothing points to, of one archive or of the whole lake.

    Raises:
        UsageError: A negative delay, or `dropped_archives` of one archive.
        LakeError: This user may only read the lake.
    """
    if older_than_days < 0:
        raise UsageError(f"--older-than is {older_than_days:g}; give 0 days or more.")
    if name is not None and dropped_archives:
        raise UsageError("--dropped-archives is of the whole lake: leave the archive out.")
    lake, archives = open_lake(), the_catalog().archives
    if name is not None:
        the_catalog().archive(name)
    if not dry_run:
        lake.ledger.require_writable()
    names = [name] if name is not None else sorted(archives)
    found = find_litter(
        lake, archives, names, older_than_s=older_than_days * DAY_S, dropped_archives=dropped_archives
    )
    freed = 0 if dry_run else remove(lake, found.litter)
    return Collected(found.litter, found.notes, freed)
