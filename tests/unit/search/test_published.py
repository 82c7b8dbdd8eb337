"""Conditions asked of an archive that is open for long."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from lib.lake import Lake
from lib.search.index import VectorIndex
from lib.search.published import Published


@pytest.fixture
def published(tmp_path, monkeypatch) -> Published:
    """Eight clips of two videos, the second removed at its source; nothing is read from a disk."""
    rows = pa.table(
        {
            "item": ["a"] * 4 + ["b"] * 4, "path": ["a.mp4"] * 4 + ["b.mp4"] * 4,
            "start_s": np.arange(8.0), "is_gone": [False] * 8,
        }
    )  # fmt: skip
    index = VectorIndex.build(np.eye(8, dtype=np.float16), contract="toy")
    monkeypatch.setattr(Published, "_open", staticmethod(lambda work, stage: (rows, index)))
    monkeypatch.setattr(Published, "_is_standing", lambda self, name: np.arange(8) < 4)

    work = SimpleNamespace(lake=Lake(tmp_path), archive=SimpleNamespace(name="talks"))
    return Published(work, "clip_index")


def counted(published: Published, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The conditions that were evaluated, as they come."""
    asked: list[str] = []
    evaluate = published._work.lake.matching
    monkeypatch.setattr(
        published._work.lake, "matching", lambda table, where: asked.append(where) or evaluate(table, where)
    )
    return asked


def test_a_condition_asked_again_is_not_evaluated_again(published, monkeypatch):
    asked = counted(published, monkeypatch)
    for left_out in (None, np.arange(8) == 3, None):
        allowed = published.allowed("start_s >= 2", ("item", "start_s"), left_out)
        assert np.flatnonzero(allowed).tolist() == ([2] if left_out is not None else [2, 3])
    assert asked == ["start_s >= 2"]


def test_a_condition_that_tells_the_time_is_evaluated_each_time(published, monkeypatch):
    asked = counted(published, monkeypatch)
    where = "year(NOW()) > 2000 AND start_s = 1"
    for _ in range(2):
        assert np.flatnonzero(published.allowed(where, ("item", "start_s"), None)).tolist() == [1]
    assert asked == [where, where]
