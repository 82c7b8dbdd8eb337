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
    its table says, else as was decided before, else by a hash of its name, the first group to `train` and the
    second to `test`. Of a group that the table puts on both sides, the pairs in train are refused.

    Args:
        members: All pairs that can be read, in the table's order.
        test_share: Share of the groups that are held back, in [0, 1).
        shares_places: Whether a published protocol has places in both on purpose: then none is refused.
    """
    split: dict[str, tuple[str | None, str]] = {}
    groups = _groups(members)
    used = {m.split or m.before for m in members}
    for group in groups:
        told = [m for m in group if m.split]
        held = next((m for m in told if m.split in HELD_BACK), None)
        chosen = next((m.split or m.before for m in (*told, *group) if m.split or m.before), None)
        if held is not None:
            chosen = held.split
        if chosen is None:
            chosen = _drawn(group[0], used, test_share)
            used.add(chosen)
        for m in group:
            own = m.split or chosen
            is_leak = held is not None and own == "train" and not shares_places
            reason = (
                f"it is in train and shares its place or a picture with {held.name!r} in {held.split}: "
                "trained on, it would make the figures too good"
                if is_leak and held
                else ""
            )
            split[m.name] = (own, reason)
    return split


def _drawn(first: Member, used: set[str | None], test_share: float) -> str:
    if test_share == 0 or "train" not in used:
        return "train"
    if "test" not in used:
        return "test"
    mark = hashlib.sha256((first.group or first.name).encode()).digest()
    return "test" if int.from_bytes(mark[:8]) < test_share * 2**64 else "train"


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
