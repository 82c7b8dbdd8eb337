"""What a run in this process came to, as it is told."""

import dagster as dg

from lib.errors import StoreError
from orchestration.launching import _failure

TOLD = "the lake's store s3://lake/one failed while listing it (refused: port 1). See to its address."


@dg.resource
def unreachable(context: dg.InitResourceContext) -> object:
    """A resource that can't be had, for a cause of its own."""
    raise StoreError(TOLD) from OSError("refused")


@dg.asset
def rows(lake: dg.ResourceParam[object]) -> None:
    """Never made."""


def test_a_run_whose_resource_is_out_of_reach_says_so_with_the_remedy():
    job = dg.define_asset_job("everything", "*")
    definitions = dg.Definitions(assets=[rows], resources={"lake": unreachable}, jobs=[job])
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("everything").execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        assert not result.success and not result.get_step_failure_events()
        assert _failure(result) == TOLD
