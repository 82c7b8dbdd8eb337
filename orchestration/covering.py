"""`dinolake land-cover`: labels in; maps of classes, areas and an honest accuracy out."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.catalog import Archive
from lib.errors import QueryError, UnreadableMediaError, UsageError
from lib.lake import Lake, write_whole
from lib.serving import served
from orchestration.outputs import require_output

if TYPE_CHECKING:
    from lib.stages.land_cover import LandCover
    from lib.tasks.probe import CrossValidation


@dataclass(frozen=True, slots=True)
class MadeCover:
    """What was written, and the summary."""

    paths: tuple[Path, ...]
    summary: dict[str, Any]


def cover_files(
    archive: Archive, lake: Lake, labels: Path, out: Path, *, class_column: str, until: str,
    say: Callable[[str], None],
) -> MadeCover:  # fmt: skip
    """Map an archive's tiles by labels, and write a COG for each and a summary beside it.

    Raises:
        UsageError: The archive holds no scenes, or the output can't be written there.
        QueryError: The labels can't be read, or lie elsewhere.
    """
    if archive.line != "scene":
        kind = archive.line.replace("_", " ")
        raise UsageError(f"archive {archive.name!r} is a {kind} archive; land cover is told of scenes.")
    if not labels.exists():
        raise QueryError(f"{labels} isn't there: give a vector file, or a folder of labelled pictures.")
    if out.suffix.lower() not in (".tif", ".tiff"):
        raise UsageError(f"-o {out}: the map is a GeoTIFF; let its name end in .tif.")
    _require_outputs(out, labels)
    from lib.media.class_maps import colours_for, write_class_cog
    from lib.stages.land_cover import areas_of_maps, map_land_cover

    try:
        found = map_land_cover(served(lake, archive), labels, class_column=class_column, until=until)
    except UnreadableMediaError as error:
        raise QueryError(f"{labels} can't be used: {error}.") from error
    for note in found.notes:
        say(note)
    written: list[Path] = []
    out.parent.mkdir(parents=True, exist_ok=True)
    for made in found.maps:
        path = out if len(found.maps) == 1 else out.with_name(f"{out.stem}_{made.tile}{out.suffix}")
        _require_outputs(path, labels)
        colours = colours_for(len(found.names))
        write_class_cog(
            path, made.classes, made.confidence, grid=made.grid, names=found.names, colours=colours
        )
        written.append(path)
    summary = _summary(found, areas_of_maps(found))
    beside = out.with_suffix(".json")
    write_whole(beside, json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False))
    return MadeCover((*written, beside), summary)


def _require_outputs(out: Path, labels: Path) -> None:
    """The map, and what is written beside it."""
    inputs = [labels] if labels.is_file() else []
    beside = (out.with_suffix(".json"), out.with_suffix(".qml"), out.with_name(f"{out.name}.aux.xml"))
    for path in (out, *beside):
        require_output(path, "-o", inputs=inputs)


def _summary(found: "LandCover", areas: dict[str, float]) -> dict[str, Any]:
    return {
        "classes": list(found.names),
        "examples": found.examples,
        "areas_ha": {name: round(area, 2) for name, area in areas.items()},
        "accuracy": {
            "random": _scored(found.random, found.naive_random),
            "spatial": _scored(found.spatial, found.naive_spatial),
        },
        "maps": [{"tile": made.tile, "item": made.item, "acquired": made.acquired} for made in found.maps],
    }


def _scored(ours: "CrossValidation | None", naive: "CrossValidation | None") -> dict[str, Any] | None:
    if ours is None:
        return None
    if ours.accuracy is None:
        return {"chance": None, "naive": None, "ours": None, "n": 0, "note": ours.note}
    return {
        "chance": round(ours.confusion.chance, 4),
        "naive": round(naive.accuracy, 4) if naive and naive.accuracy is not None else None,
        "ours": round(ours.accuracy, 4),
        "n": ours.n,
        "note": ours.note,
    }
