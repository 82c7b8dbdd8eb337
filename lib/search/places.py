"""Answers to queries over scenes: a place, a picture or a stored window in; places that look like it out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.embedding.vectors import unit
from lib.errors import LakeError, QueryError
from lib.search.published import Published
from lib.search.query import nearest_names
from lib.stages.acquisitions import tile_of
from lib.stages.making import Work
from lib.stages.tiles import Tile, read_tile

if TYPE_CHECKING:
    from lib.media.vectorfiles import Shapes

# What `--where` may ask for, as the README lists it.
WHERE_COLUMNS = (
    "item", "path", "tile", "acquired", "platform", "cloud_cover", "gsd_m", "lon", "lat", "valid", "label",
    "split",
)  # fmt: skip
# Windows looked at for each place wanted: the dates of one place make one hit.
_CANDIDATES = 24
_METRES_A_DEGREE = 111_320.0


@dataclass(frozen=True, slots=True)
class PlaceQuery:
    """What is looked for: a centred unit feature, (d,) float32."""

    feature: np.ndarray
    shown: str
    # Left out of the answer: rows of the place that was asked with.
    without: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class PlaceHit:
    """A place: one window of one date, and how alike (cosine, or a head's score; best first)."""

    rank: int
    item: str
    path: str
    score: float
    lon: float
    lat: float
    acquired: str
    tile: str
    sample: str
    shard: str


class PlaceSearcher(Published):
    """Places of one archive of scenes."""

    def __init__(self, work: Work):
        super().__init__(work, "scene_index")
        self._tiles: dict[str, Tile | None] = {}
        self._places = tuple(self.rows.column(name).to_numpy() for name in ("lon", "lat"))

    def tile(self, name: str) -> Tile | None:
        """A tile's lattice, read once."""
        if name not in self._tiles:
            self._tiles[name] = read_tile(self._work, name)
        return self._tiles[name]

    def at(self, lon: float, lat: float) -> PlaceQuery:
        """The place at a longitude and latitude, as its latest date shows it.

        Raises:
            QueryError: No degrees, or no window of the archive holds that place.
        """
        if not (-180 <= lon <= 180 and -90 <= lat <= 90):
            raise QueryError(f"--at {lon:g},{lat:g}: give longitude, latitude in degrees, as in -112.3,40.7.")
        rows = self._holding(lon, lat)
        if not len(rows):
            near = self._nearest_place(lon, lat)
            raise QueryError(f"no window of {self._work.archive.name!r} holds {lon:g},{lat:g}. {near}")
        latest = max(rows, key=lambda row: self.rows.column("acquired")[row].as_py())
        return self._of_row(int(latest), f"{lon:g},{lat:g}")

    def of_sample(self, name: str) -> PlaceQuery:
        """A stored window as a query, `ITEM#r=512,c=256`; for an item alone, the mean of its windows.

        Raises:
            QueryError: No such item or window.
        """
        item, mark, _ = name.partition("#r=")
        of_item = np.flatnonzero((self.names == item) & self.alive)
        if not len(of_item):
            known = sorted(set(self.names[self.alive].tolist()))
            raise QueryError(f"no item {item!r} in {self._work.archive.name!r}. {nearest_names(item, known)}")
        if not mark:
            feature = unit(self.index.store.take(of_item).mean(axis=0))
            return PlaceQuery(feature, name, without=self.names == item)
        samples = self.rows.column("sample").to_pylist()
        chosen = [row for row in of_item if samples[row] == name]
        if not chosen:
            near = nearest_names(name, [samples[row] for row in of_item])
            raise QueryError(f"no window {name!r}. {near}")
        return self._of_row(int(chosen[0]), name)

    def search(self, query: PlaceQuery, *, k: int, where: str | None = None) -> list[PlaceHit]:
        """The k best places, no two of them on the same ground.

        Raises:
            QueryError: k below 1, or `where` is no SQL condition over the windows' columns.
        """
        if k < 1:
            raise QueryError(f"-k is {k}; ask for 1 or more hits.")
        allowed = self.allowed(where, WHERE_COLUMNS, query.without)
        if allowed is not None and not allowed.any():
            return []
        found = self.index.search(query.feature[None], k=_CANDIDATES * k + 8, allowed=allowed)
        return self.hits(found.ids[0], found.scores[0], k)

    def ranked(self, scores: np.ndarray, *, k: int, where: str | None = None) -> list[PlaceHit]:
        """The k best places by a score a row, (rows,).

        Raises:
            QueryError: As `search`.
        """
        if k < 1:
            raise QueryError(f"-k is {k}; ask for 1 or more hits.")
        allowed = self.allowed(where, WHERE_COLUMNS, None)
        standing = np.flatnonzero(self.alive if allowed is None else allowed)
        order = standing[np.argsort(-scores[standing], kind="stable")]
        return self.hits(order, scores[order], k)

    def hits(self, rows: Sequence[int] | np.ndarray, scores: np.ndarray, k: int) -> list[PlaceHit]:
        """Rows in order of their score as places: of several dates, or tiles, of one place the best."""
        hits: list[PlaceHit] = []
        shown: list[int] = []
        for row, score in zip(rows, scores, strict=True):
            if shown and self._on_ground_of(int(row), np.array(shown)).any():
                continue
            shown.append(int(row))
            told = {name: self.rows.column(name)[int(row)].as_py() for name in self.rows.column_names}
            hits.append(
                PlaceHit(
                    len(hits) + 1, told["item"], str(self._work.root / told["path"]), round(float(score), 4),
                    round(told["lon"], 6), round(told["lat"], 6), _day(told["acquired"]),
                    tile_of(told["shard"]), told["sample"], told["shard"],
                )
            )  # fmt: skip
            if len(hits) == k:
                break
        return hits

    def _on_ground_of(self, row: int, others: np.ndarray) -> np.ndarray:
        """Which of some rows show the ground of another: their middles lie within half a window."""
        from lib.media.lattice import STRIDE_PX

        lon, lat = self._places[0][row], self._places[1][row]
        east = np.abs(self._places[0][others] - lon)
        east = np.minimum(east, 360 - east) * np.cos(np.radians(lat))
        metres = np.hypot(east, self._places[1][others] - lat) * _METRES_A_DEGREE
        gsd_m = float(self.rows.column("gsd_m")[row].as_py() or 0.0)
        return np.asarray(metres < max(gsd_m * STRIDE_PX / 2, 1e-3))

    def vectors(self) -> np.ndarray:
        """The features of all rows, (rows, d) float32."""
        return self.index.store.take(np.arange(self.index.rows))

    def details(self, hit: PlaceHit) -> tuple[bytes, bytes]:
        """A hit's thumbnail (JPEG) and outline (WKB, EPSG:4326)."""
        table = self._work.rows("windows", hit.shard, ["sample", "thumbnail", "geometry"])
        row = table.filter(pc.equal(table.column("sample"), hit.sample))
        if not row.num_rows:
            name = self._work.archive.name
            raise LakeError(f"{hit.sample} was cut anew since {name!r} was indexed: `dinolake run {name}`.")
        return row.column("thumbnail")[0].as_py(), row.column("geometry")[0].as_py()

    def rows_under(self, shapes: "Shapes") -> np.ndarray:
        """Rows whose own ground shapes lie on: points in it, areas that share half of either."""
        import shapely

        outlines = {
            row["sample"]: row["geometry"]
            for shard in sorted(set(self.rows.filter(pa.array(self.alive)).column("shard").to_pylist()))
            for row in self._work.rows("windows", shard, ["sample", "geometry"]).to_pylist()
        }
        samples = self.rows.column("sample").to_pylist()
        # What was cut anew since it was indexed has no outline here.
        standing = np.array([row for row in np.flatnonzero(self.alive) if samples[row] in outlines], int)
        grounds = shapely.from_wkb([outlines[samples[row]] for row in standing])
        tree = shapely.STRtree(grounds)
        under: set[int] = set()
        for shape in shapes.geometries:
            for at in tree.query(shape, predicate="intersects"):
                shared = grounds[at].intersection(shape).area
                if not shape.area or shared >= 0.5 * min(shape.area, grounds[at].area):
                    under.add(int(standing[at]))
        return np.array(sorted(under), np.int64)

    def _of_row(self, row: int, shown: str) -> PlaceQuery:
        same = self._on_ground_of(row, np.arange(self.index.rows))
        return PlaceQuery(self.index.store.take(np.array([row]))[0], shown, without=same)

    def _holding(self, lon: float, lat: float) -> np.ndarray:
        """Rows whose own ground holds a place."""
        from lib.media.lattice import STRIDE_PX

        shards = self.rows.column("shard").to_pylist()
        tops, lefts = (self.rows.column(name).to_numpy() for name in ("row", "column"))
        holds = np.zeros(len(tops), bool)
        tiles = np.array([tile_of(shard) for shard in shards], object)
        for name in sorted(set(tiles[self.alive].tolist())):
            tile = self.tile(name)
            if tile is None:
                continue
            mine = tiles == name
            middle = float(np.median(tops[mine])), float(np.median(lefts[mine]))
            rows, columns = tile.lattice.pixels(np.array([lon]), np.array([lat]), near=middle)
            row, column = float(rows[0]), float(columns[0])
            inside = (
                (tops <= row) & (row < tops + STRIDE_PX) & (lefts <= column) & (column < lefts + STRIDE_PX)
            )
            holds |= inside & mine
        return np.flatnonzero(holds & self.alive)

    def _nearest_place(self, lon: float, lat: float) -> str:
        lons, lats = (self.rows.column(name).to_numpy()[self.alive] for name in ("lon", "lat"))
        if not len(lons):
            return "It has no window at all."
        across = np.abs(lons - lon) * np.cos(np.radians(lat))
        nearest = int(np.hypot(np.minimum(across, 360 - across), lats - lat).argmin())
        return f"The nearest that it has is {lons[nearest]:.4f},{lats[nearest]:.4f}."


def _day(acquired: datetime | None) -> str:
    return acquired.strftime("%Y-%m-%d") if acquired else ""


def place_features(searcher: PlaceSearcher, cls: np.ndarray, patch_mean: np.ndarray) -> np.ndarray:
    """A picture's raw vectors as a query's feature, (d,) float32."""
    return unit(searcher.features(cls, patch_mean).mean(axis=0))
