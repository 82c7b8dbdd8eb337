"""When an asset is made by itself: what the lake says follows from what is registered there.

Not from Dagster's events: those are lost with a killed sensor, don't know what a shard was made of, and
never fire for what was missing before they were first looked at. The lake's fingerprints are the one picture
of what is due; `dinolake plan` shows the same.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import dagster as dg

from assets_defs.partitions import key_of
from lib.catalog import Archive
from lib.embedding.backbones import contract_of
from lib.errors import DinolakeError
from lib.lake import WHOLE, Lake, fingerprint
from lib.stages.following import following
from lib.stages.line import Contracts, contract_id_of, line_of
from lib.stages.making import Work
from lib.stages.pair_contract import pair_contract

# Files of the lake may be deleted by hand, which no ledger tells.
_ANSWER_HOLDS_S = 600.0


class Following:
    """What follows in one archive, asked of the lake once an evaluation however many assets ask.

    Not even that while the ledger's files are as they were: nothing was registered or made then.
    """

    def __init__(self, archive: Archive, open_lake: Callable[[], Lake]):
        self.archive, self._open_lake = archive, open_lake
        self._evaluation: object = None
        self._answered: tuple[object, float] = (None, 0.0)
        self._answer: Mapping[str, set[str]] = {}

    def shards(self, stage: str, evaluation: object) -> set[str]:
        """The shards of a stage that are due and have what they are made from."""
        if self._evaluation != evaluation:
            self._evaluation = evaluation
            self._ask()
        return set(self._answer.get(stage, ()))

    def _ask(self) -> None:
        lake = self._open_lake()
        ledger = lake.root / "ledger.sqlite"
        mark, (answered, at) = (
            [_facts(ledger), _facts(ledger.with_name(f"{ledger.name}-wal"))],
            self._answered,
        )
        if mark != answered or time.monotonic() - at > _ANSWER_HOLDS_S:
            self._answer = following(Work(lake, self.archive))
            self._answered = mark, time.monotonic()


def _facts(path: Path) -> tuple[int, int]:
    try:
        facts = path.stat()
    except OSError:
        return 0, 0
    return facts.st_size, facts.st_mtime_ns


class FollowsInLake(dg.AutomationCondition[dg.AssetKey]):
    """True of the shards that new, changed or removed sources make due."""

    def __init__(self, found: Following):
        self._found = found

    @property
    def requires_cursor(self) -> bool:
        """Nothing is remembered from one evaluation to the next."""
        return False

    @property
    def name(self) -> str:
        """As the UI shows it."""
        return "follows_from_sources"

    @property
    def description(self) -> str:
        """As the UI shows it."""
        return "Sources came, changed or went, and what this is made from stands."

    def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        """Ask the lake; partitions that Dagster hasn't been told of yet wait for the sensor that tells it."""
        archive = self._found.archive
        shards = self._found.shards(context.key.path[-1], context.evaluation_time)
        view = context.asset_graph_view
        if context.partitions_def is None:
            due = view.get_full_subset(key=context.key) if shards else context.get_empty_subset()
        else:
            keys = {key_of(archive, shard) for shard in shards - {WHOLE}}
            with dg.partition_loading_context(dynamic_partitions_store=view.instance):
                keys = {key for key in keys if context.partitions_def.has_partition_key(key)}
            due = view.get_subset_from_partition_keys(context.key, context.partitions_def, keys)
        return dg.AutomationResult(context, due.compute_intersection(context.candidate_subset))


def code_versions(archive: Archive) -> dict[str, str]:
    """Stage -> its code's version with its parameters and contract: what the UI calls outdated by."""
    told = {}
    for stage in line_of(archive).stages:
        parts = [str(stage.version), fingerprint(stage.parameters(archive))[:8]]
        with suppress(DinolakeError):  # weights that aren't here are told of where they are wanted
            parts += [contract_id_of(stage, _contracts(archive))] if stage.has_contract else []
        told[stage.name] = "-".join(parts)
    return told


def _contracts(archive: Archive) -> Contracts:
    if archive.kind == "pair":
        return pair_contract(archive)
    told = archive.embedding
    return contract_of(told.backbone, size_px=told.size_px, pooling=archive.pooling())


def automated(
    archive: Archive,
    assets: Sequence[dg.AssetsDefinition],
    open_lake: Callable[[], Lake],
    code_versions: Mapping[str, str],
) -> Sequence[dg.AssetsDefinition]:
    """A line's assets with the condition that they are made under, and versions that show what is stale.

    Args:
        archive: The catalog entry.
        assets: Its line.
        open_lake: Called when a condition is evaluated, never at definition time.
        code_versions: Stage -> code version.
    """
    # A shard that fails by itself is quarantined at the third time; a run may die of much that passes.
    again = dg.AutomationCondition.cron_tick_passed(f"*/{archive.watch.retry_minutes} * * * *")
    condition = (
        FollowsInLake(Following(archive, open_lake))
        & ~dg.AutomationCondition.in_progress()
        & (~dg.AutomationCondition.execution_failed() | again)
    ).with_label("what follows from new sources")

    def with_condition(spec: dg.AssetSpec) -> dg.AssetSpec:
        stage = spec.key.path[-1]
        if stage == "sources":
            return spec
        return spec.replace_attributes(
            automation_condition=condition, code_version=code_versions.get(stage, spec.code_version)
        )

    return [part.map_asset_specs(with_condition) for part in assets]
