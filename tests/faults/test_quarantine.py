"""A shard that can't be made: it fails alone, is left alone after three times, and stops nothing."""

from collections import Counter

import pytest
from factories import make_video
from lakes import rows_of, undisturbed, use_stand_in

from lib.catalog import read_catalog
from lib.compute import InlineCompute, RayCompute
from lib.errors import StageFailedError
from lib.lake import Lake
from lib.stages import frames
from lib.stages.making import Work

BROKEN = "s00001"
CATALOG = """\
[archives.talks]
kind = "video"
root = "{root}"
shard_items = 1
embedding = {{ backbone = "efficientnet_lite0", size_px = 64 }}
"""


class Tried(Counter):
    """Shard -> how often it was tried."""

    is_mended = False


class Inline(RayCompute):
    """No Ray: what is tested is who is made, not where."""

    def map(self, make, tasks, *, limit_s):
        return InlineCompute().map(make, tasks, limit_s=limit_s)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Three shards of one video each, in an archive that the settings point to."""
    use_stand_in(monkeypatch)
    monkeypatch.setattr("orchestration.resources.RayCompute", Inline)
    (tmp_path / "videos").mkdir()
    for number in range(3):
        make_video(tmp_path / "videos" / f"v{number}.mp4", seconds=1, fps=8, size=(64, 48), seed=number)
    (tmp_path / "catalog.toml").write_text(CATALOG.format(root=tmp_path / "videos"))
    for name, value in (("CATALOG", tmp_path / "catalog.toml"), ("LAKE", tmp_path / "lake")):
        monkeypatch.setenv(f"DINOLAKE_{name}", str(value))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    return Lake(tmp_path / "lake"), read_catalog(tmp_path / "catalog.toml").archives["talks"]


@pytest.fixture
def tried(monkeypatch):
    """How often each shard's frames were tried; one can't be made."""
    counts, whole = Tried(), frames._Making.run

    def run(self, compute):
        counts[self._shard] += 1
        if self._shard == BROKEN and not counts.is_mended:
            raise ValueError("a bug that shows with this shard alone")
        return whole(self, compute)

    monkeypatch.setattr(frames._Making, "run", run)
    return counts


def run(place, **told):
    from orchestration.runs import run_archive

    lake, archive = place
    return run_archive(archive, lake, until="clip_index", say=lambda line: None, **told)


@pytest.mark.slow
def test_a_failing_shard_stops_no_other_is_quarantined_after_three_and_is_made_when_mended(
    tmp_path, place, tried
):
    lake, archive = place
    for _ in range(3):
        with pytest.raises(StageFailedError, match=f"(?s)1 shard.*{BROKEN}.*a bug that shows"):
            run(place)
    assert tried == {"s00000": 1, BROKEN: 3, "s00002": 1}
    indexed = set(Work(lake, archive).rows("clip_index", columns=["item"]).column("item").to_pylist())
    assert indexed == {"v0", "v2"}

    outcome = run(place)
    assert list(outcome.quarantined) == [BROKEN] and not outcome.failed
    assert tried[BROKEN] == 3
    (failure,) = lake.ledger.failures("talks")
    assert (failure.shard, failure.is_quarantined) == (BROKEN, True) and "a bug that shows" in failure.reason

    tried.is_mended = True
    outcome = run(place, retries=True)
    assert not outcome.quarantined and not lake.ledger.failures("talks")
    whole, ours = undisturbed(tmp_path / "whole", archive), rows_of(lake, archive)
    # The mean that clips are centred on was fitted without the shard, and stays: those differ, by right.
    assert all(ours[stage] == whole[stage] for stage in ("items", "frames", "frame_embeddings"))
    assert [clip["clip"] for clip in ours["clips"]] == [clip["clip"] for clip in whole["clips"]]
