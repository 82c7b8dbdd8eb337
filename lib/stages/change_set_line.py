"""The change-set line's stages: labelled pairs of pictures, from public sets, to what the recipe is worth.

A set's pictures have no CRS and no date, so that nothing of the scene line but its network and its recipe is
for them: a pair is judged as `dinolake change` judges it, and its shard keeps what the metrics need.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lib.catalog import Archive
from lib.ledger import LedgerItem
from lib.stages.stage import Line, Prints, Stage, Step, nothing, usable
from lib.stages.video_line import items_wanted

# What a pair is made of; the first two have to be there.
BEFORE, AFTER, LABEL, POLYGONS = "before", "after", "label", "polygons"


@dataclass(slots=True)
class FoundPair:
    """A pair as the ledger knows it: its files by side."""

    name: str
    split: str | None
    files: dict[str, LedgerItem] = field(default_factory=dict)

    @property
    def contents(self) -> list[tuple[str, str]]:
        """What its files hold, by side."""
        return sorted((side, item.content_hash) for side, item in self.files.items())


def pair_facts(item: LedgerItem) -> dict[str, Any]:
    """`pair`, `side` and `split` of one of a pair's files; empty for a file that belongs to none."""
    told: dict[str, Any] = json.loads(item.facts) if item.facts else {}
    return told


def pairs_of(items: Sequence[LedgerItem]) -> list[FoundPair]:
    """A shard's pairs in the order they were registered; files that can't be opened are no part of one."""
    found: dict[str, FoundPair] = {}
    for item in usable(items):
        if told := pair_facts(item):
            pair = found.setdefault(told["pair"], FoundPair(told["pair"], told["split"]))
            pair.files[told["side"]] = item
    return list(found.values())


def _contents(prints: Prints, shard: str) -> Any:
    return [(pair.name, pair.split, pair.contents) for pair in pairs_of(prints.items(shard))]


def _changed_from(archive: Archive) -> dict[str, int]:
    from lib.datasets import dataset

    return {"changed_from": dataset(archive.dataset or "").changed_from}


# Goes up with the recipe too: of `lib.tasks.change_pair`, or of what it is held against.
MEASURES_VERSION = 1
CHANGE_SET_LINE = Line(
    stages=(
        Stage("items", 1, (), True, False, nothing, wanted=items_wanted),
        Stage("pair_changes", MEASURES_VERSION, ("items",), True, True, _changed_from, _contents),
        Stage("change_report", 1, ("pair_changes", "items"), False, False, nothing),
    ),
    steps=(
        Step("sources", ("sources",), False),
        Step("compare", ("items", "pair_changes"), True),
        Step("publish", ("change_report",), False),
    ),
)
