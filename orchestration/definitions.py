"""The code location: `defs` and nothing else.

The catalog is read when Dagster asks, not when this is imported.
"""

import os

import dagster as dg

from assets_defs.change_sets import change_set_line
from assets_defs.pairs import pair_line
from assets_defs.reports import scoreboard
from assets_defs.scenes import scene_line
from assets_defs.videos import video_line
from lib.catalog import read_catalog
from lib.settings import read_settings
from orchestration.jobs import jobs_of, scoreboard_job
from orchestration.resources import LakeResource, RayResource


@dg.definitions
def defs() -> dg.Definitions:
    """Every archive of the catalog as its line of assets."""
    settings = read_settings()
    catalog = read_catalog(settings.catalog)
    lines = {"video": video_line, "scene": scene_line, "pair": pair_line, "change_set": change_set_line}
    archives = [archive for archive in catalog.archives.values() if archive.line in lines]
    made = [part for archive in archives for part in lines[archive.line](archive)]
    return dg.Definitions(
        assets=[
            *(part for part in made if not isinstance(part, dg.AssetChecksDefinition)),
            scoreboard(catalog),
        ],
        asset_checks=[part for part in made if isinstance(part, dg.AssetChecksDefinition)],
        jobs=[*(job for archive in archives for job in jobs_of(archive)), scoreboard_job()],
        resources={
            "lake": LakeResource(root=settings.lake),
            "compute": RayResource(address=os.environ.get("RAY_ADDRESS")),
        },
        # One process a run: a step's own process would start torch and Dagster anew for each stage.
        executor=dg.in_process_executor,
    )
