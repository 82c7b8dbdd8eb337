"""Which pairs are trained on and which held back: what is one place stays on one side."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

HELD_BACK = ("val", "test")


@dataclass(frozen=True, slots=True)
class Member:
    """A pair that takes part.

    Attributes:
        name: Its id.
        split: What its table says; None where it says nothing.
        before: What was decided for it earlier, where its table says nothing.
        group: The place, patient or scene that its table names.
        shared: Marks that it has in common with the pairs of its place: its pictures' content hashes.
    """

    name: str
    split: str | None
    before: str | None
    group: str | None
    shared: tuple[str, ...]


def split_members(
    members: Sequence[Member], *, test_share: float, shares_places: bool = False
) -> dict[str, tuple[str | None, str]]:
    """Each pair's split, and why it is refused, "" where it isn't.

    A group (what the table calls one, and whatever shares a picture with it) goes to one side as a whole: as
    its table says, else as was decided before, else as many to `test` as the share asks for. Of a group
    that the table puts on both sides, the pairs in train are refused; so is a new pair that joins two groups
    which were put on different sides before.

    Args:
        members: All pairs that can be read, in the table's order.
        test_share: Share of the groups that are held back, in [0, 1).
        shares_places: Whether a published protocol has places in both on purpose: then none is refused.
    """
    split: dict[str, tuple[str | None, str]] = {}
    groups = _groups(members)
    drawn = _drawn(groups, test_share)
    for number, group in enumerate(groups):
        told = {m.split for m in group if m.split}
        held = next((m for m in group if (m.split or m.before) in HELD_BACK), None)
        before = {m.before for m in group if m.before}
        # Two places that turn out to be one, after the heads have seen one of them.
        is_joined = not told and len(before) > 1
        known = held.split or held.before if held else next(iter(told or before), None)
        chosen = known or drawn[number]
        for m in group:
            reason = ""
            if held is not None and m.split == "train" and not shares_places:
                reason = (
                    f"it is in train and shares its place or a picture with {held.name!r} in {chosen}: "
                    "trained on, it would make the figures too good"
                )
            elif is_joined and m.before is None:
                reason = (
                    "it joins a place in train with one held back: give it a picture or a group of its own"
                )
            split[m.name] = (m.split or m.before or chosen, reason)
    return split


def _drawn(groups: Sequence[Sequence[Member]], test_share: float) -> dict[int, str]:
    """The splits of groups about which nothing is known, by number: so many to `test` that the share is met.

    Ordered by a hash of their names, so that neither the table's order nor its sorting decides.
    """
    untold = [number for number, group in enumerate(groups) if not any(m.split for m in group)]
    before = {number: {m.before for m in groups[number]} - {None} for number in untold}
    wanted = round(test_share * len(untold)) - sum(
        bool(splits & set(HELD_BACK)) for splits in before.values()
    )
    order = sorted(
        (number for number in untold if not before[number]),
        key=lambda n: hashlib.sha256((groups[n][0].group or groups[n][0].name).encode()).hexdigest(),
    )
    return {n: "test" if place < wanted else "train" for place, n in enumerate(order)}


def _groups(members: Sequence[Member]) -> list[list[Member]]:
    """Members that share a group or a mark, directly or through others; in the order of their firsts."""
    parent = list(range(len(members)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    first: dict[tuple[str, str], int] = {}
    for at, member in enumerate(members):
        marks = [("shared", mark) for mark in member.shared]
        if member.group is not None:
            marks.append(("group", member.group))
        for mark in marks:
            other = root(first.setdefault(mark, at))
            mine = root(at)
            parent[max(mine, other)] = min(mine, other)
    groups: dict[int, list[Member]] = {}
    for at, member in enumerate(members):
        groups.setdefault(root(at), []).append(member)
    return list(groups.values())


def group_ids(members: Sequence[Member]) -> dict[str, int]:
    """Number of each pair's group, by name."""
    return {m.name: at for at, group in enumerate(_groups(members)) for m in group}
