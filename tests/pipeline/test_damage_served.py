"""A file of the lake that was cut short, or has a flipped byte, is never served: the remedy is named."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import scenes

from lib.errors import DinolakeError
from lib.lake import Lake
from lib.search.places import PlaceSearcher
from lib.serving import publish, served
from lib.stages.making import Work

DAYS = ("20240102", "20240109")


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    """Two dates of one place, indexed and published."""
    folder = tmp_path_factory.mktemp("farm")
    archive = scenes.scene_archive(folder / "scenes")
    for day in DAYS:
        scenes.write_scene(folder / "scenes", day)
    lake = Lake(folder / "lake")
    scenes.make_line(lake, archive)
    assert publish(Work(lake, archive))
    return folder, archive


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    at = len(data) // 3
    if path.suffix == ".parquet":
        # The last byte of a page: some of a page's header say nothing of its rows.
        column = pq.read_metadata(path).row_group(0).column(0)
        at = column.data_page_offset + column.total_compressed_size - 1
    data[at] ^= 0x10
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def ask(lake: Lake, archive) -> None:
    """A search as the command line makes it, with its sheet and with examples."""
    from lib.media.vectorfiles import Shapes

    searcher = PlaceSearcher(served(lake, archive))
    hits = searcher.search(searcher.of_sample("farm_20240102#r=0,c=0"), k=1)
    import shapely

    searcher.details(hits[0])
    searcher.rows_under(Shapes(np.array([shapely.Point(hits[0].lon, hits[0].lat)]), {}, 0))


@pytest.mark.parametrize("damage", [flip, cut], ids=["flipped", "cut"])
@pytest.mark.parametrize(
    "what", ["scene_index/*/all.parquet", "windows/*.parquet", "scene_index/*/index-*/*.npy"]
)
def test_a_damaged_file_is_never_answered_from_and_the_remedy_is_named(farm, tmp_path, what, damage):
    folder, archive = farm
    shutil.copytree(folder / "lake", tmp_path / "lake")
    lake = Lake(tmp_path / "lake")
    ask(lake, archive)
    for path in sorted((tmp_path / "lake" / "fields").glob(what)):
        damage(path)
    with pytest.raises(DinolakeError, match="dinolake run fields"):
        ask(Lake(tmp_path / "lake"), archive)
