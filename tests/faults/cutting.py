"""A program of the tests: the line cut off at moves into place, gone on with, and compared. It forks."""

import json
import random
import shutil
import sys
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1]), str(Path(__file__).parent)]


def main(folder: Path, seed: int, cuts: int) -> None:
    """Prints what differs after each cut, and how often the power went."""
    from factories import make_video
    from lakes import make_videos_line, rows_of, undisturbed

    from bench.soak_children import Cut, await_all, fork, install_cut, use_stand_ins, warm_up
    from lib.catalog import Archive
    from lib.lake import Lake
    from lib.sections import EmbeddingConfig

    warm_up()
    videos = folder / "videos"
    videos.mkdir()
    for number in range(3):
        make_video(videos / f"v{number}.mp4", seconds=1, fps=8, size=(64, 48), seed=number)
    embedding = EmbeddingConfig(backbone="efficientnet_lite0", size_px=64)
    archive = Archive(name="talks", kind="video", root=str(videos), embedding=embedding, shard_items=2)

    def run(lake: Path, cut: Cut | None) -> None:
        use_stand_ins()
        if cut is not None:
            install_cut(cut)
        make_videos_line(Lake(lake), archive)

    def compare(lake: Path, found: Path) -> None:
        use_stand_ins()
        opened = Lake(lake)
        opened.sweep()
        told = [stage for stage, rows in undisturbed(folder / "whole", archive).items()
                if rows_of(opened, archive)[stage] != rows]  # fmt: skip
        left = [path.name for path in (lake / "_tmp").glob("*")]
        found.write_text(json.dumps(told + left))

    chance = random.Random(seed)
    kinds = [
        (at, after, torn) for at in range(12) for after, torn in ((False, False), (True, False), (True, True))
    ]
    outcome: dict[str, object] = {"cut": 0, "wrong": {}}
    wrong: dict[str, list[str]] = {}
    for at, after, torn in chance.sample(kinds, cuts):
        lake, found = folder / "lake", folder / "found.json"
        shutil.rmtree(lake, ignore_errors=True)
        found.unlink(missing_ok=True)
        name, log = f"{at} after={after} torn={torn}", folder / "log.txt"
        pid = fork(partial(run, lake, Cut("replace", at, after=after, torn=torn)), log)
        outcome["cut"] = int(str(outcome["cut"])) + (await_all([pid])[pid] == -9)
        for work in (partial(run, lake, None), partial(compare, lake, found)):
            pid = fork(work, log)
            if await_all([pid])[pid] != 0:
                wrong[name] = [log.read_text()[-2000:]]
        if told := json.loads(found.read_text()) if found.exists() else ["no comparison"]:
            wrong.setdefault(name, told)
    sys.stdout.write(json.dumps(outcome | {"wrong": wrong}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
