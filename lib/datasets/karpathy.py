"""Karpathy's splits of captioned pictures: one JSON a dataset, five captions a picture and now and then more.

`{"dataset", "images": [{"filename", "filepath" (COCO only), "imgid", "sentids", "split", "sentences":
[{"raw", "tokens", "imgid", "sentid"}, …]}, …]}`: the files `dataset_flickr30k.json` and `dataset_coco.json`
of https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip, whose size (36,745,453 bytes)
and SHA-256 are as others report them.
"""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lib.datasets import PairRow, RemoteFile, Side
from lib.datasets.listed_pairs import nearest, pictures_below
from lib.errors import DatasetError

SIDES = (Side("picture"), Side("text"))
LISTS = RemoteFile(
    url="https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip",
    name="caption_datasets.zip",
    size_bytes=36_745_453,
    sha256="4cfd70132527b80933105e5829dc9034eaab9573482e2e680abbab6130244817",
)
# What COCO's train is short of, the rest of its val2014, is trained on by all who use these splits.
_SPLITS = {"train": "train", "restval": "train", "val": "val", "test": "test"}


def caption_rows(root: Path, name: str) -> Iterator[PairRow]:
    """A row for each caption, as it was written, with its picture.

    Args:
        root: Folder that holds the list and the pictures, at any depth.
        name: The list's file name.

    Raises:
        DatasetError: No such list, or it is none of Karpathy's.
    """
    file = nearest(root, name)
    try:
        images = json.loads(file.read_text(encoding="utf-8"))["images"]
        told = [
            (
                PurePosixPath(image.get("filepath", ""), image["filename"]),
                _SPLITS[image["split"]],
                [str(sentence["raw"]).strip() for sentence in image["sentences"]],
            )
            for image in images
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(
            f"{file} is none of Karpathy's lists ({type(error).__name__}: {error}). "
            f"Unpack {LISTS.name} again."
        ) from error
    # Archives are unpacked into folders of their own: the name tells the picture, its folder doesn't.
    standing = pictures_below(root)
    for path, split, captions in told:
        name = path.stem
        picture = standing.get(path.name) or str(path)
        for number, caption in enumerate(captions):
            yield PairRow(f"{name}_{number}", picture, caption, split, name)
