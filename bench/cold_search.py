"""`dinolake search` with a picture, from a shell in which nothing is loaded yet."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.figures import Figure, seconds
from bench.material import make_film
from lib.errors import DinolakeError
from lib.media.image import png_bytes
from lib.media.sampling import Sampling
from lib.media.video import sample_video

LIMIT_S = 6.0
REPEATS, QUICK_REPEATS = 3, 1
_FILMS, _FILM_S = 3, 10.0


def measure(folder: Path, *, quick: bool) -> Sequence[Figure]:
    """The one figure of it."""
    return [measure_cold_search(folder, repeats=QUICK_REPEATS if quick else REPEATS)]


def measure_cold_search(folder: Path, *, repeats: int) -> Figure:
    """Seconds from the shell to the answer, of those allowed; a small archive of its own is run before."""
    videos = folder / "videos"
    videos.mkdir(parents=True)
    for number in range(_FILMS):
        make_film(videos / f"film{number}.mp4", seconds=_FILM_S, size=(320, 180), seed=10 + number)
    middle = list(sample_video(videos / "film1.mp4", Sampling()))[5]
    picture = folder / "asked.png"
    picture.write_bytes(png_bytes(middle.rgb))
    _dinolake(folder, "add", "films", "video", str(videos), "--backbone", "efficientnet_lite0")
    _dinolake(folder, "run", "films", "clip_index")
    answers: list[str] = []

    def search() -> float:
        asked = ("search", "films", "--image", str(picture), "--json")
        return seconds(lambda: answers.append(_dinolake(folder, *asked)))

    times_s = [search() for _ in range(repeats)]
    best = json.loads(answers[-1])["hits"][0]
    is_found = best["item"] == "film1" and best["start_s"] <= middle.t_s <= best["end_s"]
    if not is_found:
        raise DinolakeError(f"the search that was timed found {best}, not film1 at {middle.t_s} s.")
    return Figure(
        "dinolake search from a cold shell, with a picture",
        f"the {LIMIT_S:g} s allowed",
        tuple(time_s / LIMIT_S for time_s in times_s),
        goal=1.0,
        is_at_most=True,
        detail=f"{np.median(times_s):.2f} s, at most {max(times_s):.2f} s; the moment was found. "
        "New processes; the disk's cache is as it is",
    )


def _dinolake(folder: Path, *arguments: str) -> str:
    places = {
        "DINOLAKE_CATALOG": str(folder / "catalog.toml"),
        "DINOLAKE_LAKE": str(folder / "lake"),
        "DAGSTER_HOME": str(folder / "dagster"),
    }
    program = Path(sys.executable).with_name("dinolake")
    done = subprocess.run(
        [program, *arguments], env=os.environ | places, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DinolakeError(f"`dinolake {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout
