"""A few cycles of the soak that `make soak` has 500 of."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_short_soak_ends_with_the_lake_that_its_files_make_from_scratch(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "bench.soak", "--cycles", "6", "--seed", "11", "--folder",
         tmp_path / "soak", "--real-every", "0", "--compare-every", "6"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["mismatches"] == [] and told["kills"] >= 1 and told["comparisons"] == 1
