"""The code location: `defs` and nothing else.

The catalog is read when Dagster asks, not when this is imported.
"""

import os
from collections.abc import Sequence

import dagster as dg

from assets_defs.automation import automated, code_versions
from assets_defs.change_sets import change_set_line
from assets_defs.freshness import freshness_checks
from assets_defs.pairs import pair_line
from assets_defs.reports import health, scoreboard
from assets_defs.scenes import scene_line
from assets_defs.videos import video_line
from lib.catalog import read_catalog
from lib.lake import Lake
from lib.settings import read_settings
from orchestration.alerts import alert_sensors
from orchestration.jobs import jobs_of, scoreboard_job
from orchestration.resources import LakeResource, RayResource
from orchestration.schedules import reprocessing_of
from orchestration.sensors import freshness_sensor, lost_runs_sensor, scoreboard_sensor, sensors_of


@dg.definitions
def defs() -> dg.Definitions:
    """Every archive of the catalog as its line of assets, and what keeps it up to date."""
    settings = read_settings()
    catalog = read_catalog(settings.catalog)
    lines = {"video": video_line, "scene": scene_line, "pair": pair_line, "change_set": change_set_line}
    archives = [archive for archive in catalog.archives.values() if archive.line in lines]
    assets: list[dg.AssetsDefinition] = [scoreboard(catalog), health(catalog)]
    checks: list[dg.AssetChecksDefinition] = []
    for archive in archives:
        made: Sequence[dg.AssetsDefinition | dg.AssetChecksDefinition] = lines[archive.line](archive)
        line = [part for part in made if not isinstance(part, dg.AssetChecksDefinition)]
        assets += automated(archive, line, lambda: Lake(settings.lake), code_versions(archive))
        checks += [part for part in made if isinstance(part, dg.AssetChecksDefinition)]
        checks += freshness_checks(archive)
    reprocessing = [found for archive in archives if (found := reprocessing_of(archive))]
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        jobs=[
            *(job for archive in archives for job in jobs_of(archive)),
            *(job for job, _ in reprocessing),
            scoreboard_job(),
        ],
        schedules=[schedule for _, schedule in reprocessing],
        sensors=[
            *(sensor for archive in archives for sensor in sensors_of(archive)),
            scoreboard_sensor(),
            freshness_sensor(archives),
            lost_runs_sensor(),
            *alert_sensors([key for check in checks for key in check.check_keys]),
        ],
        resources={
            "lake": LakeResource(root=settings.lake),
            "compute": RayResource(address=os.environ.get("RAY_ADDRESS")),
        },
        # One process a run: a step's own process would start torch and Dagster anew for each stage.
        executor=dg.in_process_executor,
    )
