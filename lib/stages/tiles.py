"""tiles: each tile's lattice, and the scaling of its bands to 8 bits, fitted once from its first scene.

One normalisation for all dates: a date normalised by itself would invent changes. New scenes don't move it;
`dinolake run ARCHIVE --refit` fits it again, and everything that uses it follows.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lib import schemas
from lib.errors import UnreadableMediaError
from lib.lake import Facts, fingerprint
from lib.ledger import LedgerItem
from lib.media.lattice import Lattice, PlacedScene
from lib.media.raster import Scaling, open_scene
from lib.sections import ScenesConfig
from lib.stages.making import Work
from lib.stages.scene_line import looked_at, tiles_due


@dataclass(frozen=True, slots=True)
class Tile:
    """What all dates of a tile share."""

    name: str
    lattice: Lattice
    scaling: Scaling
    mark: str

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Tile":
        """Out of its row."""
        scaling = Scaling(np.array(row["low"], np.float32), np.array(row["high"], np.float32))
        return cls(row["tile"], Lattice(row["crs"], tuple(row["transform"])), scaling, row["mark"])

    @contextmanager
    def open(self, path: Path, config: ScenesConfig) -> Iterator[PlacedScene]:
        """A scene on the tile's lattice, as its 8-bit pictures.

        Raises:
            UnreadableMediaError: It can't be opened.
        """
        with open_scene(path, bands=config.bands, cloud_band=config.cloud_band) as scene:
            yield PlacedScene(scene, self.lattice, self.scaling)


def read_tile(work: Work, name: str) -> Tile | None:
    """A tile's fit; None where it has none."""
    if work.lake.footer(work.place("tiles")) is None:
        return None
    rows = [row for row in work.rows("tiles").to_pylist() if row["tile"] == name]
    return Tile.of(rows[0]) if rows else None


def make_tiles(work: Work, *, refit: bool = False) -> Facts:
    """Fit the tiles that have scenes and no fit; those that have one stay as they are."""
    place = work.place("tiles")
    with work.lake.lock(place):
        footer = None if refit else work.lake.footer(place)
        # Asked of the ledger anew: what the run began with may have been fitted by another meanwhile.
        prints = Work(work.lake, work.archive, work.items).prints
        due = tiles_due(prints)
        if refit:
            due = _all_tiles(work)
        if footer and not due:
            return Facts(kept=footer[1].rows)
        if not due:
            return Facts()
        rows = work.rows("tiles").to_pylist() if footer else []
        tried = dict(footer[1].notes["tried"]) if footer else {}
        made = 0
        reasons: dict[str, str] = {}
        for tile, items in sorted(due.items()):
            tried[tile] = looked_at(items)
            row, refused = _fit(work, tile, items)
            reasons |= refused
            if row is not None:
                rows.append(row)
                made += 1
        marks = {row["tile"]: row["mark"] for row in rows}
        with work.lake.writing(place, schemas.TILES, fingerprint("tiles", marks, tried)) as writer:
            writer.write(pa.Table.from_pylist(rows, schema=schemas.TILES))
            writer.facts.made, writer.facts.kept = made, len(rows) - made
            writer.facts.reasons = reasons
            writer.facts.notes = {"tiles": marks, "tried": tried}
        return writer.facts


def _all_tiles(work: Work) -> dict[str, list[LedgerItem]]:
    from lib.stages.acquisitions import tile_of
    from lib.stages.stage import usable

    found: dict[str, list[LedgerItem]] = {}
    for item in usable(work.prints.items()):
        found.setdefault(tile_of(item.shard), []).append(item)
    return found


def _fit(work: Work, tile: str, items: list[LedgerItem]) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """The fit from the earliest scene that can be read, and why others before it couldn't."""
    reasons: dict[str, str] = {}
    config = work.archive.scenes
    for item in sorted(items, key=lambda i: (json.loads(i.facts)["acquired"], i.item)):
        try:
            with open_scene(work.root / item.path, bands=config.bands, cloud_band=config.cloud_band) as scene:
                scaling = scene.scaling()
                crs = scene.grid.crs
                if crs is None:
                    raise UnreadableMediaError("has no CRS")
                transform = [float(v) for v in scene.grid.transform[:6]]
                row = {
                    "tile": tile, "crs": crs.to_string(), "transform": transform,
                    "low": [float(v) for v in scaling.low], "high": [float(v) for v in scaling.high],
                    "fitted_on": item.item,
                }  # fmt: skip
                return row | {"mark": fingerprint(row)[:16]}, reasons
        except (UnreadableMediaError, FileNotFoundError) as error:
            reasons[item.path] = str(error)
    return None, reasons
