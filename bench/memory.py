"""The memory that a process comes to need for a short and for a long film.

`python -m bench.memory FILM SCRATCH` embeds every frame of a film; prints how many, and its peak of memory.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path

from bench.figures import Figure
from bench.material import make_film

FRAMES = (1_000, 4_000)
FPS = 25
GOAL = 1.10
BACKBONE = "efficientnet_lite0"


def measure_memory(folder: Path, *, repeats: int) -> Figure:
    """Peak memory for 4,000 frames over that for 1,000, each in a process of its own."""
    films = []
    for frames in FRAMES:
        film = folder / str(frames) / "film.mp4"
        film.parent.mkdir(parents=True)
        make_film(film, seconds=frames / FPS, size=(160, 120), fps=FPS)
        films.append(film)
    pairs = []
    for _ in range(repeats):
        short_kb, long_kb = (_peak_of(film, wanted) for film, wanted in zip(films, FRAMES, strict=True))
        pairs.append((short_kb, long_kb))
    short_kb, long_kb = pairs[0]
    growth_kb = (long_kb - short_kb) / (FRAMES[1] - FRAMES[0])
    return Figure(
        f"peak memory of {FRAMES[1]:,} frames",
        f"that of {FRAMES[0]:,}",
        tuple(long / short for short, long in pairs),
        GOAL,
        is_at_most=True,
        detail=f"{long_kb / 1024:.0f} MB against {short_kb / 1024:.0f}: {growth_kb:.1f} kB a frame more. "
        "Its pixels are 57 kB, its thumbnail and vectors about 7 kB",
    )


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

    made = Line(BACKBONE, film, scratch, per_second=FPS).run()
    print(json.dumps({"frames": made.frames, "peak_kb": peak_kb()}))


if __name__ == "__main__":
    _main(*map(Path, sys.argv[1:]))
