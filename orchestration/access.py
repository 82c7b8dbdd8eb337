"""The lake and the catalog that the settings name."""

from pathlib import Path

from lib.catalog import Catalog, read_catalog
from lib.lake import Lake
from lib.settings import read_settings
from orchestration.outputs import require_folder


def open_lake() -> Lake:
    """The lake of DINOLAKE_LAKE.

    Raises:
        UsageError: A file is in its way.
    """
    root = read_settings().lake
    if "://" not in root:  # addresses are the lake's own to refuse
        require_folder(Path(root).absolute(), f"DINOLAKE_LAKE ({root})")
    return Lake(root)


def the_catalog() -> Catalog:
    """The catalog of DINOLAKE_CATALOG."""
    return read_catalog(read_settings().catalog)
