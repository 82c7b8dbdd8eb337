"""`dinolake change`: two files of one place in; a change map, its polygons with areas, and a picture out."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.errors import UsageError
from lib.lake import write_whole
from orchestration.outputs import is_utf8, require_folder, require_output
from orchestration.terminal import shown

if TYPE_CHECKING:
    from lib.tasks.change_pair import Changes

FILES = ("change.tif", "change.parquet", "change.geojson", "change.png", "summary.json")
_PANEL_PX = 640
_STRIP_PX = 512
_RED = np.array([235, 60, 40])


@dataclass(frozen=True, slots=True)
class MadeChange:
    """What was written, and the summary."""

    paths: tuple[Path, ...]
    summary: dict[str, Any]


def change_files(
    before: Path,
    after: Path,
    out: Path,
    *,
    backbone: str | None,
    buildings: Path | None = None,
    say: Callable[[str], None],
) -> MadeChange:
    """Hold two files against each other and write what changed into a folder.

    Raises:
        UsageError: The output would overwrite an input, or can't be written there.
        QueryError: One can't be read, or they show no common ground.
    """
    for path in filter(None, (before, after, buildings)):
        if not path.is_file():
            raise UsageError(f"{shown(path)} is no file.")
        if not is_utf8(path):
            raise UsageError(f"{shown(path)}: its name is no valid UTF-8; rename it.")
    require_folder(out, f"-o {out}")
    from orchestration import damaging

    files = FILES + damaging.FILES if buildings else FILES
    for name in files:
        require_output(out / name, "-o", inputs=[before, after, *filter(None, [buildings])])
    footprints = damaging.read_buildings(buildings) if buildings else None
    from lib.embedding.backbones import choose_default
    from lib.embedding.embed import Embedder
    from lib.media.lattice import WINDOW_PX
    from lib.tasks.change_pair import find_changes
    from lib.tasks.window_views import POOLING

    if backbone is None:
        backbone, notes = choose_default()
        for note in notes:
            say(note)
    embedder = Embedder(backbone, size_px=WINDOW_PX, pooling=POOLING)
    changes = find_changes(before, after, embedder)
    out.mkdir(parents=True, exist_ok=True)
    summary = _write(changes, out)
    if footprints is not None:
        summary["buildings"] = damaging.write_damage(changes, footprints, out)
    summary |= {
        "before": str(before), "after": str(after), "dates": list(changes.dates),
        "backbone": embedder.backbone.name, "contract": embedder.contract.id, "forwards": changes.forwards,
        "shift_px": list(changes.shift_px), "gate": round(changes.gate, 4),
        "threshold": round(changes.threshold, 4),
    }  # fmt: skip
    write_whole(out / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False))
    return MadeChange(tuple(out / name for name in files), summary)


def _write(changes: "Changes", out: Path) -> dict[str, Any]:
    from lib.media import geofiles
    from lib.tasks.outline import UNJUDGED

    grid, lacking = changes.grid, changes.states == UNJUDGED
    frame = geofiles.regions_of(changes.mask, grid)
    means = geofiles.mean_within(frame, changes.score_of, grid)
    unit = "px" if grid.crs is None else "m2"
    area = f"area_{unit}"
    frame = frame.assign(mean_score=np.round(means, 4)).rename(columns={"area": area})
    frame["before"], frame["after"] = changes.dates
    columns = [area, "mean_score", "before", "after", "geometry"]
    frame = frame.sort_values(area, ascending=False, ignore_index=True)[columns]
    geofiles.write_cog(out / "change.tif", _bands(changes), grid, descriptions=("score", "changed"))
    geofiles.write_geoparquet(frame, out / "change.parquet")
    geofiles.write_geojson(frame, out / "change.geojson")
    write_whole(out / "change.png", _picture(changes, unit))
    changed = float(frame[area].sum())
    seen = geofiles.mask_area(~lacking, grid)
    return {
        "polygons": len(frame),
        f"changed_{unit}": round(changed, 2),
        "changed_pct": round(100 * changed / seen, 4) if seen else 0.0,
        f"unjudged_{unit}": round(geofiles.mask_area(lacking, grid), 2),
    }


def _bands(changes: "Changes") -> Iterator[np.ndarray]:
    """Score and mask, (2, rows, width) float32, NaN where it can't be judged."""
    for top in range(0, changes.grid.height, _STRIP_PX):
        bottom = min(changes.grid.height, top + _STRIP_PX)
        score = changes.score_of(top, bottom)
        yield np.stack([score, np.where(np.isnan(score), np.nan, changes.states[top:bottom])])


def _picture(changes: "Changes", unit: str) -> bytes:
    """Before, after, and the after in grey with changes in red, what can't be judged hatched; a scale bar."""
    from lib.media.image import contact_sheet, png_bytes
    from lib.tasks.outline import CHANGED, UNJUDGED

    before, after = changes.thumbnails
    height, width = after.shape[:2]
    grey = np.repeat(after.mean(-1, keepdims=True), 3, -1) * 0.8 + 40
    changed, lacking = (_share_of(changes.states, state, (width, height)) for state in (CHANGED, UNJUDGED))
    marked = grey * (1 - 0.75 * changed) + _RED * 0.75 * changed
    stripes = (np.add.outer(np.arange(height), np.arange(width)) // 6 % 2)[..., None] * 60 + 150
    marked = np.where(lacking > 0.5, stripes, marked).clip(0, 255).astype(np.uint8)
    length, told = _scale_bar(changes, width)
    for panel in (before, after, marked):
        _draw_bar(panel, length)
    captions = [
        " ".join(filter(None, ("before", changes.dates[0]))),
        " ".join(filter(None, ("after", changes.dates[1]))),
        f"change (red); the bar is {told}",
    ]
    sheet = contact_sheet(
        [before, after, marked], captions, columns=3, tile_px=min(_PANEL_PX, max(240, width))
    )
    return png_bytes(sheet)


def _share_of(states: np.ndarray, state: int, size: tuple[int, int]) -> np.ndarray:
    """How much of each pixel of a smaller picture has a state: (height, width, 1) in [0, 1]."""
    from PIL import Image

    bright = np.zeros(256, np.uint8)
    bright[state] = 255
    small = Image.fromarray(bright[states]).resize(size, Image.Resampling.BOX)
    return np.asarray(small)[..., None] / 255


def _scale_bar(changes: "Changes", shown_px: int) -> tuple[int, str]:
    """A round length of about a quarter of the picture: in shown pixels, and in words."""
    width_px = changes.grid.width
    per_px = changes.grid.pixel_m
    quarter = width_px / 4 * (per_px or 1)
    power = 10 ** np.floor(np.log10(max(quarter, 1e-9)))
    length = max(step for step in (1, 2, 5) if step * power <= quarter) * power
    told = (
        f"{length:g} px" if per_px is None else f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    )
    return max(1, round(length / (per_px or 1) * shown_px / width_px)), told


def _draw_bar(panel: np.ndarray, length_px: int) -> None:
    thick = max(2, panel.shape[0] // 100)
    top, left = panel.shape[0] - 4 * thick, 3 * thick
    panel[top - 1 : top + thick + 1, left - 1 : left + length_px + 1] = 0
    panel[top : top + thick, left : left + length_px] = 255
