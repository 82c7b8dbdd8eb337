"""Fixtures that all tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The shared research data: DINOLAKE_REAL_DATA, else ../shared/data beside the checkout."""
    folder = Path(os.environ.get("DINOLAKE_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "MANIFEST.tsv").is_file():
        pytest.skip(f"no real data at {folder}: set DINOLAKE_REAL_DATA to run this test")
    return folder
