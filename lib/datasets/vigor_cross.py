"""VIGOR, cross-area: trained on New York and Seattle, tested on Chicago and San Francisco.

Files and lists are those of `vigor`; every panorama of a city is on its side of the split
(`pano_label_balanced.txt`).
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from lib.datasets import PairRow
from lib.datasets import vigor as same_area

_LIST = "pano_label_balanced.txt"
CROSS_AREA: same_area.Protocol = MappingProxyType(
    {"train": (("NewYork", "Seattle"), _LIST), "test": (("Chicago", "SanFrancisco"), _LIST)}
)


def read_pair_rows(root: Path) -> Iterator[PairRow]:
    """As `vigor`'s, by city.

    Raises:
        DatasetError: A list is missing, or a line of it doesn't have its 13 fields.
    """
    yield from same_area.read_pair_rows(root, protocol=CROSS_AREA)


DATASET = replace(
    same_area.DATASET,
    name="vigor_cross",
    title="VIGOR, street panoramas and satellite tiles of four cities, cross-area",
    read_pair_rows=read_pair_rows,
    shares_places=False,
    notes="Panoramas have north in their middle, tiles have it up. No city is on both sides. A hit rate "
    "counts those queries whose tile comes first once the semi-positives are left out.",
)
