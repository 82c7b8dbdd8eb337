"""From films to Parquet: against the original design's loop, Ray Data, Daft, and what can't be spared."""

import dataclasses
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.figures import Figure, least_cosine, paired, seconds
from bench.line import Line
from bench.material import make_film
from bench.original import SIZE_PX, OriginalLoop
from bench.passes import Passes, PassFailedError
from lib.embedding.embed import Embedder
from lib.embedding.pictures import squash
from lib.embedding.runtimes import cores
from lib.media.sampling import Sampling
from lib.media.video import read_frames_at, sample_video

VIT_S, VIT_S_NAME = "random:vit_small_patch16_dinov3", "ViT-S/16 of random weights"
DEFAULT = "efficientnet_lite0"
LOOP = "the original design's loop: OpenCV reads all frames, PIL, eager fp32 torch one at a time"
LEAST_COSINE = 0.999
LOOP_GOAL, RIVAL_GOAL, BOUND_GOAL = 3.0, 1.3, 1.1


@dataclass(frozen=True, slots=True)
class Films:
    """A kind of film: how it is called, its size, how long each of two is."""

    name: str
    size: tuple[int, int]
    seconds: float


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: repeats of pairs, on small and on large films."""

    small: Films
    large: Films
    small_repeats: int
    large_repeats: int
    rival_repeats: int
    default_repeats: int
    rivals_of_large: bool


FULL = Effort(
    Films("360p", (640, 360), 30.0), Films("1080p", (1920, 1080), 8.0), 5, 5, 3, 3, rivals_of_large=True
)
QUICK = Effort(
    Films("360p", (640, 360), 12.0), Films("1080p", (1920, 1080), 3.0), 3, 2, 1, 2, rivals_of_large=False
)


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """All figures of films."""
    effort = QUICK if quick else FULL
    places = [_made(films, folder) for films in (effort.small, effort.large)]
    scratch = folder / "scratch"
    scratch.mkdir()
    figures: list[Figure] = []
    loop = OriginalLoop(VIT_S)
    for films, place, repeats, goal in zip(
        (effort.small, effort.large),
        places,
        (effort.small_repeats, effort.large_repeats),
        (LOOP_GOAL, None),
        strict=True,
    ):
        line = Line(VIT_S, place, scratch)
        figures += _against_loop(line, loop, place, f"{films.name} film, {VIT_S_NAME}", repeats, goal)
        figures.append(_against_bound(line, place, f"{films.name} film, {VIT_S_NAME}", repeats))
    figures += _against_loop(
        Line(DEFAULT, places[0], scratch),
        OriginalLoop(DEFAULT),
        places[0],
        f"{effort.small.name} film, {DEFAULT}",
        effort.default_repeats,
        None,
    )
    rivalled = {effort.small.name: places[0]}
    if effort.rivals_of_large:
        rivalled[effort.large.name] = places[1]
    figures += _against_rivals(rivalled, scratch, loop, effort.rival_repeats, with_daft=not quick)
    return figures


def _made(films: Films, folder: Path) -> Path:
    place = folder / films.name
    place.mkdir()
    for number in range(2):
        make_film(place / f"film_{number}.mp4", seconds=films.seconds, size=films.size, seed=number)
    return place


def _looped(loop: OriginalLoop, place: Path) -> np.ndarray:
    return np.concatenate([loop.run(film)[0] for film in sorted(place.iterdir())])


def _against_loop(
    line: Line, loop: OriginalLoop, place: Path, name: str, repeats: int, goal: float | None
) -> list[Figure]:
    """How many times faster than the loop films become Parquet, and how true their vectors are."""
    made, looped = line.run(), _looped(loop, place)
    pairs = paired(lambda: line.run().seconds, lambda: seconds(lambda: _looped(loop, place)), repeats=repeats)
    speed = Figure(
        f"{name}: to Parquet",
        LOOP,
        pairs.speedups,
        goal,
        detail=f"2 films, {made.frames} frames: loop {pairs.theirs_s:.2f} s, ours {pairs.ours_s:.2f} s; "
        f"{pairs.calm}; {made.runtime}. Models loaded before, no Ray; ours makes thumbnails too",
    )
    exact = [
        loop.embed(frame.rgb)
        for film in sorted(place.iterdir())
        for frame in read_frames_at(film, made.pts(film))
    ]
    cosines = (
        least_cosine(made.vectors("cls"), np.stack([cls for cls, _ in exact])),
        least_cosine(made.vectors("patch_mean"), np.stack([patches.mean((0, 1)) for _, patches in exact])),
    )
    to_loop = least_cosine(made.vectors("cls"), looped)
    truth = Figure(
        f"{name}: least cosine",
        "eager fp32 torch on the same frames",
        (min(cosines),),
        LEAST_COSINE,
        detail=f"{len(exact)} frames: CLS {cosines[0]:.5f}, mean patch {cosines[1]:.5f}; "
        f"CLS to what the loop itself made {to_loop:.5f}",
    )
    return [speed, truth]


def _against_bound(line: Line, place: Path, name: str, repeats: int) -> Figure:
    """A pass against the network alone and decoding alone, where both want all cores."""
    pictures = [picture for film in sorted(place.iterdir()) for picture in _pictures(film)]
    embedder = Embedder(VIT_S)
    embedder.embed_all(pictures)
    spent: list[tuple[float, float, float]] = []

    def bound() -> float:
        forward_s = seconds(lambda: embedder.embed_all(pictures))
        decode_s, cpu_s = time.perf_counter(), time.process_time()
        for film in sorted(place.iterdir()):
            _pictures(film)
        cpu_s, decode_s = time.process_time() - cpu_s, time.perf_counter() - decode_s
        spent.append((forward_s, decode_s, cpu_s))
        return forward_s + cpu_s / cores()

    pairs = paired(lambda: line.run().seconds, bound, repeats=repeats)
    forward_s, decode_s, cpu_s = np.median(spent, axis=0)
    return Figure(
        f"{name}: to Parquet",
        f"forward alone + the CPU time of decoding alone / {cores()} cores",
        pairs.slowdowns,
        BOUND_GOAL,
        is_at_most=True,
        detail=f"{len(pictures)} frames: ours {pairs.ours_s:.2f} s, bound {pairs.theirs_s:.2f} s; "
        f"{pairs.calm}. The forward takes all cores, so that what decoding computes comes on top: forward "
        f"alone {forward_s:.2f} s of frames in memory; "
        f"decoding alone, our reader with RGB and resize, {decode_s:.2f} s and "
        f"{cpu_s:.2f} CPU s. Thumbnails, Parquet and ledger count against ours",
    )


def _pictures(film: Path) -> list[np.ndarray]:
    return [squash(frame.rgb, SIZE_PX) for frame in sample_video(film, Sampling())]


def _against_rivals(
    places: dict[str, Path], scratch: Path, loop: OriginalLoop, repeats: int, *, with_daft: bool
) -> list[Figure]:
    import importlib.metadata as metadata

    exact = {name: _looped(loop, place) for name, place in places.items()}
    figures: list[Figure] = []
    try:
        with (
            Passes("bench.line", VIT_S, scratch, "1", str(cores())) as ours,
            Passes("bench.ray_data", VIT_S, scratch) as theirs,
        ):
            against = f"Ray Data {metadata.version('ray')}: flat_map decodes (OpenCV, PIL), map_batches eager"
            note = "both in warm Ray clusters of their own, ours through RayCompute with its worker up; "
            note += "theirs (fp32) counts from when "
            note += "its actor has loaded its model (it starts anew with each data set)"
            for name, place in places.items():
                figures.append(
                    _against_rival(name, place, ours.run, theirs.run, against, note, exact[name], repeats)
                )
    except (PassFailedError, ImportError) as error:
        print(f"Ray Data was not measured: {error}", file=sys.stderr)
    if not with_daft:
        return figures
    try:
        against = f"Daft {metadata.version('daft')}: read_video_frames, a batch function of eager fp32 torch"
        with Passes("bench.daft_films", VIT_S, scratch) as theirs:
            lines = {name: Line(VIT_S, place, scratch) for name, place in places.items()}
            for name, place in places.items():
                line = lines[name]
                figure = _against_rival(
                    name,
                    place,
                    lambda _, line=line: {"seconds": line.run().seconds},  # type: ignore[misc]
                    theirs.run,
                    against,
                    "both without Ray, models loaded before",
                    exact[name],
                    repeats,
                )
                figures.append(dataclasses.replace(figure, goal=None))
    except (PassFailedError, ImportError) as error:
        print(f"Daft was not measured: {error}", file=sys.stderr)
    return figures


def _against_rival(
    name: str,
    place: Path,
    ours: Callable[[Path], dict],
    theirs: Callable[[Path], dict],
    against: str,
    note: str,
    exact: np.ndarray,
    repeats: int,
) -> Figure:
    ours(place)
    cls = _vectors_in(Path(theirs(place)["made"]))
    pairs = paired(lambda: ours(place)["seconds"], lambda: theirs(place)["seconds"], repeats=repeats)
    return Figure(
        f"{name} film, {VIT_S_NAME}: to Parquet",
        against,
        pairs.speedups,
        RIVAL_GOAL,
        detail=f"2 films, {len(cls)} frames: theirs {pairs.theirs_s:.2f} s, ours {pairs.ours_s:.2f} s; "
        f"{pairs.calm}; {note}. Their least CLS cosine to the loop's {least_cosine(cls, exact):.5f}",
    )


def _vectors_in(folder: Path) -> np.ndarray:
    """CLS vectors of a rival's Parquet files, film after film, frame after frame."""
    import pyarrow.parquet as pq

    table = pq.read_table(folder)
    time_name = "number" if "number" in table.column_names else "frame_time"
    table = table.sort_by([("path", "ascending"), (time_name, "ascending")])
    return np.stack(table.column("cls").to_numpy(zero_copy_only=False))
