"""The doctor on the ledger: whether it is whole, agrees with the footers, and what it knows to fail."""

import os
import sqlite3
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from lib.catalog import Archive
from lib.doctor_lake import put_aside, shard_files, unreadable
from lib.errors import DinolakeError
from lib.findings import Examination
from lib.lake import Lake
from lib.ledger import Failure
from lib.shard_files import aside, file_fault
from lib.stages.line import line_of
from lib.stages.making import Work

LEDGER = "ledger.sqlite"
_REBUILD = "dinolake doctor --repair"


def open_lake(exam: Examination) -> Lake | None:
    """The lake, where its ledger is whole; None, with a finding, where it can't be opened."""
    if exam.address and not exam.root.is_dir():
        return None  # told with the store
    if not exam.root.is_dir():
        if exam.root.exists():
            exam.find("error", f"the lake {exam.root} is no folder.", "Point DINOLAKE_LAKE at a folder.")
        else:
            exam.find("info", f"there is no lake at {exam.root} yet.", "dinolake run ARCHIVE")
        return None
    path = exam.root / LEDGER
    exam.say(f"{path}")
    fault, digests = ledger_fault(path), None
    if fault:
        what = f"the ledger {path} is damaged ({fault})."
        if not exam.is_repairing:
            exam.find("error", what, _REBUILD)
            return None
        digests = _salvaged(path)
        with exam.guarded("the damaged ledger"):
            for each in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
                if each.exists():
                    aside(exam.root, each)
            exam.find("error", what, "", "put aside, and made again from the lake's own files")
    is_lost = not path.exists() and any(exam.root.glob("[a-z]*/items/*.parquet"))
    if is_lost and not fault:
        exam.find(
            "info" if exam.address else "warning",
            f"the ledger {path} is gone: it is made again from the lake's own files.",
        )
    if is_lost and exam.is_repairing:
        _put_aside_items(exam)
    try:
        lake = Lake(exam.address or exam.root)
        for archive, digest in digests or ():
            lake.ledger.forget(archive, [digest])
    except DinolakeError as error:
        exam.find("error", f"the lake can't be opened: {error}", _REBUILD)
        return None
    except Exception as error:  # noqa: BLE001  as in `Examination.guarded`
        exam.find("error", f"the lake can't be opened ({type(error).__name__}: {error}).", _REBUILD)
        return None
    if fault and digests is None:
        exam.find(
            "warning", "which items were to be forgotten couldn't be told from the damaged ledger.",
            "dinolake forget ARCHIVE ITEM, for each of them, before the next run",
        )  # fmt: skip
    if lake.ledger.is_read_only:
        exam.find(
            "info", f"this user may only read the lake {exam.root}: it can be searched, and not run.",
            "Ask its owner for write access to the folder and all in it.",
        )  # fmt: skip
    return lake


def ledger_fault(path: Path) -> str:
    """What is wrong with a ledger's file; "" where it is whole, or isn't there."""
    if not path.exists():
        return ""
    if why := unreadable(path):
        return why
    try:
        with closing(_connected(path)) as connection:
            told = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    except sqlite3.Error as error:
        return str(error)
    if told != ["ok"]:
        return "; ".join(str(each) for each in told)
    missing = {"items", "stages"} - tables
    return f"it has no table {' and '.join(sorted(missing))}" if tables and missing else ""


def _connected(path: Path) -> sqlite3.Connection:
    # Without leave to write beside it, SQLite has to be told that nothing moves, as in `lib.ledger`.
    is_still = not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists()
    address = f"file:{quote(os.fsencode(path))}?mode=ro{'&immutable=1' if is_still else ''}"
    return sqlite3.connect(address, timeout=60, uri=True)


def _salvaged(path: Path) -> list[tuple[str, str]] | None:
    """What must not come back, read from a damaged ledger: no file of the lake tells it. None: unreadable."""
    try:
        with closing(_connected(path)) as connection:
            return [(row[0], row[1]) for row in connection.execute("SELECT archive, digest FROM forgotten")]
    except sqlite3.Error:
        return None


def _put_aside_items(exam: Examination) -> None:
    """Damaged files that the ledger can't be rebuilt from: their items are registered anew."""
    for path in sorted(exam.root.glob("[a-z]*/items/*.parquet")):
        if not unreadable(path) and (fault := file_fault(path)):
            where = aside(exam.root, path)
            exam.find("error", f"{path} is damaged ({fault}).", "", f"put aside, as {where}")


def check_noted(exam: Examination, lake: Lake, archive: Archive) -> None:
    """The ledger's notes of committed shards, held against the files' own footers."""
    standing: dict[tuple[str, str], set[str]] = {}
    differing: list[Path] = []
    for path, place in shard_files(lake.root, archive.name):
        standing.setdefault((place.stage, place.contract), set()).add(place.shard)
        footer = lake.footer(place)
        if footer is None:
            continue
        noted = lake.ledger.stage(archive.name, place.stage, place.contract, shard=place.shard)
        mark, facts = noted.get(place.shard, ("", {}))
        told = asdict(footer[1])
        if mark == footer[0] and all(told.get(name) == value for name, value in facts.items()):
            continue
        if mark == footer[0] and facts.get("bytes") == told["bytes"]:
            # A footer has no checksum; what was noted of it when it was written stands for one.
            exam.find(
                "error", f"{path} is damaged (its footer isn't the one that was written).",
                f"dinolake doctor {archive.name} --repair && dinolake run {archive.name}",
                put_aside(exam, lake, path, place),
            )  # fmt: skip
            continue
        differing.append(path)
        if exam.is_repairing and not lake.ledger.is_read_only:
            lake.ledger.write_stage(
                archive.name, place.stage, place.contract, place.shard, fingerprint=footer[0], facts=told
            )
    if differing:
        # The footer is the truth: a process died between the move and the note, or files were copied in.
        more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
        is_noted = exam.is_repairing and not lake.ledger.is_read_only
        exam.find(
            "info",
            f"{archive.name}: the ledger has no note, or another, of {differing[0]}{more}.",
            f"dinolake run {archive.name}",
            "noted as the files themselves say" if is_noted else "",
        )
    for stage in line_of(archive).stages:
        for contract in lake.contracts(archive.name, stage.name) if stage.has_contract else [""]:
            for shard in lake.ledger.stage(archive.name, stage.name, contract):
                if shard in standing.get((stage.name, contract), ()):
                    continue
                repaired = ""
                if exam.is_repairing and not lake.ledger.is_read_only:
                    lake.ledger.drop_stage(archive.name, stage.name, contract, shard)
                    repaired = "counts as missing"
                where = "/".join(filter(None, (archive.name, stage.name, contract, shard)))
                exam.find(
                    "error", f"{where} was made, and its file is gone.", f"dinolake run {archive.name}",
                    repaired,
                )  # fmt: skip


def check_failures(exam: Examination, lake: Lake, archive: Archive) -> None:
    """Shards that couldn't be made: an error where they aren't tried again."""
    failures = lake.ledger.failures(archive.name)
    if not failures:
        return
    try:
        left_alone = set(Work(lake, archive).prints.quarantined)
    except DinolakeError:  # told with the weights
        left_alone = {failure.shard for failure in failures if failure.is_quarantined}
    repaired = ""
    if exam.is_repairing and not lake.ledger.is_read_only:
        lake.ledger.clear_failures(archive.name)
        repaired = "the next run tries it again"
    for failure in failures:
        is_alone = failure.is_quarantined and failure.shard in left_alone
        exam.find(
            "error" if is_alone else "warning", failure_told(archive.name, failure),
            f"mend what it says, then: dinolake run {archive.name} --retry" if is_alone
            else f"dinolake run {archive.name}",
            repaired,
        )  # fmt: skip


def failure_told(archive: str, failure: Failure) -> str:
    """A failed shard in a sentence."""
    tries = f"{failure.count} time{'s' * (failure.count != 1)}"
    state = (
        f"is quarantined: it failed {tries}" if failure.is_quarantined else "failed when it was last tried"
    )
    return (
        f"{archive}/{failure.stage}/{failure.shard} {state}, at {failure.at}: {failure.reason.rstrip('.')}."
    )
