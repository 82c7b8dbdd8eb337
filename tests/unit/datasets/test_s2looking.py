"""S2Looking's reader on a miniature of the authors' repository."""

from pathlib import Path

import pytest

from lib.datasets import ChangePair
from lib.datasets.s2looking import DATASET, read_pairs
from lib.errors import FetchError
from lib.fetch import fetch


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split, name in (("train", "1.png"), ("val", "12.png"), ("test", "1008.png")):
        for side in ("Image1", "Image2", "label", "label1", "label2"):
            path = tmp_path / "S2Looking" / "S2Looking" / split / side / name
            path.parent.mkdir(parents=True)
            path.touch()
    for side in ("A", "B", "label"):
        (tmp_path / "LEVIR-CD+" / "LEVIR-CD+" / "test" / side).mkdir(parents=True)
        (tmp_path / "LEVIR-CD+" / "LEVIR-CD+" / "test" / side / "train_638.png").touch()
    return tmp_path


def test_pairs_have_the_mask_of_all_changes_and_their_split(root: Path) -> None:
    found = {pair.split: pair for pair in read_pairs(root)}
    assert set(found) == {"train", "val", "test"}
    assert found["test"] == ChangePair(
        name="S2Looking/S2Looking/test/1008",
        before="S2Looking/S2Looking/test/Image1/1008.png",
        after="S2Looking/S2Looking/test/Image2/1008.png",
        label="S2Looking/S2Looking/test/label/1008.png",
        split="test",
    )


def test_it_is_fetched_by_hand_from_the_repository(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"git clone --depth 1 https://github\.com/S2Looking/Dataset"):
        fetch(DATASET, tmp_path / "made", acknowledged=True)
