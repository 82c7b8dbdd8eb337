"""Where things are: three environment variables and their defaults. Read when asked for, never at import."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """The three places that Dinolake writes to; it writes nowhere else (caches and installs aside)."""

    catalog: Path
    lake: str
    dagster_home: Path


def project_root() -> Path:
    """The checkout that this code was installed from (`pip install -e`), else the working directory."""
    checkout = Path(__file__).resolve().parents[1]
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def read_settings() -> Settings:
    """DINOLAKE_CATALOG, DINOLAKE_LAKE and DAGSTER_HOME, else their places under the project's `data/`."""
    data = project_root() / "data"
    return Settings(
        catalog=Path(os.environ.get("DINOLAKE_CATALOG") or data / "catalog.toml").absolute(),
        lake=os.environ.get("DINOLAKE_LAKE") or str(data / "lake"),
        dagster_home=Path(os.environ.get("DAGSTER_HOME") or data / "dagster").absolute(),
    )
