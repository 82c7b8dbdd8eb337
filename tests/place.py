"""The command line as a user has it, on a catalog, a lake and a Dagster home in a folder of a test's own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from factories import make_video

PROGRAM = Path(sys.executable).with_name("dinolake")


@dataclass
class Place:
    """Where everything is, and `dinolake` on it."""

    folder: Path

    @property
    def videos(self) -> Path:
        return self.folder / "videos"

    @property
    def lake(self) -> Path:
        return self.folder / "lake"

    @property
    def env(self) -> dict[str, str]:
        ours = {
            "DINOLAKE_CATALOG": str(self.folder / "catalog.toml"),
            "DINOLAKE_LAKE": str(self.lake),
            "DAGSTER_HOME": str(self.folder / "dagster"),
        }
        return os.environ | ours

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *arguments], env=self.env, capture_output=True, text=True, timeout=280
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [PROGRAM, *arguments], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def json(self, *arguments: str) -> Any:
        done = self.call(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def add(self, *, shard_items: int = 64) -> None:
        done = self.call("add", "talks", "video", str(self.videos), "--backbone", "efficientnet_lite0")
        assert done.returncode == 0, done.stderr
        self.edit("shard_items = 64", f"shard_items = {shard_items}")

    def edit(self, old: str, new: str) -> None:
        """Change the catalog as a user does, in an editor."""
        path = self.folder / "catalog.toml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def run(self, *arguments: str) -> dict[str, dict[str, float]]:
        return self.json("run", "talks", *arguments)["stages"]

    def rows(self, stage: str) -> list[dict[str, Any]]:
        """All rows of a stage, shard after shard."""
        files = sorted((self.lake / "talks" / stage).rglob("*.parquet"))
        return [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]


def make_videos(folder: Path, count: int, *, seconds: float = 3.0) -> None:
    """Videos that look different from each other: `v0.mp4`, `v1.mp4` …"""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        make_video(folder / f"v{number}.mp4", seconds=seconds, seed=number, scenes=2)
