"""Dagster's instance: its folder, and a configuration written there on first use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
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
"""


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


def close_orphans(instance: dg.DagsterInstance) -> int:
    """Mark runs failed whose process on this machine is gone: a killed `dinolake run` can't do it itself."""
    import socket

    orphans = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        host, _, pid = run.tags.get("dinolake/process", "").partition(":")
        if host == socket.gethostname() and pid.isdigit() and not is_alive(int(pid)):
            instance.report_run_failed(run, "its process is gone (killed, or the machine went down)")
            orphans += 1
    return orphans
