"""Which places in an archive are one moment: known copies, as a dataset's segments tell them."""

from dataclasses import dataclass

from lib.stages.items import OK
from lib.stages.making import Work


@dataclass(frozen=True, slots=True)
class Place:
    """A second of a video."""

    item: str
    t_s: float


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A stretch of one item, and the second of another item at which the same begins."""

    start_s: float
    end_s: float
    other: str
    there_s: float


class Copies:
    """The known copies of an archive, read once."""

    def __init__(self, work: Work):
        rows = [
            row
            for shard in work.shards("search_report")
            for row in work.rows("items", shard, ["item", "path", "segments", "verdict"]).to_pylist()
        ]
        by_path = {row["path"]: row["item"] for row in rows if row["verdict"] == OK}
        self._stretches: dict[str, list[_Stretch]] = {}
        for row in rows:
            for s in row["segments"] or []:
                if s["copy_of"] in by_path:
                    source, there_s, length_s = (
                        by_path[s["copy_of"]],
                        s["copy_start_s"],
                        s["end_s"] - s["start_s"],
                    )
                    here = _Stretch(s["start_s"], s["end_s"], source, there_s)
                    back = _Stretch(there_s, there_s + length_s, row["item"], s["start_s"])
                    self._stretches.setdefault(row["item"], []).append(here)
                    self._stretches.setdefault(source, []).append(back)

    def of(self, place: Place) -> list[Place]:
        """The place itself and every other that shows the same, copies of copies included."""
        found, following = [place], [place]
        while following:
            here = following.pop()
            for s in self._stretches.get(here.item, []):
                if s.start_s <= here.t_s <= s.end_s:
                    there = Place(s.other, s.there_s + here.t_s - s.start_s)
                    if all(there.item != p.item or abs(there.t_s - p.t_s) > 1e-3 for p in found):
                        found.append(there)
                        following.append(there)
        return found
