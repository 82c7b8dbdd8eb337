"""`dinolake ui` for real, on a place of a test's own: asked by GraphQL, killed piecewise, ended whole."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from place import PROGRAM, Place

from lib.catalog import read_catalog
from lib.lake import Lake
from lib.plan import plan_archive
from lib.stages.making import Work

_BACKFILL = """
mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }
"""
_STATE = """
query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }
"""


@dataclass
class Served:
    """A running UI with its daemon and its code server."""

    place: Place
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def ask(self, query: str, **variables: Any) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def backfill(self, stages: list[str], partitions: list[str]) -> str:
        params = {
            "assetSelection": [{"path": ["talks", stage]} for stage in stages],
            "partitionNames": partitions,
        }
        return self.ask(_BACKFILL, params=params)["launchPartitionBackfill"]["backfillId"]

    def backfill_status(self, backfill: str) -> str:
        return self.ask(_STATE, id=backfill)["partitionBackfillOrError"]["status"]

    def wait(self, condition: Callable[[], Any], limit_s: float = 600.0, every_s: float = 2.0) -> Any:
        """Until the condition holds; what it gave. A service that is started again may refuse to answer."""
        began = time.monotonic()
        while True:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                if found := condition():
                    return found
            except OSError:
                pass
            assert time.monotonic() - began < limit_s, self.log.read_text()[-5000:]
            time.sleep(every_s)

    def is_up_to_date(self, items: int) -> bool:
        """Whether so many items are in the lake and nothing is due."""
        if sum(1 for _ in self.committed("items")) == 0 or len(self.place.rows("items")) < items:
            return False
        # In this process: each look by a command of its own would cost what it waits for its CPU.
        archive = read_catalog(self.place.folder / "catalog.toml").archive("talks")
        plans = plan_archive(Work(Lake(self.place.lake), archive))
        return all(plan.done and not plan.due and not plan.quarantined for plan in plans.values())

    def committed(self, stage: str) -> Iterator[Path]:
        return (self.place.lake / "talks" / stage).rglob("*.parquet")

    def children(self, *words: str) -> list[int]:
        """Processes below ours whose command line has these words."""
        return [pid for pid, line in _below(self.process.pid) if all(word in line for word in words)]

    def kill(self, *words: str) -> int:
        """kill -9 of the one child that has these words in its command line."""
        (pid,) = self.wait(lambda: self.children(*words), 60)[:1]
        os.kill(pid, signal.SIGKILL)
        return pid


@contextmanager
def serving(place: Place, **env: str) -> Iterator[Served]:
    """Started when the block begins, with all it started gone when it ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = place.folder / "ui.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [PROGRAM, "ui", "--port", str(port)], env=place.env | env, stdout=out, stderr=out
        )
    served = Served(place, port, process, log)
    try:
        served.wait(lambda: served.ask("{ version }"), 120)
        yield served
    finally:
        left = [pid for pid, _ in _below(process.pid)]
        process.terminate()
        try:
            process.wait(120)
        finally:
            for pid in [process.pid, *left]:
                _end(pid)


def _end(pid: int) -> None:
    try:
        if "dagster" in _line(pid) or "dinolake" in _line(pid):
            os.kill(pid, signal.SIGKILL)
    except OSError:
        pass


def _line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def _below(root: int) -> list[tuple[int, str]]:
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue
        parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    found, following = [], [root]
    while following:
        parent = following.pop()
        for pid, above in parents.items():
            if above == parent:
                following.append(pid)
                try:
                    found.append((pid, _line(pid)))
                except OSError:
                    continue
    return found


def watched_closely(place: Place) -> None:
    """Two items a shard, a look every few seconds, and another try the next minute."""
    place.add(shard_items=2)
    place.edit("is_on = true", "is_on = true\nevery_s = 5")
    place.edit("retry_minutes = 10", "retry_minutes = 1")


def by_sample(place: Place, stage: str) -> list[str]:
    """Every row of a stage, shard or order aside."""
    return sorted(repr(sorted(row.items())) for row in place.rows(stage))
