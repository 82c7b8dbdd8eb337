"""How well one side of the pairs held back finds the other, under every rung of the ladder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lib.datasets import dataset
from lib.retrieval import Retrieval, retrieval_of_vectors
from lib.stages.aligner import aligner_folder, has_plain, read_aligner, trained_on
from lib.stages.making import Work
from lib.stages.pair_items import good_pairs
from lib.stages.pair_splits import Member, group_ids
from lib.stages.side_vectors import PLAIN, SideVectors

SideName = Literal["left", "right"]
Way = tuple[SideName, SideName]
DIRECTIONS: tuple[Way, Way] = (("left", "right"), ("right", "left"))


@dataclass(frozen=True, slots=True)
class Held:
    """The pairs held back, contents numbered once each.

    Attributes:
        left: Its features and content hashes.
        right: The same; lone right sides among them.
        pairs: (n, 2) rows of left and right that belong together.
        near: (m, 2) rows that are neither right nor wrong.
        items: Content hash -> (pair, shard) that has it, by side.
        groups: Of each pair, the number of its place: what shares a group or a picture.
        trained: Pairs in `test` that were left out, as the heads were fitted on them or their pictures.
        plain: Both sides with no more than the original design saw, the same rows; None where all is that.
    """

    left: SideVectors
    right: SideVectors
    pairs: np.ndarray
    near: np.ndarray
    items: Mapping[str, Mapping[str, tuple[str, str]]]
    groups: np.ndarray
    trained: int
    plain: tuple[SideVectors, SideVectors] | None

    def side(self, name: str) -> SideVectors:
        """`left` or `right`."""
        return self.left if name == "left" else self.right


@dataclass(frozen=True, slots=True)
class Found:
    """One rung's ranks both ways, and its vectors for pictures of hits and misses."""

    name: str
    ways: Mapping[Way, Retrieval]
    vectors: Mapping[str, np.ndarray]


def held_pairs(work: Work) -> Held | None:
    """The pairs in `test`, with lone right sides as further gallery; None where there are none.

    What the heads were fitted on is left out, whatever its split is called now.
    """
    columns = ["item", "left_hash", "right_hash", "right", "split", "near", "group"]
    rows = good_pairs(work, columns).to_pylist()
    pairs = [r for r in rows if r["split"] == "test" and r["left_hash"]]
    told = len(pairs)
    items_seen, seen = trained_on(aligner_folder(work))
    pictures = [s for s in ("left", "right") if work.archive.pair_sides().side(s).kind != "text"]
    if not shares_places(work):
        pairs = [
            r
            for r in pairs
            if r["item"] not in items_seen and not any(r[f"{side}_hash"] in seen for side in pictures)
        ]
    lone = [r for r in rows if not r["left_hash"] and r["split"] in (None, "test")]
    left = SideVectors(work, "left", {r["left_hash"] for r in pairs})
    right = SideVectors(work, "right", {r["right_hash"] for r in [*pairs, *lone]})
    trained = told - len(pairs)
    pairs = [r for r in pairs if r["left_hash"] in left.rows and r["right_hash"] in right.rows]
    if not pairs:
        return None
    members = [
        Member(r["item"], None, None, r["group"], tuple(r[f"{s}_hash"] for s in pictures)) for r in pairs
    ]
    groups = group_ids(members)
    items: dict[str, dict[str, tuple[str, str]]] = {"left": {}, "right": {}}
    for row in [*pairs, *lone]:
        for side in items:
            if row[f"{side}_hash"]:
                items[side].setdefault(row[f"{side}_hash"], (row["item"], row["shard"]))
    by_value = {r["right"]: right.rows.get(r["right_hash"]) for r in rows}
    near = [
        (left.rows[r["left_hash"]], at)
        for r in pairs
        for value in r["near"]
        if (at := by_value.get(value)) is not None
    ]
    belong = [(left.rows[r["left_hash"]], right.rows[r["right_hash"]]) for r in pairs]
    return Held(
        left,
        right,
        np.array(belong, np.int64),
        np.array(near, np.int64).reshape(-1, 2),
        items,
        np.array([groups[r["item"]] for r in pairs], np.int64),
        trained,
        _plain(work, left, right) if has_plain(work) else None,
    )


def shares_places(work: Work) -> bool:
    """Whether the dataset's own protocol has places in train and in test on purpose."""
    return work.archive.dataset is not None and dataset(work.archive.dataset).shares_places


def group_of_rows(held: Held, side: SideName) -> np.ndarray:
    """Number of the place of each content of a side, -1 of lone ones."""
    column = 0 if side == "left" else 1
    found = np.full(len(held.side(side).hashes), -1, np.int64)
    found[held.pairs[:, column]] = held.groups
    return found


def _plain(work: Work, *sides: SideVectors) -> tuple[SideVectors, SideVectors]:
    left, right = (
        SideVectors(work, name, set(side.hashes), (work.pair.side(name).plain,))
        for name, side in zip(("left", "right"), sides, strict=True)
    )
    return left, right


def measure(work: Work, held: Held, folder: Any, rung: str) -> Found:
    """One rung's heads on the pairs held back."""
    aligner = read_aligner(folder, rung)
    left, right = held.plain if held.plain is not None and rung in PLAIN else (held.left, held.right)
    vectors = {"left": aligner.left(left.features), "right": aligner.right(right.features)}
    ways: dict[Way, Retrieval] = {}
    for one, other in DIRECTIONS:
        is_turned = one == "right"
        near = held.near[:, ::-1] if is_turned else held.near
        ways[one, other] = retrieval_of_vectors(
            vectors[one],
            vectors[other],
            held.pairs[:, ::-1] if is_turned else held.pairs,
            ignored=near if len(near) else None,
        )
    return Found(rung, ways, vectors)
