"""Flickr30k and COCO Captions in Karpathy's form: five captions, restval, pictures wherever they lie."""

import json
from pathlib import Path

import pytest

from lib.datasets import PairRow, flickr30k
from lib.datasets import coco_captions as coco
from lib.errors import DatasetError


def image(filename: str, split: str, captions: list[str], **more: str) -> dict[str, object]:
    sentences = [
        {"tokens": raw.lower().split(), "raw": raw, "imgid": 0, "sentid": n} for n, raw in enumerate(captions)
    ]
    return {"filename": filename, "split": split, "sentences": sentences, "imgid": 0, **more}


FIVE = ["Two men.", " Men in a yard. ", "A yard.", "Trees.", "Friends outside."]


@pytest.fixture
def flickr(tmp_path: Path) -> Path:
    (tmp_path / "flickr30k-images").mkdir()
    (tmp_path / "flickr30k-images" / "1000092795.jpg").touch()
    images = [image("1000092795.jpg", "test", FIVE), image("36979.jpg", "val", ["Gone."])]
    (tmp_path / flickr30k.LIST).write_text(json.dumps({"images": images, "dataset": "flickr30k"}))
    return tmp_path


def test_a_picture_has_a_row_for_each_of_its_five_captions(flickr: Path) -> None:
    assert list(flickr30k.read_pair_rows(flickr))[:5] == [
        PairRow(f"1000092795_{n}", "flickr30k-images/1000092795.jpg", caption.strip(), "test", "1000092795")
        for n, caption in enumerate(FIVE)
    ]


def test_a_listed_picture_that_is_missing_is_still_a_row(flickr: Path) -> None:
    assert list(flickr30k.read_pair_rows(flickr))[5:] == [
        PairRow("36979_0", "36979.jpg", "Gone.", "val", "36979")
    ]


def test_cocos_restval_is_trained_on_and_its_zips_keep_their_folders(tmp_path: Path) -> None:
    names = [f"COCO_val2014_{number:012d}.jpg" for number in range(4)]
    splits = ("train", "restval", "val", "test")
    images = [
        image(n, s, ["A cat."], filepath="val2014", cocoid="1") for n, s in zip(names, splits, strict=True)
    ]
    (tmp_path / "caption_datasets").mkdir()
    (tmp_path / "caption_datasets" / coco.LIST).write_text(json.dumps({"images": images, "dataset": "coco"}))
    (tmp_path / "val2014" / "val2014").mkdir(parents=True)
    for name in names[:3]:
        (tmp_path / "val2014" / "val2014" / name).touch()
    assert [(row.left, row.split) for row in coco.read_pair_rows(tmp_path)] == [
        (f"val2014/val2014/{names[0]}", "train"),
        (f"val2014/val2014/{names[1]}", "train"),
        (f"val2014/val2014/{names[2]}", "val"),
        (f"val2014/{names[3]}", "test"),
    ]


def test_an_unknown_split_is_no_list_of_karpathys(flickr: Path) -> None:
    (flickr / flickr30k.LIST).write_text(json.dumps({"images": [image("1.jpg", "dev", FIVE)]}))
    with pytest.raises(DatasetError, match=r"none of Karpathy's lists \(KeyError: 'dev'\)"):
        list(flickr30k.read_pair_rows(flickr))


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no dataset_coco\.json below"):
        list(coco.read_pair_rows(tmp_path))
