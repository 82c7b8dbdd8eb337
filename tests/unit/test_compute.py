"""Ray workers: chunks in task order, whatever dies or hangs on the way."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lib.compute import Failed, InlineCompute, RayCompute
from lib.errors import DinolakeError, UnreadableMediaError


@dataclass(frozen=True)
class Act:
    """Makes a worker that does what its task says; `marks` is a folder to leave traces in."""

    marks: str

    def __call__(self):
        return self.work

    def work(self, task: tuple[str, int]) -> Iterator[tuple[str, int, int]]:
        what, number = task
        mark = Path(self.marks) / f"{what}{number}"
        for at in range(3):
            if what == "unreadable" and at == 1:
                raise UnreadableMediaError("broken in the middle")
            if what == "bug":
                raise ValueError("a bug")
            if at == 2 and (what == "always_dies" or (what == "dies_once" and not mark.exists())):
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "hangs":
                time.sleep(600)
            yield what, number, at


@dataclass(frozen=True)
class CannotLoad:
    def __call__(self):
        raise DinolakeError("no weights anywhere")


def whole(what, number):
    return [(number, (what, number, at)) for at in range(3)]


@pytest.fixture(scope="module")
def ray():
    with pytest.MonkeyPatch.context() as patch:
        # Workers import what they are sent by its module's name.
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        with RayCompute(workers=2, cpus_each=1) as compute:
            yield compute


@pytest.mark.filterwarnings("ignore")
def test_chunks_come_in_task_order_from_two_workers(ray, tmp_path):
    tasks = [("fine", n) for n in range(7)]
    assert list(ray.map(Act(str(tmp_path)), tasks, limit_s=60)) == [
        c for n in range(7) for c in whole("fine", n)
    ]


@pytest.mark.filterwarnings("ignore")
def test_a_worker_that_dies_costs_neither_its_task_nor_those_behind_it(ray, tmp_path):
    tasks = [("fine", 0), ("dies_once", 1), ("fine", 2), ("fine", 3), ("fine", 4)]
    assert list(ray.map(Act(str(tmp_path)), tasks, limit_s=60)) == [
        c for n, (w, _) in enumerate(tasks) for c in whole(w, n)
    ]


@pytest.mark.filterwarnings("ignore")
def test_a_task_that_kills_every_worker_fails_alone_with_its_reason(ray, tmp_path):
    chunks = list(ray.map(Act(str(tmp_path)), [("always_dies", 0), ("fine", 1)], limit_s=60))
    assert isinstance(chunks[-4][1], Failed) and "died" in chunks[-4][1].reason
    assert chunks[-3:] == whole("fine", 1)


@pytest.mark.filterwarnings("ignore")
def test_what_cant_be_read_ends_with_its_reason(ray, tmp_path):
    chunks = list(ray.map(Act(str(tmp_path)), [("unreadable", 0), ("fine", 1)], limit_s=60))
    assert chunks == [(0, ("unreadable", 0, 0)), (0, Failed("broken in the middle")), *whole("fine", 1)]


@pytest.mark.filterwarnings("ignore")
def test_a_hang_is_ended_and_the_next_task_runs(ray, tmp_path, monkeypatch):
    monkeypatch.setattr("lib.compute.HANG_MARGIN_S", 1.0)
    chunks = list(ray.map(Act(str(tmp_path)), [("hangs", 0), ("fine", 1), ("fine", 2)], limit_s=1.0))
    assert isinstance(chunks[0][1], Failed) and "nothing came" in chunks[0][1].reason
    assert chunks[1:] == [*whole("fine", 1), *whole("fine", 2)]


@pytest.mark.filterwarnings("ignore")
def test_a_bug_in_the_work_is_raised_as_what_it_is(ray, tmp_path):
    with pytest.raises(ValueError, match="a bug"):
        list(ray.map(Act(str(tmp_path)), [("bug", 0)], limit_s=60))


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_cant_be_loaded_is_an_error_that_says_so(ray):
    with pytest.raises(DinolakeError, match="no weights anywhere"):
        list(ray.map(CannotLoad(), [("fine", 0)], limit_s=60))


def test_the_same_tasks_give_the_same_chunks_without_ray(tmp_path):
    tasks = [("fine", 0), ("unreadable", 1)]
    expected = [*whole("fine", 0), (1, ("unreadable", 1, 0)), (1, Failed("broken in the middle"))]
    assert list(InlineCompute().map(Act(str(tmp_path)), tasks, limit_s=60)) == expected
