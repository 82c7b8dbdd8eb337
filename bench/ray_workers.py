"""Two Ray workers of one thread each, and one, against one such process without Ray."""

from pathlib import Path

from bench.figures import Figure, paired
from bench.material import make_film
from bench.passes import Passes

VIT_S, VIT_S_NAME = "random:vit_small_patch16_dinov3", "ViT-S/16 of random weights"
GOAL = 1.8
_ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """How many times faster two workers get through the same films; all are warm, no start is counted."""
    films, scratch = folder / "films", folder / "scratch"
    films.mkdir()
    scratch.mkdir()
    count, length_s, repeats = (4, 4.0, 1) if quick else (8, 6.0, 2)
    for number in range(count):
        make_film(films / f"film{number}.mp4", seconds=length_s, size=(320, 180), seed=number)
    figures = []
    with Passes("bench.line", VIT_S, scratch, "0", "1", environment=_ONE_THREAD) as alone:
        alone.run(films)
        for workers, goal in ((2, GOAL), (1, None)):
            with Passes("bench.line", VIT_S, scratch, str(workers), "1") as by_ray:
                made = by_ray.run(films)
                pairs = paired(
                    lambda by_ray=by_ray: by_ray.run(films)["seconds"],  # type: ignore[misc]
                    lambda: alone.run(films)["seconds"],
                    repeats=repeats,
                )
            who = f"{workers} Ray worker{'s' * (workers > 1)}"
            figures.append(
                Figure(
                    f"films to Parquet by {who} of one thread, {VIT_S_NAME}",
                    "one process of one thread, without Ray",
                    pairs.speedups,
                    goal,
                    detail=f"{count} films, {made['frames']} frames: {pairs.theirs_s:.2f} s alone, "
                    f"{pairs.ours_s:.2f} s by Ray; {pairs.calm}; {made['runtime']}",
                )
            )
    return figures
