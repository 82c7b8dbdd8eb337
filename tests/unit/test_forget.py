"""What registration does with what was forgotten: it stays out by path and by content."""

import pytest

from lib.catalog import Archive
from lib.errors import QueryError
from lib.forget import due, forget, forgotten_of
from lib.lake import Lake
from lib.sections import EmbeddingConfig
from lib.stages.sources import foresee, register


@pytest.fixture
def place(tmp_path):
    """An archive of three files, two of them byte for byte alike, registered."""
    root = tmp_path / "videos"
    root.mkdir()
    for name, data in (("a", b"one"), ("b", b"two"), ("copy_of_a", b"one")):
        (root / f"{name}.mp4").write_bytes(data)
    archive = Archive(
        name="talks", kind="video", root=str(root), embedding=EmbeddingConfig(backbone="efficientnet_lite0")
    )
    lake = Lake(tmp_path / "lake")
    register(archive, lake)
    return root, archive, lake


def standing(lake: Lake) -> set[str]:
    return {item.path for item in lake.ledger.items("talks") if not item.removed}


def test_copies_of_a_forgotten_file_are_forgotten_with_it_and_named(place):
    _, _, lake = place
    done = forget(lake, "talks", ["a"])
    assert (done.items, done.copies) == (("a",), ("copy_of_a",))
    assert standing(lake) == {"b.mp4"}


def test_a_forgotten_file_stays_out_under_another_name_and_after_the_ledger_was_lost(place):
    root, archive, lake = place
    forget(lake, "talks", ["a.mp4"])
    lake.ledger.drop_items("talks", [item.item for item in due(lake, "talks", older_than_s=1e9)])
    (root / "renamed.mp4").write_bytes(b"one")
    assert register(archive, lake).shards and standing(lake) == {"b.mp4"}
    assert "renamed.mp4" not in {item.path for item in foresee(archive, lake)}, (
        "the plan would go on about it"
    )
    for path in lake.root.glob("ledger.sqlite*"):
        path.unlink()
    register(archive, Lake(lake.root))
    assert standing(Lake(lake.root)) == {"b.mp4"}


def test_what_is_kept_of_a_forgotten_item_tells_neither_its_name_nor_its_content(place):
    _, _, lake = place
    forget(lake, "talks", ["b"])
    kept = "".join(forgotten_of(lake, "talks"))
    content = next(i.content_hash for i in lake.ledger.items("talks") if i.item == "b")
    assert kept and "b.mp4" not in kept and content not in kept


def test_one_unknown_item_among_others_forgets_none(place):
    _, _, lake = place
    with pytest.raises(QueryError, match="Near: copy_of_a"):
        forget(lake, "talks", ["b", "copy_of"])
    assert standing(lake) == {"a.mp4", "b.mp4", "copy_of_a.mp4"} and not forgotten_of(lake, "talks")


def test_what_is_gone_at_its_source_is_due_after_the_delay_and_what_was_forgotten_at_once(place):
    root, archive, lake = place
    (root / "b.mp4").unlink()
    register(archive, lake)
    assert [item.item for item in due(lake, "talks", older_than_s=3600.0)] == []
    assert [item.item for item in due(lake, "talks", older_than_s=0.0)] == ["b"]
    forget(lake, "talks", ["a"])
    assert {item.item for item in due(lake, "talks", older_than_s=3600.0)} == {"a", "copy_of_a"}
