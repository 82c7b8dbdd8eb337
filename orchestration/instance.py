"""Dagster's instance: its folder, and a configuration written there on first use."""

import os
from pathlib import Path

import dagster as dg
from filelock import FileLock

from lib.lake import write_whole
from lib.settings import read_settings

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
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        write_whole(home / "dagster.yaml", _CONFIG)
    os.environ["DAGSTER_HOME"] = str(home)
    # Two processes that open a new SQLite storage at once trip over each other's CREATE TABLE.
    with FileLock(home / ".opening.lock"), dg.DagsterInstance.get() as instance:
        instance.get_runs(limit=1)
    return home


def close_orphans(instance: dg.DagsterInstance) -> int:
    """Mark runs failed whose process on this machine is gone: a killed `dinolake run` can't do it itself."""
    import socket

    orphans = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        host, _, pid = run.tags.get("dinolake/process", "").partition(":")
        if host == socket.gethostname() and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            instance.report_run_failed(run, "its process is gone (killed, or the machine went down)")
            orphans += 1
    return orphans
