"""What keeping archives up to date costs: plans, idle runs, a shard's overhead, a sensor's tick.

Everything is measured on sources that hold nothing to compute (files that are no videos), so that what is
timed is upkeep alone.
"""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.figures import Figure, seconds
from lib.catalog import Archive, read_catalog
from lib.compute import InlineCompute
from lib.lake import Lake
from lib.plan import plan_archive
from lib.stages.arrivals import look
from lib.stages.line import line_of
from lib.stages.making import Work
from lib.stages.sources import register

BACKBONE = "efficientnet_lite0"
PLAN_S, NOTHING_S, OVERHEAD_S, TICK_S, SERVER_S, SERVER_MB = 5.0, 5.0, 0.3, 10.0, 3.0, 200.0


def measure_upkeep(folder: Path, *, shards: int, planned: int, files: int, repeats: int) -> list[Figure]:
    """All of it; see each function."""
    overhead, nothing = _runs(folder / "runs", shards=shards, repeats=repeats)
    return [
        overhead,
        nothing,
        _plan(folder / "plan", shards=planned, repeats=repeats),
        _tick(folder / "tick", files=files, repeats=repeats),
        *_server(folder / "runs", repeats=repeats),
    ]


def _runs(folder: Path, *, shards: int, repeats: int) -> tuple[Figure, Figure]:
    """Seconds a stale shard beyond lib called bare, and those of a run that finds nothing to do."""
    archive = _archive(folder, files=shards)
    lake = Lake(folder / "lake")
    register(archive, lake)

    def bare() -> None:
        from lib.stages.frames import make_frames
        from lib.stages.items import make_items

        with InlineCompute() as compute:
            work = Work(lake, archive)
            for shard in lake.ledger.shards(archive.name):
                make_items(work, shard)
                make_frames(work, shard, compute)

    bare_s = seconds(bare)
    shutil.rmtree(folder / "lake")
    told: list[dict[str, Any]] = []
    run_s = seconds(lambda: told.append(_dinolake(folder, "run", archive.name, "frame_embeddings")))
    idle: list[float] = []
    for _ in range(repeats):
        idle.append(seconds(lambda: told.append(_dinolake(folder, "run", archive.name, "frame_embeddings"))))
        if told[-1]["runs"]:
            raise AssertionError(f"a run was launched though nothing was due: {told[-1]}")
    return (
        Figure(
            f"seconds a stale shard beyond lib called bare, {shards:,} shards of trivial work",
            "1 s", ((run_s - bare_s) / shards,), OVERHEAD_S, is_at_most=True,
            detail=f"`dinolake run` to frame_embeddings {run_s:.0f} s, lib bare {bare_s:.1f} s, "
            "32 shards a Dagster run",
        ),
        Figure(
            f"`dinolake run` with nothing to do over {shards:,} shards", "1 s", tuple(idle), NOTHING_S,
            is_at_most=True, detail="from the shell; no Dagster run is launched",
        ),
    )  # fmt: skip


def _plan(folder: Path, *, shards: int, repeats: int) -> Figure:
    """`dinolake plan` from the shell over many shards that are done.

    Their files are copies of one and their fingerprints are written into the ledger: a plan reads no more of
    them than their names and sizes.
    """
    archive = _archive(folder, files=shards)
    lake = Lake(folder / "lake")
    register(archive, lake)
    work = Work(lake, archive, items=lake.ledger.items(archive.name))
    rows: list[tuple[str, ...]] = []
    for stage in line_of(archive).stages:
        if not stage.is_sharded:
            continue
        template = None
        for shard in work.prints.shards:
            place, mark = work.place(stage.name, shard), work.prints.of(stage.name, shard)
            if template is None:
                import pyarrow as pa

                with lake.writing(place, pa.schema([("item", pa.string())]), mark) as writer:
                    writer.write({"item": ["a"]})
                    writer.facts.made = 1
                template, facts = lake.path(place).read_bytes(), asdict(writer.facts)
            else:
                lake.path(place).write_bytes(template)
            rows.append((archive.name, stage.name, place.contract, shard, str(mark), json.dumps(facts)))
    with closing(sqlite3.connect(folder / "lake" / "ledger.sqlite")) as ledger, ledger:
        ledger.executemany("INSERT OR REPLACE INTO stages VALUES (?,?,?,?,?,?)", rows)
    done = {name: plan.done for name, plan in plan_archive(Work(lake, archive)).items()}
    if done["summaries"] != shards:
        raise AssertionError(f"the plan doesn't find what stands: {done}")
    times = tuple(seconds(lambda: _dinolake(folder, "plan", archive.name)) for _ in range(repeats))
    return Figure(
        f"`dinolake plan` over {shards:,} shards of {len(done)} stages", "1 s", times, PLAN_S,
        is_at_most=True, detail="from the shell, files and ledger on this disk",
    )  # fmt: skip


def _tick(folder: Path, *, files: int, repeats: int) -> Figure:
    """A sensor's look at a folder in which nothing has changed."""
    archive = _archive(folder, files=files, shard_items=1000)
    lake = Lake(folder / "lake")
    register(archive, lake)

    def tick() -> None:
        if look(archive, Lake(folder / "lake"), {}).is_any:
            raise AssertionError("nothing has changed")

    return Figure(
        f"a sensor's tick over {files:,} unchanged files", "1 s",
        tuple(seconds(tick) for _ in range(repeats)), TICK_S, is_at_most=True,
        detail="names, sizes and dates of all, held against the ledger",
    )  # fmt: skip


def _server(folder: Path, *, repeats: int) -> list[Figure]:
    """Dagster's code server from its start until it answers, and its memory then."""
    times, megabytes = [], []
    for _ in range(repeats):
        with closing(socket.create_server(("127.0.0.1", 0))) as probe:
            port = probe.getsockname()[1]
        began = time.perf_counter()
        command = [
            sys.executable, "-m", "dagster", "api", "grpc", "-p", str(port), "-h", "127.0.0.1",
            "-m", "orchestration.definitions", "--location-name", "dinolake",
        ]  # fmt: skip
        server = subprocess.Popen(
            command, env=_env(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            while not _answers(port):
                if server.poll() is not None:
                    raise AssertionError("the code server ended")
                time.sleep(0.02)
            times.append(time.perf_counter() - began)
            status = Path(f"/proc/{server.pid}/status").read_text()
            told = next(line for line in status.splitlines() if line.startswith("VmRSS"))
            megabytes.append(int(told.split()[1]) / 1024)
        finally:
            server.terminate()
            server.wait()
    name = "a cold code server, one archive"
    return [
        Figure(f"{name}: until it answers", "1 s", tuple(times), SERVER_S, is_at_most=True),
        Figure(f"{name}: resident memory in MB", "1 MB", tuple(megabytes), SERVER_MB, is_at_most=True),
    ]


def _answers(port: int) -> bool:
    from dagster._grpc.client import DagsterGrpcClient

    try:
        return DagsterGrpcClient(port=port, host="127.0.0.1").ping("") is not None
    except Exception:  # noqa: BLE001 - it isn't there yet, in one of many ways
        return False


def _archive(folder: Path, *, files: int, shard_items: int = 1) -> Archive:
    """An archive of files that are called videos and are none."""
    videos = folder / "videos"
    videos.mkdir(parents=True)
    for number in range(files):
        (videos / f"v{number:06d}.mp4").write_text(f"no video {number}")
    _dinolake(folder, "add", "many", "video", str(videos), "--backbone", BACKBONE)
    path = folder / "catalog.toml"
    path.write_text(path.read_text().replace("shard_items = 64", f"shard_items = {shard_items}"))
    return read_catalog(path).archive("many")


def _env(folder: Path) -> dict[str, str]:
    return os.environ | {
        "DINOLAKE_CATALOG": str(folder / "catalog.toml"),
        "DINOLAKE_LAKE": str(folder / "lake"),
        "DAGSTER_HOME": str(folder / "dagster"),
    }


def _dinolake(folder: Path, *arguments: str) -> Any:
    program = Path(sys.executable).with_name("dinolake")
    asked = [] if arguments[0] == "add" else ["--json"]
    done = subprocess.run([program, *arguments, *asked], env=_env(folder), capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"dinolake {' '.join(arguments)}: {done.stderr}")
    return json.loads(done.stdout) if asked else None
