"""The sensors of an archive: one watches its sources, one lets what follows be made.

The watching one registers and adds partitions, and nothing else.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg

from assets_defs.assets import REGISTERED
from assets_defs.freshness import evaluation_of, questions_of
from assets_defs.partitions import dynamic_keys, shards_of
from assets_defs.reports import HEALTH, SCOREBOARD
from lib.catalog import Archive
from lib.errors import DinolakeError
from lib.forget import forgotten_of, is_forgotten
from lib.lake import Lake
from lib.stages.arrivals import Arrivals, look, read_cursor, take
from lib.stages.freshness import Freshness
from lib.stages.line import line_of
from lib.stages.making import Work
from lib.stages.sources import Registered, root_of
from orchestration.instance import close_orphans
from orchestration.jobs import job_name

_FOLDER_S, _BUCKET_S, _CATALOGUE_S, _FOLLOW_S, _FRESHNESS_S, _LOST_RUNS_S = 30, 300, 3600, 30, 600, 60
# No run that talks to Ray waits for ever on a cluster that lost a node.
MAX_RUNTIME_S = 24 * 3600


def sensors_of(archive: Archive) -> Iterator[dg.SensorDefinition]:
    """The sensors of one archive; one whose dataset is downloaded once has nothing to watch."""
    if archive.watch.is_on and archive.stac is not None:
        yield _watch_catalogue(archive)
    elif archive.watch.is_on and archive.is_in_bucket:
        yield _watch_bucket(archive)
    elif archive.watch.is_on and archive.root is not None:
        yield _watch_folder(archive)
    yield dg.AutomationConditionSensorDefinition(
        f"{archive.name}__follow",
        target=dg.AssetSelection.groups(archive.name),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=min(_FOLLOW_S, archive.watch.every_s or _FOLLOW_S),
        run_tags={"dagster/max_runtime": str(MAX_RUNTIME_S), "dinolake/archive": archive.name},
        # The lake is asked what is due: that is this project's code, so it runs where that is.
        use_user_code_server=True,
        description=f"Makes what new, changed and removed sources of {archive.name} call for.",
    )


def _watch_folder(archive: Archive) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{archive.name}__watch",
        minimum_interval_seconds=archive.watch.every_s or _FOLDER_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Registers what came to {archive.root}, changed or went. Files that are still being "
        "written wait until two looks find them the same, or NAME.done stands beside them.",
    )
    def watch(
        context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            arrivals = look(archive, lake, read_cursor(context.cursor))
            found = take(archive, lake, arrivals) if arrivals.is_any else None
        except DinolakeError as error:
            return dg.SkipReason(str(error))
        told = _told(arrivals, found)
        # Held against the ledger each time: a tick that died after registering left this to the next.
        wanted = dynamic_keys(archive, lake.ledger.shards(archive.name))
        known = set(context.instance.get_dynamic_partitions(shards_of(archive.name).name or ""))
        new = [key for key in wanted if key not in known]
        return dg.SensorResult(
            cursor=arrivals.as_cursor(),
            dynamic_partitions_requests=[shards_of(archive.name).build_add_request(new)] if new else [],
            asset_events=[_materialization(archive, lake, found)] if found and _is_news(found) else [],
            skip_reason=told,
        )

    return watch


def _watch_catalogue(archive: Archive) -> dg.SensorDefinition:
    def ask(context: dg.SensorEvaluationContext) -> tuple[str, int]:
        from lib.stac_items import find_items

        items = find_items(archive.stac) if archive.stac else []
        told = json.dumps([(item.at, item.document, item.reason) for item in items], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:32], len(items)

    return _watch_address(archive, ask, "Asks the STAC catalogue what it has", _CATALOGUE_S)


def _watch_bucket(archive: Archive) -> dg.SensorDefinition:
    def ask(context: dg.SensorEvaluationContext) -> tuple[str, int]:
        from lib.bucket import listing_mark

        lake: Lake = context.resources.lake
        out = forgotten_of(lake, archive.name)
        return listing_mark(archive, root_of(archive, lake), skip=lambda key: is_forgotten(key, out))

    return _watch_address(archive, ask, "Lists the bucket's objects", _BUCKET_S)


def _watch_address(
    archive: Archive, ask: Callable[[dg.SensorEvaluationContext], tuple[str, int]], told: str, every_s: int
) -> dg.SensorDefinition:
    """A sensor that has the sources fetched when `ask` gives another mark than before."""
    job = job_name(archive.name, next(step for step in line_of(archive).steps if step.stages == ("sources",)))

    @dg.sensor(
        name=f"{archive.name}__watch",
        job_name=job,
        minimum_interval_seconds=archive.watch.every_s or every_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"{told}; another answer than before is fetched.",
        required_resource_keys={"lake"} if archive.is_in_bucket else None,
    )
    def watch(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            mark, count = ask(context)
        except DinolakeError as error:
            return dg.SkipReason(str(error))
        last = context.instance.get_runs(dg.RunsFilter(job_name=job), limit=1)
        has_failed = bool(last) and last[0].status == dg.DagsterRunStatus.FAILURE
        if context.cursor == mark and not has_failed:
            return dg.SkipReason(f"{count:,} items, as before")
        if last and not last[0].is_finished:
            return dg.SkipReason("the last answer is still being fetched")
        request = dg.RunRequest(tags={"dagster/max_runtime": str(MAX_RUNTIME_S)})
        return dg.SensorResult(run_requests=[request], cursor=mark)

    return watch


def _is_news(found: Registered) -> bool:
    return bool(found.new or found.changed or found.removed)


def _told(arrivals: Arrivals, found: Registered | None) -> str:
    waiting = len(arrivals.unsettled)
    parts = [f"{waiting:,} may still be written"] if waiting else []
    if found is not None:
        parts.insert(0, f"{found.new:,} new, {found.changed:,} changed, {found.removed:,} removed")
    return "; ".join(parts) or "nothing new"


def _materialization(archive: Archive, lake: Lake, found: Registered) -> dg.AssetMaterialization:
    """What `sources` shows: the same figures as a run of it."""
    standing = [item for item in lake.ledger.items(archive.name) if not item.removed]
    return dg.AssetMaterialization(
        asset_key=dg.AssetKey([archive.name, "sources"]),
        tags={"dagster/data_version": REGISTERED},
        metadata={
            "root": dg.MetadataValue.path(str(root_of(archive, lake))),
            "files": len(standing),
            "new": found.new,
            "changed": found.changed,
            "removed": found.removed,
            "shards": len(found.shards),
            "bytes": sum(item.bytes for item in standing),
        },
    )


def scoreboard_sensor() -> dg.SensorDefinition:
    """The sensor that lets the page over all archives follow their reports."""
    return dg.AutomationConditionSensorDefinition(
        "scoreboard__follow",
        target=dg.AssetSelection.assets(SCOREBOARD, HEALTH),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=_FOLLOW_S,
        description="Makes the scoreboard, and the page on how archives are, again after a report.",
    )


def lost_runs_sensor() -> dg.SensorDefinition:
    """The sensor that closes runs whose process is gone: they would hold up what they were to make."""

    @dg.sensor(
        name="lost_runs",
        minimum_interval_seconds=_LOST_RUNS_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Marks runs failed whose process on this machine was killed; Dagster tries them again.",
    )
    def lost_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        return dg.SkipReason(f"{close_orphans(context.instance)} were lost")

    return lost_runs


def freshness_sensor(archives: Sequence[Archive]) -> dg.SensorDefinition:
    """The sensor that asks all archives how fresh they are: what fell silent launches no run."""

    @dg.sensor(
        name="freshness",
        minimum_interval_seconds=_FRESHNESS_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Evaluates the freshness checks; an outcome is noted when it is another, and once a day.",
    )
    def freshness(context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]) -> dg.SensorResult:
        noted: dict[str, list[object]] = json.loads(context.cursor or "{}")
        today = datetime.now(UTC).date().isoformat()
        events, outcomes = [], dict[str, list[object]]()
        for archive in archives:
            work = Work(lake, archive)
            for key, ask in questions_of(archive):
                try:
                    found = ask(work)
                except DinolakeError as error:
                    found = Freshness(False, str(error))
                name = f"{key.asset_key.to_user_string()}:{key.name}"
                outcomes[name] = [found.is_fresh, today]
                if noted.get(name) != outcomes[name]:
                    events.append(evaluation_of(key, found))
        stale = sum(not is_fresh for is_fresh, _ in outcomes.values())
        return dg.SensorResult(
            cursor=json.dumps(outcomes, sort_keys=True), asset_events=events,
            skip_reason=f"{stale} of {len(outcomes)} checks found something stale",
        )  # fmt: skip

    return freshness
