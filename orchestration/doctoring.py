"""`dinolake doctor`: the examination of lib.doctor, and of Dagster's own storage."""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from lib.doctor import examine
from lib.findings import Examination
from lib.processes import is_alive
from lib.room import size_text
from lib.settings import read_settings

_LEAST_FREE = 256 << 20
_STUCK_S = 24 * 3600.0
_UNDER_WAY = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING]


def examine_all(
    name: str | None, *, is_quick: bool, is_repairing: bool, say: Callable[[str], None]
) -> Examination:
    """Examine the lake, what is around it, and Dagster.

    Raises:
        UsageError: The catalog has no such archive.
    """
    settings = read_settings()
    exam = Examination(
        settings.catalog, Path(settings.lake).absolute(), name, is_quick=is_quick, is_repairing=is_repairing,
        say=say,
    )  # fmt: skip
    if "://" in settings.lake:
        exam.address, exam.root = settings.lake, settings.dagster_home / "lakes" / "none"
        with exam.guarded(f"the lake's store {settings.lake}", "see to its address and its credentials"):
            from lib.working_copy import working_copy

            copy = working_copy(settings.lake)
            copy.pull()
            exam.root = copy.folder
    examine(exam)
    say("Dagster")
    with exam.guarded(f"Dagster's storage ({settings.dagster_home})", "see dagster.yaml there"):
        check_dagster(exam, settings.dagster_home)
    return exam


def check_dagster(exam: Examination, home: Path) -> None:
    """Whether its storage opens, has this version's tables, and has runs that no process works on."""
    if not home.is_dir():
        exam.find("info", f"nothing was run by Dagster yet: there is no {home}.", "dinolake run ARCHIVE")
        return
    free = shutil.disk_usage(home).free
    if free < _LEAST_FREE:
        exam.find("error", f"only {size_text(free)} are free for DAGSTER_HOME ({home}).", "free some room")
    if not os.access(home, os.W_OK):
        exam.find("error", f"DAGSTER_HOME ({home}) can't be written to.", "give this user write access to it")
        return
    for file in sorted(home.rglob("*.db")):
        if fault := _sqlite_fault(file):
            exam.find(
                "error", f"Dagster's {file} is damaged ({fault}).",
                f"move {file} away: Dagster makes a new one, and its history of runs begins anew; the lake "
                "doesn't depend on it",
            )  # fmt: skip
            return
    os.environ["DAGSTER_HOME"] = str(home)
    with dg.DagsterInstance.get() as instance:
        storages = (instance.run_storage, instance.event_log_storage, instance.schedule_storage)
        for storage in storages:
            versions = storage.alembic_version() if storage is not None else None
            if versions is not None and versions[0] != versions[1]:
                exam.find(
                    "error", f"{type(storage).__name__} has the tables of another version of Dagster "
                    f"({versions[0]}, this one has {versions[1]}).", "dagster instance migrate",
                )  # fmt: skip
        _check_runs(exam, instance)


def _sqlite_fault(file: Path) -> str:
    try:
        connection = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=10)
        try:
            told = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
        finally:
            connection.close()
    except sqlite3.Error as error:
        return str(error)
    return "" if told == ["ok"] else "; ".join(told)


def _check_runs(exam: Examination, instance: dg.DagsterInstance) -> None:
    import socket

    from orchestration.instance import close_orphans

    dead, old = [], []
    for record in instance.get_run_records(dg.RunsFilter(statuses=_UNDER_WAY)):
        host, _, pid = record.dagster_run.tags.get("dinolake/process", "").partition(":")
        if host == socket.gethostname() and pid.isdigit() and not is_alive(int(pid)):
            dead.append(record.dagster_run.run_id)
        elif time.time() - record.update_timestamp.timestamp() > _STUCK_S:
            old.append(record.dagster_run.run_id)
    if dead:
        closed = close_orphans(instance) if exam.is_repairing else 0
        exam.find(
            "warning", f"{len(dead)} run{'s' * (len(dead) > 1)} in Dagster's history stand as under way, and "
            f"their process is gone: {', '.join(dead[:3])}.", "dinolake doctor --repair",
            f"{closed} marked failed" if closed else "",
        )  # fmt: skip
    if old:
        exam.find(
            "warning", f"{len(old)} run{'s' * (len(old) > 1)} under way haven't moved for a day: "
            f"{', '.join(old[:3])}.", "end them in the UI (dinolake ui)",
        )  # fmt: skip
