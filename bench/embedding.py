"""From a film to Parquet, and the network alone, against the original design's loop and its vectors."""

from pathlib import Path

import numpy as np

from bench.figures import Figure, least_cosine, paired, seconds
from bench.line import Line, Made
from bench.original import SIZE_PX, OriginalLoop
from lib.embedding.embed import Embedder
from lib.embedding.pictures import seeded_pictures
from lib.media.video import read_frames_at

LOOP = "the original design's loop: OpenCV reads all frames, PIL, eager fp32 torch one at a time"
LEAST_COSINE = 0.999


def measure_film(
    film: Path, scratch: Path, spec: str, *, name: str, repeats: int, goal: float | None
) -> tuple[Figure, Figure]:
    """How many times faster than the loop a film becomes Parquet, and how true its vectors are."""
    line, loop = Line(spec, film, scratch), OriginalLoop(spec)
    made = line.run()
    looped, _ = loop.run(film)
    pairs = paired(lambda: line.run().seconds, lambda: seconds(lambda: loop.run(film)), repeats=repeats)
    speed = Figure(
        f"film to Parquet, {name}",
        LOOP,
        pairs.speedups,
        goal,
        detail=f"{made.frames} frames: loop {pairs.theirs_s:.2f} s, ours {pairs.ours_s:.2f} s; {pairs.calm}; "
        f"{made.runtime}. Models loaded before, no Ray",
    )
    return speed, _truth(film, loop, made, looped=looped, name=name)


def _truth(film: Path, loop: OriginalLoop, made: Made, *, looped: np.ndarray, name: str) -> Figure:
    exact = [loop.embed(frame.rgb) for frame in read_frames_at(film, made.pts())]
    cosines = (
        least_cosine(made.vectors("cls"), np.stack([cls for cls, _ in exact])),
        least_cosine(made.vectors("patch_mean"), np.stack([patches.mean((0, 1)) for _, patches in exact])),
    )
    to_loop = least_cosine(made.vectors("cls"), looped)
    return Figure(
        f"least cosine, {name}",
        "eager fp32 torch on the same frames",
        (min(cosines),),
        LEAST_COSINE,
        detail=f"{len(exact)} frames: CLS {cosines[0]:.5f}, mean patch {cosines[1]:.5f}; "
        f"CLS to what the loop itself made {to_loop:.5f}",
    )


def measure_network(spec: str, *, name: str, pictures: int, repeats: int) -> Figure:
    """Pictures a second through the network, of the size that it sees."""
    shown = list(seeded_pictures(pictures, SIZE_PX))
    embedder, loop = Embedder(spec), OriginalLoop(spec)
    embedder.embed_all(shown)
    loop.embed(shown[0])
    pairs = paired(
        lambda: seconds(lambda: embedder.embed_all(shown)),
        lambda: seconds(lambda: [loop.embed(picture) for picture in shown]),
        repeats=repeats,
    )
    return Figure(
        f"network alone, {name}",
        "eager fp32 torch, one picture at a time",
        pairs.speedups,
        detail=f"{pictures / pairs.theirs_s:.1f} to {pictures / pairs.ours_s:.1f} pictures a second; "
        f"{pairs.calm}; {embedder.runtime_name}",
    )
