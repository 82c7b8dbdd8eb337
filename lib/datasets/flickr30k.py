"""Flickr30k: 31,783 pictures of everyday scenes with five captions each, in Karpathy's split.

The pictures are handed out after a form (https://shannon.cs.illinois.edu/DenotationGraph/) as a tar of
`flickr30k-images/<number>.jpg`; the split is `dataset_flickr30k.json`, 31,014 of them: 29,000 in train, 1,014
in val, 1,000 in test.
"""

from collections.abc import Iterator
from pathlib import Path

from lib.datasets import Dataset, Licence, PairRow
from lib.datasets.karpathy import LISTS, SIDES, caption_rows

LIST = "dataset_flickr30k.json"


def read_pair_rows(root: Path) -> Iterator[PairRow]:
    """Picture and caption, five rows a picture; the group is the picture.

    Raises:
        DatasetError: The list is missing, or is none of Karpathy's.
    """
    yield from caption_rows(root, LIST)


DATASET = Dataset(
    name="flickr30k",
    kind="pair",
    title="Flickr30k, pictures of everyday scenes with five captions each",
    licence=Licence(
        name="Flickr's terms of use (pictures); for research and education, not for commercial use",
        url="https://shannon.cs.illinois.edu/DenotationGraph/",
        asks="The pictures are their Flickr users', provided for non-commercial research and education: "
        "don't pass them on, and cite Young, Lai, Hodosh and Hockenmaier, TACL 2014.",
        needs_acknowledgement=True,
    ),
    files=(),
    # The tar of the pictures has about 4.4 GB, and so have they; the list 38 MB.
    size_bytes=9_000_000_000,
    read_pair_rows=read_pair_rows,
    sides=SIDES,
    by_hand="Flickr30k's pictures are handed out after a form: fill it in at "
    "https://shannon.cs.illinois.edu/DenotationGraph/, unpack flickr30k-images and "
    f"{LIST} of {LISTS.url} into one folder, and set `root` to it.",
    notes="A hit is any of a picture's five captions.",
)
