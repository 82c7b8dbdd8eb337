"""Where a soak happens: a pool of seeded videos, an archive's folder that changes by them, and two lakes.

The lake `lake` is run in processes forked from a warm one, with a stand-in for the network that costs little;
the lake `real/lake` by `dinolake run` itself, with Ray and the packaged network. Both look at one folder.
"""

import os
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ARCHIVE = "soak"
# Names that a file may have. Each is a place in a shard for good: shards are emptied and filled again.
_NAMES = tuple(f"v{number:02d}.mp4" for number in range(40))
_LEAST, _MOST = 12, 30
_POOL = 36
_SHARD_ITEMS = 4
_SIZE = (64, 48)
_FPS = 8
_ENTRY = """\
[archives.{archive}]
kind = "video"
root = "{root}"
shard_items = {shard_items}

[archives.{archive}.embedding]
backbone = "efficientnet_lite0"
size_px = 64
"""


@dataclass
class SoakPlace:
    """The folders, and what is done to the sources.

    Attributes:
        folder: Where all of it lies.
        random: Draws every step of the schedule.
        counts: How often what was done.
    """

    folder: Path
    random: random.Random
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def videos(self) -> Path:
        """The archive's folder."""
        return self.folder / "videos"

    @property
    def pool(self) -> list[Path]:
        """The contents that files have, good and bad."""
        return sorted((self.folder / "pool").iterdir())

    def make(self) -> None:
        """An empty place with its pool and catalogs."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("videos", "pool", "real", "logs"):
            (self.folder / name).mkdir(parents=True)
        entry = _ENTRY.format(archive=ARCHIVE, root=self.videos, shard_items=_SHARD_ITEMS)
        for catalog in (self.folder / "catalog.toml", self.folder / "real" / "catalog.toml"):
            catalog.write_text(entry, encoding="utf-8")
        pool = self.folder / "pool"
        for number in range(_POOL):
            _make_video(pool / f"{number:02d}.mp4", frames=8 + 2 * (number % 5), seed=number)
        whole = (pool / "00.mp4").read_bytes()
        (pool / "bad_cut.mp4").write_bytes(whole[: len(whole) // 2])
        (pool / "bad_text.mp4").write_text("no video at all")
        (pool / "bad_empty.mp4").touch()

    def env(self, *, real: bool = False) -> dict[str, str]:
        """The settings that point everything here."""
        base = self.folder / "real" if real else self.folder
        return {
            "DINOLAKE_CATALOG": str(base / "catalog.toml"),
            "DINOLAKE_LAKE": str(base / "lake"),
            "DAGSTER_HOME": str(base / "dagster"),
        }

    def disturb(self) -> str:
        """Add, change, delete, rename or touch a file, as the schedule has it; what was done."""
        there = sorted(path.name for path in self.videos.iterdir())
        free = [name for name in _NAMES if name not in there]
        kinds = ["change", "change", "touch", "rename", "copy"]
        kinds += ["add"] * (3 if len(there) < _MOST else 0) + ["delete"] * (3 if len(there) > _LEAST else 0)
        kind = "add" if len(there) < _LEAST else self.random.choice(kinds)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        content = self.random.choice(self.pool)
        one = self.videos / self.random.choice(there or _NAMES)
        other = self.videos / self.random.choice(free)
        if kind == "add":
            shutil.copy(content, other)
            return f"add {other.name}={content.stem}"
        if kind == "copy":
            shutil.copy(one, other)
            return f"copy {one.name}>{other.name}"
        if kind == "change":
            return f"change {one.name}={self._change(one, content)}"
        if kind == "rename":
            one.rename(other)
            return f"rename {one.name}>{other.name}"
        if kind == "delete":
            one.unlink()
        else:
            os.utime(one)
        return f"{kind} {one.name}"

    def _change(self, path: Path, content: Path) -> str:
        # In place, as an editor's save may be, or by a new file under the old name.
        if self.random.random() < 0.5:
            path.write_bytes(content.read_bytes())
            return f"{content.stem} in place"
        partial = self.folder / "partial"
        shutil.copy(content, partial)
        partial.replace(path)
        return content.stem

    def fill(self) -> None:
        """The files that are there at first."""
        for name in _NAMES[: (_LEAST + _MOST) // 2]:
            shutil.copy(self.random.choice(self.pool), self.videos / name)


def _make_video(path: Path, *, frames: int, seed: int) -> None:
    """Texture that drifts: H.264, small, another one for each seed."""
    import av

    random_ = np.random.default_rng(seed)
    texture = np.kron(random_.integers(40, 216, (8, 8, 3)), np.ones((12, 16, 1))).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_FPS, options={"preset": "veryfast", "threads": "1"})
        stream.width, stream.height = _SIZE
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            seen = np.roll(texture, (3 * number, 5 * number), (0, 1))[: _SIZE[1], : _SIZE[0]]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(seen), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
