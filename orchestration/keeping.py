"""`dinolake switch`, `gc` and `forget`: what answers, what is collected, what has to be out of the lake."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lib import forget, purge
from lib.catalog import Archive
from lib.collect import DAY_S, Litter, find_litter, remove
from lib.errors import DinolakeError, RunInterruptedError, UsageError
from lib.lake import Lake
from lib.switching import listed, switch
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
    """What gc removed, or would; items that it took out; what couldn't be judged; bytes that were freed."""

    litter: list[Litter] = field(default_factory=list)
    # By archive, how many items that were forgotten or are gone.
    purged: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    freed: int = 0

    def as_json(self) -> dict[str, Any]:
        """The shape that `dinolake gc --json` prints."""
        removed = [{"path": str(one.path), "bytes": one.bytes, "why": one.why} for one in self.litter]
        return {
            "removed": removed, "purged": self.purged, "freed_bytes": self.freed, "notes": self.notes,
        }  # fmt: skip


def forget_items(name: str, items: Sequence[str]) -> forget.Forgotten:
    """Take items out of every answer now, and out of every file with the next `gc`.

    Raises:
        QueryError: There is no such item; nothing is forgotten then.
    """
    the_catalog().archive(name)
    return forget.forget(open_lake(), name, items)


def collect(
    name: str | None, *, older_than_days: float, dry_run: bool, dropped_archives: bool,
    say: Callable[[str], None],
) -> Collected:  # fmt: skip
    """Take out what was forgotten and what is gone, and remove what nothing points to.

    Args:
        name: An archive; None for the whole lake.
        older_than_days: What was in use since, or stood at its source, stays.
        dry_run: Touch nothing.
        dropped_archives: Archives that left the catalog go too.
        say: Told what is made anew.

    Raises:
        UsageError: A negative delay, or `dropped_archives` of one archive.
        LakeError: This user may only read the lake.
    """
    if not older_than_days >= 0:
        raise UsageError(f"--older-than is {older_than_days:g}; give 0 days or more.")
    if name is not None and dropped_archives:
        raise UsageError("--dropped-archives is of the whole lake: leave the archive out.")
    lake, catalog = open_lake(), the_catalog()
    names = [catalog.archive(name).name] if name is not None else sorted(catalog.archives)
    if not dry_run:
        lake.ledger.require_writable()
    done, older_than_s = Collected(), older_than_days * DAY_S
    for each in names:
        _purge(lake, catalog.archives[each], older_than_s, done, dry_run=dry_run, say=say)
    found = find_litter(
        lake, catalog.archives, names, older_than_s=older_than_s, dropped_archives=dropped_archives
    )
    done.litter, done.notes = found.litter, [*done.notes, *found.notes]
    done.freed = 0 if dry_run else remove(lake, found.litter)
    return done


def _purge(
    lake: Lake, archive: Archive, older_than_s: float, done: Collected, *, dry_run: bool,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Take items out of the ledger, make anew what held them, and strike them from what couldn't be made."""
    items = forget.due(lake, archive.name, older_than_s=older_than_s, is_look=dry_run)
    if items:
        done.purged[archive.name] = len(items)
    if dry_run or not (items or forget.purged_shards(lake, archive.name)):
        return
    from orchestration.runs import run_archive

    purge.begin(lake, archive, items)
    try:
        run_archive(archive, lake, say=say, is_strict=False)
    except RunInterruptedError:
        raise
    except DinolakeError as error:
        done.notes.append(
            f"{archive.name}: what held them couldn't be made anew, so they were struck: {error}"
        )
    purge.finish(lake, archive)
    forget.drop_dates(lake, archive.name)
