"""The lake and the catalog that the settings name."""

from lib.catalog import Catalog, read_catalog
from lib.lake import Lake
from lib.settings import read_settings


def open_lake() -> Lake:
    """The lake of DINOLAKE_LAKE."""
    return Lake(read_settings().lake)


def the_catalog() -> Catalog:
    """The catalog of DINOLAKE_CATALOG."""
    return read_catalog(read_settings().catalog)
