"""The memory that a process comes to need for a short film, for one of 4 times its length, and for one of 16.

`python -m bench.memory FILM SCRATCH` embeds every frame of a film; prints how many, and its peak of memory.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path

from bench.figures import Figure
from bench.material import make_film

FRAMES = (250, 1_000, 4_000)
QUICK_FRAMES = (60, 240, 960)
FPS = 25
GOAL, MOST_GB = 1.10, 3.0
BACKBONE = "efficientnet_lite0"


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Peak memory for the longer films over that for the shortest, each in a process of its own."""
    counts = QUICK_FRAMES if quick else FRAMES
    peaks = []
    for frames in counts:
        film = folder / str(frames) / "film.mp4"
        film.parent.mkdir(parents=True)
        make_film(film, seconds=frames / FPS, size=(160, 120), fps=FPS)
        peaks.append(_peak_of(film, frames))
    told = ", ".join(f"{count:,}: {kb / 1024:.0f} MB" for count, kb in zip(counts, peaks, strict=True))
    grown_kb = (peaks[-1] - peaks[0]) / (counts[-1] - counts[0])
    figures = [
        Figure(
            f"peak memory of {count:,} frames, {count // counts[0]} x the input",
            f"that of {counts[0]:,}",
            (kb / peaks[0],),
            GOAL,
            is_at_most=True,
            detail=f"{told}; {grown_kb:.1f} kB a frame more. Its pixels are 57 kB, its thumbnail and "
            f"vectors about 7 kB; {BACKBONE}",
        )
        for count, kb in zip(counts[1:], peaks[1:], strict=True)
    ]
    figures.append(
        Figure(
            f"peak memory of {counts[-1]:,} frames in GB", "1 GB", (peaks[-1] / 2**20,), MOST_GB,
            is_at_most=True, detail=told,
        )
    )  # fmt: skip
    return figures


def _peak_of(film: Path, wanted: int) -> int:
    command = [sys.executable, "-m", "bench.memory", str(film), str(film.parents[1])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    told = json.loads(done.stdout)
    if told["frames"] != wanted:
        raise ValueError(f"{told['frames']} frames of {film} were embedded, not {wanted}")
    return int(told["peak_kb"])


def peak_kb() -> int:
    """This process's greatest resident size so far."""
    status = Path("/proc/self/status")
    if status.is_file():
        # ru_maxrss begins with what the parent held when it started this process: that can be the greater.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1])
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used // 1024 if sys.platform == "darwin" else used


def _main(film: Path, scratch: Path) -> None:
    from bench.line import Line

    made = Line(BACKBONE, film.parent, scratch, per_second=FPS).run()
    print(json.dumps({"frames": made.frames, "peak_kb": peak_kb()}))


if __name__ == "__main__":
    _main(*map(Path, sys.argv[1:]))
