"""Adding 1 % to a saved index and removing 1 %, against building it anew; and what is found afterwards."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np

from bench.figures import Figure, seconds
from bench.index_build import Built
from bench.index_material import K, Material, as_unit, recall_of, unit_draw
from lib.search.index import VectorIndex

GOAL, RECALL_GOAL = 40.0, 0.98
_SHARE = 0.01


def measure_updates(
    material: Material, saved: Path, rebuilt: Built, folder: Path, *, queries: int, repeats: int
) -> list[Figure]:
    """What an update takes, saved; each begins with the index as it was opened."""
    count = round(_SHARE * material.rows)
    # New rows, of the same clusters.
    new = unit_draw(count, draw=3).astype(np.float16)
    gone = np.random.default_rng(4).choice(material.rows, count, replace=False)
    asked = material.queries[:queries]
    rebuild_s = rebuilt.build_s + rebuilt.save_s
    figures = []
    for name in ("adding", "removing"):
        times: list[tuple[float, float]] = []
        place = folder / name
        for _ in range(repeats):
            # As an archive's own index is: read, brought up to date, written as a new folder beside it.
            index = VectorIndex.open(saved)
            change = partial(index.add, new) if name == "adding" else partial(index.remove, gone)
            shutil.rmtree(place, ignore_errors=True)
            times.append((seconds(change), seconds(partial(index.save, place))))
        after = VectorIndex.open(place)
        recall = recall_of(after.search(asked, k=K).scores, _truth(material, asked, name, new, gone))
        change_s, save_s = (float(np.median(each)) for each in zip(*times, strict=True))
        figures += [
            Figure(
                f"{name} 1 % of {material.size}",
                "building and saving it anew",
                tuple(rebuild_s / (change_s + save_s) for change_s, save_s in times),
                GOAL,
                detail=f"{change_s:.2f} s, and {save_s:.2f} s to save it; {rebuild_s:.1f} s anew. The index "
                "before is open, as in an archive's update",
            ),
            Figure(
                f"recall@{K} after {name} 1 % of {material.size}", "an exact scan of all vectors", (recall,),
                RECALL_GOAL, detail=f"{len(asked)} queries; opened again from its folder",
            ),
        ]  # fmt: skip
    return figures


def _truth(material: Material, asked: np.ndarray, name: str, new: np.ndarray, gone: np.ndarray) -> np.ndarray:
    if name == "removing":
        standing = np.ones(material.rows, bool)
        standing[gone] = False
        return material.true_scores(asked, [standing])[0]
    old = material.true_scores(asked, [None])[0]
    both = np.hstack([old, asked @ as_unit(new).T])
    return np.asarray(-np.sort(-both, axis=1)[:, :K])
