"""Processes of a soak: forked from a warm parent, made to fail at a chosen moment, and killed for real."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.soak_place import ARCHIVE, SoakPlace


@dataclass(frozen=True, slots=True)
class Cut:
    """The power goes at the `at`-th call of a kind, counted from 0.

    Attributes:
        call: `replace`, `fsync` or `unlink`.
        at: Which call.
        after: Whether the call itself is still done.
        torn: Whether what was moved loses its end, as when the disk had not written it.
    """

    call: str
    at: int
    after: bool = False
    torn: bool = False


def install_cut(cut: Cut) -> None:
    """Make this process kill itself in the middle of its file system work."""
    former, seen = getattr(os, cut.call), iter(range(1 << 30))

    def call(*told: Any, **more: Any) -> Any:
        if next(seen) != cut.at:
            return former(*told, **more)
        if cut.after or cut.torn:
            former(*told, **more)
        if cut.torn and str(told[1]).endswith(".parquet"):
            os.truncate(told[1], Path(told[1]).stat().st_size * 2 // 3)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(os, cut.call, call)


def warm_up() -> None:
    """Import what a run imports, and start no thread: children are forked from here."""
    import av  # noqa: F401
    import dagster  # noqa: F401
    import faiss  # noqa: F401
    import pyarrow.dataset  # noqa: F401
    import scipy  # noqa: F401
    import sklearn.cluster  # noqa: F401

    import orchestration.definitions
    import orchestration.resources
    import orchestration.runs  # noqa: F401


def stand_in() -> Any:
    """In the network's place: a fixed linear map of 6 × 8 mean colours. Same picture, same vectors."""
    from lib.embedding.backbones import contract_of
    from lib.embedding.embed import Embedder, Vectors
    from lib.embedding.vectors import to_half

    class StandIn(Embedder):
        def __init__(
            self,
            spec: Any,
            *,
            size_px: int = 224,
            pooling: Sequence[str] = ("cls", "patch_mean"),
            **more: Any,
        ):
            self.contract = contract_of(spec, size_px=size_px, pooling=tuple(pooling))
            self.runtime_name, self.notes = "a stand-in for the network", []
            width = self.contract.cls_dim + self.contract.patch_dim
            self._map = np.random.default_rng(5).normal(size=(6 * 8 * 3, width)).astype(np.float32)

        def embed(self, pictures: Iterable[np.ndarray]) -> Iterator[Vectors]:
            for picture in pictures:
                height, width = picture.shape[0] // 6 * 6, picture.shape[1] // 8 * 8
                cells = picture[:height, :width].reshape(6, height // 6, 8, width // 8, 3).mean((1, 3))
                made = (cells.reshape(1, -1).astype(np.float32) / 255 - 0.5) @ self._map
                dim = self.contract.cls_dim
                yield Vectors(to_half(made[:, :dim]), to_half(made[:, dim:]))

    return StandIn


def use_stand_ins() -> None:
    """No network and no Ray in this process: what is tested here is the lake."""
    import lib.compute
    import lib.embedding.embed as network
    import orchestration.resources

    class Inline(lib.compute.RayCompute):
        def map(self, make: Any, tasks: Sequence[Any], *, limit_s: float) -> Iterator[tuple[int, Any]]:
            return lib.compute.InlineCompute().map(make, tasks, limit_s=limit_s)

    network.Embedder = stand_in()  # type: ignore[misc]
    orchestration.resources.RayCompute = Inline  # type: ignore[misc]


def fork(work: Callable[[], None], log: Path) -> int:
    """Run something in a child; status 0 if it ends well, 1 for an error of Dinolake's, 3 for any other."""
    pid = os.fork()
    if pid:
        return pid
    status = 3
    try:
        os.setsid()
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        from lib.errors import DinolakeError

        try:
            work()
            status = 0
        except DinolakeError as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            status = 1
        except BaseException:  # noqa: BLE001 - a child ends here, whatever it is
            traceback.print_exc()
        sys.stderr.flush()
        sys.stdout.flush()
    finally:
        os._exit(status)


def await_all(pids: Sequence[int], events: Sequence[tuple[float, Callable[[], None]]] = ()) -> dict[int, int]:
    """Wait for children; events happen so many seconds from now. Pid -> status, below 0 for a signal."""
    began, due, left = time.monotonic(), sorted(events, key=lambda event: event[0]), set(pids)
    ended: dict[int, int] = {}
    while left:
        while due and time.monotonic() - began >= due[0][0]:
            due.pop(0)[1]()
        for pid in sorted(left):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                left.discard(pid)
                ended[pid] = os.waitstatus_to_exitcode(status)
        time.sleep(0.003)
    return ended


def kill(pid: int) -> None:
    """As `kill -9`; the process may have ended already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def descendants(pid: int) -> dict[int, str]:
    """Every process below one, with its command line."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                told = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(entry.name)] = int(told[1])
    found: dict[int, str] = {}
    following = [pid]
    while following:
        parent = following.pop()
        for child in [each for each, above in parents.items() if above == parent]:
            following.append(child)
            try:
                found[child] = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def run_stages(place: SoakPlace, *, lake: Path | None = None, centring: Path | None = None) -> None:
    """The video line, stage by stage, as its assets make it, without Dagster.

    Args:
        place: Of the soak.
        lake: In place of the soak's own.
        centring: A lake whose fitted mean is taken, so that clips can be compared.
    """
    import shutil

    from lib.compute import InlineCompute
    from lib.lake import Lake
    from lib.stages.centring import make_centring
    from lib.stages.clip_index import make_clip_index
    from lib.stages.clips import make_clips
    from lib.stages.frames import make_frames
    from lib.stages.items import make_items
    from lib.stages.making import Work
    from lib.stages.sources import register
    from lib.stages.summaries import make_summaries

    archive, opened = archive_of(place), Lake(lake or place.folder / "lake")
    opened.sweep()
    for shard in register(archive, opened, accept_empty=True).shards:
        make_items(Work(opened, archive), shard)
        make_frames(Work(opened, archive), shard, InlineCompute())
    if centring is not None:
        fitted = Work(Lake(centring), archive).place("centring")
        source = Lake(centring).path(fitted)
        opened.path(fitted).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, opened.path(fitted))
    make_centring(Work(opened, archive))
    work = Work(opened, archive)
    for shard in work.prints.shards:
        make_clips(work, shard)
        make_summaries(work, shard)
    make_clip_index(Work(opened, archive))


def run_dagster(place: SoakPlace, *, until: str | None) -> None:
    """What `dinolake run` does, in this process."""
    from lib.lake import Lake
    from orchestration.runs import run_archive

    os.environ.update(place.env())
    run_archive(archive_of(place), Lake(place.folder / "lake"), until=until, accept_removed=True, say=print)


def archive_of(place: SoakPlace) -> Any:
    """The catalog entry."""
    from lib.catalog import read_catalog

    return read_catalog(place.folder / "catalog.toml").archives[ARCHIVE]
