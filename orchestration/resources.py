"""What a deployment configures: where the lake is, and what computes."""

import dagster as dg
from dagster import InitResourceContext
from pydantic import Field

from lib.compute import RayCompute
from lib.lake import Lake
from orchestration.instance import PROCESS_TAG, this_process


class LakeResource(dg.ConfigurableResource[Lake]):
    """The lake."""

    root: str = Field(description="Folder of the lake; DINOLAKE_LAKE sets it.")

    def create_resource(self, context: InitResourceContext) -> Lake:
        """Open it; an empty folder is an empty lake. A run is tagged with the process that it is in."""
        if context.run is not None and context.instance is not None:
            context.instance.add_run_tags(context.run.run_id, {PROCESS_TAG: this_process()})
        return Lake(self.root)


class RayResource(dg.ConfigurableResource[RayCompute]):
    """Ray: an existing cluster by its address, or a local one that lives as long as the step."""

    address: str | None = Field(
        default=None, description="host:port of a Ray cluster; RAY_ADDRESS sets it. Empty: a local one."
    )
    workers: int | None = Field(
        default=None, description="Actors; empty: one a GPU, else one for each 8 CPUs."
    )
    cpus_each: int | None = Field(
        default=None, description="CPUs an actor may use; empty: shared out evenly."
    )

    def create_resource(self, context: InitResourceContext) -> RayCompute:
        """Nothing is started until there is work."""
        return RayCompute(self.address or None, self.workers, self.cpus_each)
