"""COCO Captions: 123,287 pictures with five captions each, in Karpathy's split.

Pictures of 2014, `train2014/COCO_train2014_<number>.jpg` (82,783) and `val2014/COCO_val2014_<number>.jpg`
(40,504); sizes and MD5 as others report them. `dataset_coco.json` has 82,783 pictures in train and 30,504 in
restval, which are trained on too, 5,000 in val and 5,000 in test.
"""

from collections.abc import Iterator
from pathlib import Path

from lib.datasets import Dataset, Licence, PairRow, RemoteFile
from lib.datasets.karpathy import LISTS, SIDES, caption_rows

LIST = "dataset_coco.json"
_AT = "http://images.cocodataset.org/zips"


def read_pair_rows(root: Path) -> Iterator[PairRow]:
    """Picture and caption, five rows a picture and for some six or seven; the group is the picture.

    Raises:
        DatasetError: The list is missing, or is none of Karpathy's.
    """
    yield from caption_rows(root, LIST)


DATASET = Dataset(
    name="coco_captions",
    kind="pair",
    title="COCO Captions, pictures of common objects in context with five captions each",
    licence=Licence(
        name="CC BY 4.0 (captions); Flickr's terms of use (pictures)",
        url="https://cocodataset.org/#termsofuse",
        asks="The captions are under CC BY 4.0: cite Lin et al., Microsoft COCO, ECCV 2014, and Chen et al., "
        "Microsoft COCO Captions, 2015. COCO doesn't own the pictures: abide by Flickr's terms.",
        needs_acknowledgement=True,
    ),
    files=(
        LISTS,
        RemoteFile(
            url=f"{_AT}/train2014.zip",
            name="train2014.zip",
            size_bytes=13_510_573_713,
            md5="0da8c0bd3d6becc4dcb32757491aca88",
        ),
        RemoteFile(
            url=f"{_AT}/val2014.zip",
            name="val2014.zip",
            size_bytes=6_645_013_297,
            md5="a3d79f5ed8d289b7a7554ce06a5782b3",
        ),
    ),
    # JPEGs don't shrink in a zip: as much again for what is unpacked, and .5 GB of lists.
    size_bytes=41_000_000_000,
    read_pair_rows=read_pair_rows,
    sides=SIDES,
    notes="Figures are of the 5,000 pictures of test at once, not the mean over five times 1,000.",
)
