"""Dagster's instance: its folder, and a configuration written there on first use."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.scheduler.instigation import SensorInstigatorData
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._serdes import ConfigurableClassData
from filelock import FileLock

from lib.lake import write_whole
from lib.processes import is_alive
from lib.settings import read_settings
from orchestration.outputs import require_folder

_CONFIG = """\
# Written by Dinolake on first use; yours to edit.
telemetry:
  enabled: false
# No dialogue that asks for a mail address.
nux:
  enabled: false
run_monitoring:
  enabled: true
  # A killed run would keep its pool slots for ever.
  free_slots_after_run_end_seconds: 60
  # A run whose process never came up, or never ended, is marked failed.
  start_timeout_seconds: 300
  cancel_timeout_seconds: 180
# A run whose process was killed is tried again; one that failed by itself isn't.
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
# Two runs at once would share the same cores: the next waits. Raise it where there are more.
concurrency:
  runs:
    max_concurrent_runs: 1
# A sensor that hashes new files takes its time; the others go on.
sensors:
  use_threads: true
  num_workers: 4
"""
# On every run: host and pid of the process that makes it.
PROCESS_TAG = "dinolake/process"
# A sensor that ticked so far in the future did so before the clock was set back.
_AHEAD_S = 60.0


def prepare_home() -> Path:
    """DAGSTER_HOME with a configuration in it; the variable is set for this process and its children."""
    home = read_settings().dagster_home
    require_folder(home, f"DAGSTER_HOME ({home})")
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        write_whole(home / "dagster.yaml", _CONFIG)
    os.environ["DAGSTER_HOME"] = str(home)
    # Two processes that open a new SQLite storage at once trip over each other's CREATE TABLE.
    with FileLock(home / ".opening.lock"), dg.DagsterInstance.get() as instance:
        instance.get_runs(limit=1)
    return home


@contextmanager
def terminal_instance() -> Iterator[dg.DagsterInstance]:
    """The instance for runs in a process whose output a user sees.

    Their raw output isn't captured a second time: for that, Dagster starts two processes a step, which answer
    Ctrl-C with a traceback. Events are kept as ever.
    """
    with dg.DagsterInstance.get() as whole:
        nowhere = ConfigurableClassData(
            NoOpComputeLogManager.__module__, NoOpComputeLogManager.__name__, "{}"
        )
        told = whole.get_ref()._replace(compute_logs_data=nowhere)
        with dg.DagsterInstance.from_ref(told) as instance:
            yield instance


def this_process() -> str:
    """This process, as `PROCESS_TAG` names it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def forget_future_ticks(instance: dg.DagsterInstance) -> int:
    """Let sensors tick again after the clock was set back; the number of them.

    Dagster measures a sensor's interval from its last tick: one in the future stops it till then.
    """
    held = 0
    for state in instance.all_instigator_state():
        data = state.instigator_data
        if not isinstance(data, SensorInstigatorData):
            continue
        last = max(data.last_tick_timestamp or 0.0, data.last_tick_start_timestamp or 0.0)
        if last > time.time() + _AHEAD_S:
            renewed = data._replace(last_tick_timestamp=None, last_tick_start_timestamp=None)
            instance.update_instigator_state(state.with_data(renewed))
            held += 1
    return held


def close_orphans(instance: dg.DagsterInstance) -> int:
    """Mark runs failed whose process on this machine is gone: a killed `dinolake run` can't do it itself."""
    orphans = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        host, _, pid = run.tags.get(PROCESS_TAG, "").partition(":")
        if host == socket.gethostname() and pid.isdigit() and not is_alive(int(pid)):
            instance.report_run_failed(run, "its process is gone (killed, or the machine went down)")
            orphans += 1
    return orphans
