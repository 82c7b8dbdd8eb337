"""`dinolake switch`, `gc` and `forget`: what answers, what is collected, what has to be out of the lake."""

from typing import Any

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
