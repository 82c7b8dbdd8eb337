"""The memory that a process comes to need for a film, and for the same film 4 and 16 times over.

`python -m bench.memory FILMS SCRATCH` embeds every frame of a film; prints how many, and its peak of memory.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path

from bench.figures import Figure
from bench.material import make_film, repeat_film

FRAMES, QUICK_FRAMES = 250, 50
TIMES = (1, 4, 16)
FPS = 25
SIZE = (640, 360)
GOAL = 1.10
LIMIT_KB = 3 * 1024**2
BACKBONE = "efficientnet_lite0"


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Peak memory for 4 and 16 times the frames over that for one, each in a process of its own."""
    frames = QUICK_FRAMES if quick else FRAMES
    first = folder / "film.mp4"
    make_film(first, seconds=frames / FPS, size=SIZE, fps=FPS)
    peaks_kb = {}
    for times in TIMES:
        films = folder / str(times)
        films.mkdir()
        repeat_film(first, films / "film.mp4", times=times)
        peaks_kb[times] = _peak_of(films, frames * times)
    return [
        *(_growth(peaks_kb, times, frames) for times in TIMES[1:]),
        Figure(
            f"peak memory, film of {frames * TIMES[-1]:,} frames at 360p",
            "3 GB",
            (peaks_kb[TIMES[-1]] / LIMIT_KB,),
            1.0,
            is_at_most=True,
            detail=f"{peaks_kb[TIMES[-1]] / 1024:.0f} MB, of one process with {BACKBONE}",
        ),
    ]


def _growth(peaks_kb: dict[int, int], times: int, frames: int) -> Figure:
    most, least = peaks_kb[times], peaks_kb[1]
    return Figure(
        f"peak memory, {times} x the film at 360p",
        f"that of 1 x, {frames:,} frames",
        (most / least,),
        GOAL,
        is_at_most=True,
        detail=f"{most / 1024:.0f} MB for {frames * times:,} frames against {least / 1024:.0f}: "
        f"{(most - least) / (frames * (times - 1)):.1f} kB a frame more. A frame's pixels are 691 kB, its "
        "thumbnail and vectors about 7 kB",
    )


def _peak_of(films: Path, wanted: int) -> int:
    command = [sys.executable, "-m", "bench.memory", str(films), str(films.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    told = json.loads(done.stdout)
    if told["frames"] != wanted:
        raise ValueError(f"{told['frames']} frames in {films} were embedded, not {wanted}")
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


def _main(films: Path, scratch: Path) -> None:
    from bench.line import Line

    made = Line(BACKBONE, films, scratch, per_second=FPS).run()
    print(json.dumps({"frames": made.frames, "peak_kb": peak_kb()}))


if __name__ == "__main__":
    _main(*map(Path, sys.argv[1:]))
