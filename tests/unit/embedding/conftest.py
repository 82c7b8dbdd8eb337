"""Caches of their own for the embedding tests: nothing of the user's is read or written."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache folder for the session, so that each network is converted once; no hub, no other settings."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        # Tiny networks are opened under many contracts: only the tests of tuning tune.
        patch.setenv("DINOLAKE_TUNING", "off")
        for name in ("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE"):
            patch.delenv(name, raising=False)
        patch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        yield folder
