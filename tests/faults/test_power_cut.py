"""The power goes between a write and its move, right after the move, or before the disk had all of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def cut_off(folder: Path, *, seed: int, cuts: int) -> dict:
    """The line killed in a process of its own at seeded moves into place, and gone on with each time."""
    program = Path(__file__).with_name("cutting.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", program, folder, str(seed), str(cuts)],
        capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_after_a_cut_at_any_move_the_next_run_leaves_what_an_undisturbed_one_does(tmp_path):
    told = cut_off(tmp_path, seed=5, cuts=6)
    assert told["wrong"] == {}
    assert told["cut"] >= 3, "too few of the cuts came at all to test anything"


@pytest.mark.slow
def test_after_a_cut_at_every_move_the_next_run_leaves_what_an_undisturbed_one_does(tmp_path):
    told = cut_off(tmp_path, seed=6, cuts=36)
    assert told["wrong"] == {}
    assert told["cut"] >= 24
