"""A folder of JPEGs becomes Parquet: against the original design's loop, and against others' pipelines."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.figures import Figure, least_cosine, paired, seconds
from bench.photos import QUALITY, SIZE, make_photos
from bench.picture_rivals import RIVALS, ClipRetrieval, Loop, vectors_in
from lib.embedding.embed import Embedder
from lib.media.sampling import Sampling
from lib.stages.embed_files import embed_files

VIT_S, DEFAULT = "random:vit_small_patch16_dinov3", "efficientnet_lite0"
GOAL, LEAST_COSINE = 2.5, 0.999


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    Attributes:
        photos: JPEGs in the folder; all of them are embedded once, by the command.
        paired: Of them, those that pairs are timed on.
        repeats: Pairs with the loop; with rivals, one less; with Ray Data one, for its start.
        rivals: Which of them.
    """

    photos: int
    paired: int
    repeats: int
    rivals: tuple[Callable[[str], Any], ...]


FULL = Effort(2000, 96, 3, RIVALS)
# Daft's and Ray's starts alone would take the time that there is.
QUICK = Effort(48, 48, 1, (ClipRetrieval,))


def measure(folder: Path, *, quick: bool) -> Sequence[Figure]:
    """Pairs of the same pictures, models loaded before; then the whole folder by `dinolake embed`."""
    effort = QUICK if quick else FULL
    photos, some = folder / "photos", folder / "some"
    paths = make_photos(photos, effort.photos)
    some.mkdir()
    for path in paths[: effort.paired]:
        (some / path.name).hardlink_to(path)
    size_kb = np.mean([path.stat().st_size for path in paths]) / 1e3
    of = f"{effort.paired} JPEGs of {SIZE[0]} x {SIZE[1]} px, quality {QUALITY}, {size_kb:.0f} kB each"
    figures: list[Figure] = []
    for name, spec, goal in (("ViT-S/16 of random weights", VIT_S, GOAL), (DEFAULT, DEFAULT, None)):
        ours = Ours(spec, some, folder / f"ours_{spec[:6]}.parquet")
        figures += _against_loop(ours, spec, name=name, of=of, goal=goal, repeats=effort.repeats)
        if spec == VIT_S:
            for make in effort.rivals:
                figures += _against(make, ours, spec, name=name, of=of, repeats=max(1, effort.repeats - 1))
            if len(paths) > effort.paired:
                figures.append(_whole(photos, spec, name=name, rate=ours.rate, some=effort.paired))
    return figures


class Ours:
    """What `dinolake embed` runs, its model loaded and warm."""

    def __init__(self, spec: str, photos: Path, out: Path) -> None:
        self.photos, self.out = photos, out
        self.embedder = Embedder(spec)
        self._took: list[float] = []
        self.run()

    @property
    def rate(self) -> float:
        """Pictures a second, the median of all runs but the first."""
        return len(list(self.photos.iterdir())) / float(np.median(self._took[1:]))

    def run(self) -> float:
        """Seconds from the folder to the Parquet file."""
        began = time.perf_counter()
        made = embed_files(sorted(self.photos.iterdir()), self.out, self.embedder, sampling=Sampling())
        if made.refused:
            raise RuntimeError(f"refused: {made.refused}")
        self._took.append(time.perf_counter() - began)
        return self._took[-1]


def _against_loop(
    ours: Ours, spec: str, *, name: str, of: str, goal: float | None, repeats: int
) -> tuple[Figure, Figure]:
    loop, out = Loop(spec), ours.out.with_name("loop.parquet")
    pairs = paired(ours.run, partial(loop.run, ours.photos, out), repeats=repeats)
    count = len(vectors_in(out))
    speed = Figure(
        f"image folder to Parquet, {name}",
        loop.name,
        pairs.speedups,
        goal,
        detail=f"{of}: {count / pairs.theirs_s:.1f} to {count / pairs.ours_s:.1f} a second; {pairs.calm}; "
        f"{ours.embedder.runtime_name}. Models loaded before",
    )
    truth = Figure(
        f"least cosine, image folder, {name}",
        "the loop's vectors (eager fp32) of the same files",
        (_cosine(ours.out, out),),
        LEAST_COSINE,
        detail=f"{count} pictures, as they lie in both Parquet files",
    )
    return speed, truth


def _against(
    make: Callable[[str], Any], ours: Ours, spec: str, *, name: str, of: str, repeats: int
) -> list[Figure]:
    """A rival's figure; none, and a note, where it isn't installed."""
    try:
        rival = make(spec)
    except ImportError as error:
        print(f"image folder: {make.__name__} is left out: {error}", file=sys.stderr)
        return []
    out = ours.out.with_name(f"rival_{make.__name__}")
    try:
        pairs = paired(ours.run, partial(rival.run, ours.photos, out), repeats=rival.repeats or repeats)
    finally:
        rival.close()
    count = len(vectors_in(out))
    cosine = _cosine(ours.out, out)
    return [
        Figure(
            f"image folder to Parquet, {name}, against {rival.short}",
            rival.name,
            pairs.speedups,
            detail=f"{of}: {count / pairs.theirs_s:.1f} to {count / pairs.ours_s:.1f} a second; its vectors' "
            f"least cosine to ours {cosine:.5f}; {pairs.calm}. {rival.note}",
        )
    ]


def _whole(photos: Path, spec: str, *, name: str, rate: float, some: int) -> Figure:
    """The whole folder once by the command, from a cold shell."""
    out = photos.with_name("all.parquet")
    program = Path(sys.executable).with_name("dinolake")
    command = [program, "embed", photos, "-o", out, "--backbone", spec]
    took_s = seconds(lambda: subprocess.run(command, check=True, capture_output=True))
    count = len(vectors_in(out))
    return Figure(
        f"rate of dinolake embed over {count:,} JPEGs, from a cold shell, {name}",
        f"ours over {some} of them, model loaded",
        (count / took_s / rate,),
        detail=f"{took_s:.1f} s, its start among them: {count / took_s:.1f} a second against {rate:.1f}",
    )


def _cosine(ours: Path, theirs: Path) -> float:
    one, other = vectors_in(ours), vectors_in(theirs)
    if one.keys() != other.keys():
        raise RuntimeError(f"{len(one)} pictures against {len(other)}")
    return least_cosine(np.stack([one[key] for key in one]), np.stack([other[key] for key in one]))
