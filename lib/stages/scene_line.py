"""The scene line's stages: what stands above each, and what enters its fingerprint.

A shard is a cell of tile and period, `T31UFU__2024-01-01`: its Parquet file, its Dagster partition.
"""

from typing import Any

from lib.lake import fingerprint
from lib.ledger import LedgerItem
from lib.stages.acquisitions import Acquisition, acquisitions_of, compared_with, tile_of
from lib.stages.stage import Line, Prints, Stage, Step, nothing, usable
from lib.stages.video_line import centring_wanted, items_wanted

NOT_FITTED = "not fitted yet"


def tile_marks(prints: Prints) -> dict[str, str]:
    """Tile -> id of its fitted lattice and scaling, of tiles that have one."""
    fitted = prints.fitted("tiles")
    return fitted[1]["tiles"] if fitted else {}


def looked_at(items: list[LedgerItem]) -> str:
    """What a tile's fit was tried on: where that failed, only other scenes are a reason to try again."""
    return fingerprint(sorted((i.item, i.content_hash) for i in items))


def tiles_due(prints: Prints) -> dict[str, list[LedgerItem]]:
    """Tiles that have scenes and no fit, with their scenes."""
    fitted = prints.fitted("tiles")
    marks, tried = (fitted[1]["tiles"], fitted[1]["tried"]) if fitted else ({}, {})
    by_tile: dict[str, list[LedgerItem]] = {}
    for item in usable(prints.items()):
        by_tile.setdefault(tile_of(item.shard), []).append(item)
    return {
        tile: items
        for tile, items in by_tile.items()
        if tile not in marks and tried.get(tile) != looked_at(items)
    }


def _tiles_wanted(prints: Prints, stage: Stage, shard: str) -> str:
    # Fitted once a tile: what stands is what is wanted, as long as no tile is without.
    fitted, due = prints.fitted("tiles"), tiles_due(prints)
    if fitted and not due:
        return fitted[0]
    return fingerprint(stage.name, stage.version, NOT_FITTED, {t: looked_at(i) for t, i in due.items()})


def _scenes(prints: Prints, shard: str) -> Any:
    # Another tile's fit, or a new cloud cover in the metadata, re-makes no window.
    mark = tile_marks(prints).get(tile_of(shard), NOT_FITTED)
    return [mark, [(i.item, i.content_hash) for i in usable(prints.items(shard))]]


def _compared(prints: Prints, shard: str) -> Any:
    """Each acquisition with those it is held against: a late one renews just who looks back on it."""
    config, tile = prints.archive.change, tile_of(shard)
    # Asked for every cell: over all items each time, a plan of many cells would take the square of it.
    by_tile: dict[str, list[LedgerItem]] = prints.once("by tile", lambda: _by_tile(prints))
    earlier = prints.once(("acquired", tile), lambda: acquisitions_of(by_tile.get(tile, ()), tile))
    told = []
    for item in usable(prints.items(shard)):
        others = compared_with(Acquisition.of(item), earlier, history=config.history)
        told.append((item.item, item.content_hash, [(a.item, a.content_hash) for a in others]))
    return [tile_marks(prints).get(tile_of(shard), NOT_FITTED), _EMBEDDINGS_VERSION, told]


def _by_tile(prints: Prints) -> dict[str, list[LedgerItem]]:
    found: dict[str, list[LedgerItem]] = {}
    for item in prints.items():
        found.setdefault(tile_of(item.shard), []).append(item)
    return found


def _labelled(prints: Prints, shard: str) -> Any:
    """The labels' contents, and each tile's latest date: earlier ones aren't mapped."""
    from lib.stages.land_cover_labels import labels_hash

    labels = prints.archive.land_cover.labels
    if labels is None:
        return []
    latest: dict[str, str] = {}
    for item in usable(prints.items()):
        one = Acquisition.of(item)
        told = f"{one.acquired} {one.item} {one.content_hash}"
        latest[tile_of(item.shard)] = max(latest.get(tile_of(item.shard), ""), told)
    return [labels_hash(labels), tile_marks(prints), _EMBEDDINGS_VERSION, latest]


_EMBEDDINGS_VERSION = 2
SCENE_LINE = Line(
    stages=(
        Stage("items", 1, (), True, False, nothing, wanted=items_wanted),
        Stage("tiles", 1, ("items",), False, False, nothing, wanted=_tiles_wanted),
        Stage("windows", 1, ("items", "tiles"), True, False, nothing, _scenes),
        Stage("window_embeddings", _EMBEDDINGS_VERSION, ("windows",), True, True, nothing),
        Stage("centring", 1, ("window_embeddings",), False, True, nothing, wanted=centring_wanted),
        Stage("changes", 2, ("window_embeddings",), True, True, lambda a: a.change.model_dump(), _compared),
        # `--where` asks of columns of `items`, which stand beside the index's rows.
        Stage(
            "scene_index",
            1,
            ("window_embeddings", "centring", "items"),
            False,
            True,
            lambda a: a.index.model_dump(),
        ),
        Stage(
            "land_cover",
            3,
            ("window_embeddings",),
            False,
            True,
            lambda a: a.land_cover.model_dump(),
            _labelled,
        ),
        Stage("change_report", 1, ("changes", "items"), False, False, nothing),
        Stage("landcover_report", 1, ("land_cover", "items"), False, False, nothing),
    ),
    steps=(
        Step("sources", ("sources",), False),
        Step("look", ("items",), True),
        # Fitted over a tile's first scenes, so they wait for all items; and windows wait for them.
        Step("fit", ("tiles",), False),
        Step("embed", ("windows", "window_embeddings"), True),
        Step("centre", ("centring",), False),
        # After every cell's vectors: a change looks back on other cells of its tile.
        Step("compare", ("changes",), True),
        Step("publish", ("scene_index", "land_cover", "change_report", "landcover_report"), False),
    ),
)
