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
from collections.abc import Collection, Iterable, Sequence
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
# Made by Dagster, 32 a run; and in all, where nothing is to do.
MADE, MADE_QUICK, IDLE, IDLE_QUICK = 96, 32, 1000, 200
PLANNED, PLANNED_QUICK, WATCHED, WATCHED_QUICK = 10_000, 1000, 100_000, 10_000
REPEATS, REPEATS_QUICK = 2, 1
SHARDED = ("items", "frames", "frame_embeddings")


def measure(folder: Path, *, quick: bool) -> Sequence[Figure]:
    """All of it; see each function."""
    repeats = REPEATS_QUICK if quick else REPEATS
    made, idle = (MADE_QUICK, IDLE_QUICK) if quick else (MADE, IDLE)
    return [
        *_runs(folder / "runs", made=made, idle=idle, repeats=repeats),
        _plan(folder / "plan", shards=PLANNED_QUICK if quick else PLANNED, repeats=repeats),
        _tick(folder / "tick", files=WATCHED_QUICK if quick else WATCHED, repeats=repeats),
        *_server(folder / "runs", repeats=repeats),
    ]


def _runs(folder: Path, *, made: int, idle: int, repeats: int) -> tuple[Figure, Figure]:
    """Seconds a stale shard beyond lib called bare, and those of a run that finds nothing to do."""
    archive = _archive(folder, files=made)
    lake = Lake(folder / "lake")
    bare_s = seconds(lambda: _make(archive, lake))
    shutil.rmtree(folder / "lake")
    told: list[dict[str, Any]] = []

    def run() -> None:
        told.append(_dinolake(folder, "run", archive.name, "frame_embeddings"))

    run_s = seconds(run)
    _let_be_made(folder, archive, idle)
    idle_s = [seconds(run) for _ in range(repeats)]
    if any(one["runs"] for one in told[1:]):
        raise AssertionError(f"a run was launched though nothing was due: {told[-1]}")
    return (
        Figure(
            f"seconds a stale shard beyond lib called bare, {made:,} shards of trivial work",
            "1 s", ((run_s - bare_s) / made,), OVERHEAD_S, is_at_most=True,
            detail=f"`dinolake run` to frame_embeddings from the shell {run_s:.0f} s, its start and look at "
            f"the sources within; lib bare {bare_s:.1f} s; 32 shards a Dagster run",
        ),
        Figure(
            f"`dinolake run` with nothing to do over {idle:,} shards", "1 s", tuple(idle_s), NOTHING_S,
            is_at_most=True, detail=f"from the shell; no Dagster run is launched. All but {made} made by lib "
            "and noted in Dagster's history",
        ),
    )  # fmt: skip


def _make(archive: Archive, lake: Lake, *, known: Collection[str] = ()) -> list[str]:
    """Register and make an archive's shards as its assets do, without Dagster; those that weren't known."""
    from lib.stages.frames import make_frames
    from lib.stages.items import make_items

    register(archive, lake)
    work = Work(lake, archive)
    made = [shard for shard in work.prints.shards if shard not in known]
    with InlineCompute() as compute:
        for shard in made:
            make_items(work, shard)
            make_frames(work, shard, compute)
    return made


def _let_be_made(folder: Path, archive: Archive, files: int) -> None:
    """Let the archive have so many shards, all made, and Dagster know it: without launching its runs."""
    import dagster as dg

    lake = Lake(folder / "lake")
    known = lake.ledger.shards(archive.name)
    _write_videos(folder / "videos", range(len(known), files))
    made = _make(archive, lake, known=set(known))
    with dg.DagsterInstance.from_config(str(folder / "dagster")) as instance:
        for stage in SHARDED:
            for shard in made:
                event = dg.AssetMaterialization(dg.AssetKey([archive.name, stage]), partition=shard)
                instance.report_runless_asset_event(event)


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
    _write_videos(videos, range(files))
    _dinolake(folder, "add", "many", "video", str(videos), "--backbone", BACKBONE)
    path = folder / "catalog.toml"
    path.write_text(path.read_text().replace("shard_items = 64", f"shard_items = {shard_items}"))
    return read_catalog(path).archive("many")


def _write_videos(videos: Path, numbers: Iterable[int]) -> None:
    for number in numbers:
        (videos / f"v{number:06d}.mp4").write_text(f"no video {number}")


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
