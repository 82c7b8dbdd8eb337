"""landcover_report: what the ground is, by class, and how good that is on ground that wasn't labelled."""

from datetime import UTC, datetime
from typing import Any

import numpy as np

from lib.report import Metric, Picture, Report, Section, Table
from lib.stages.making import Work
from lib.stages.reporting import (
    MadeReport,
    archive_facts,
    contract_card,
    ensure_report,
    limits,
    rejects,
    runtime_of,
    versions,
)

_SHOWN = 3
_SIDES = {"random": "random split", "spatial": "spatial blocks"}


def make_landcover_report(work: Work) -> MadeReport:
    """Measure and write the report unless it is up to date."""
    return ensure_report(work, "landcover_report", lambda: _compose(work))


def _compose(work: Work) -> Report:
    footer = work.lake.footer(work.place("land_cover"))
    notes = footer[1].notes if footer else {}
    sections = [_section(work, notes)] if "names" in notes else []
    lede = (
        ""
        if sections
        else "No labels are given: set land_cover.labels in the catalog entry to a vector file of points and "
        "areas with a class column, or to a folder of labelled pictures."
    )
    return Report(
        title="What the ground is",
        archive=work.archive.name,
        contract=contract_card(work, runtime_of(work)),
        sections=sections,
        lede=lede,
        facts=archive_facts(work),
        warnings=limits(work),
        rejects=rejects(work),
        versions=versions(),
        made_at=datetime.now(UTC),
    )


def _section(work: Work, notes: dict[str, Any]) -> Section:
    metrics = []
    for side, told in _SIDES.items():
        ours, naive = notes[side], notes[f"naive_{side}"]
        if ours is None or ours["accuracy"] is None:
            continue
        metrics.append(
            Metric(
                "land cover", f"accuracy, {told}", ours["chance"], naive["accuracy"], ours["accuracy"],
                ours["n"], note=ours["note"],
            )
        )  # fmt: skip
    rows = work.rows("land_cover").to_pylist()
    areas = {name: sum(row["area_ha"] for row in rows if row["class"] == name) for name in notes["names"]}
    held = notes["spatial"] or notes["random"]
    by_class = [
        (name, notes["examples"].get(name, 0), areas[name], held["recall"].get(name))
        for name in notes["names"]
    ]
    return Section(
        "Land cover",
        lead="A linear head on stored features of cells of 16 px, fitted to the labels given. Neighbouring "
        "cells look alike, so a random split flatters: the spatial one holds whole blocks of ground out.",
        metrics=metrics,
        naive="The nearest class mean of the window's CLS token.",
        ours="Multinomial logistic regression on a cell's patches and last map; its strength chosen "
        "within the training side.",
        pictures=_pictures(work, notes),
        tables=[Table("By class", ("class", "examples", "ha", "found when held out"), by_class)],
    )


def _pictures(work: Work, notes: dict[str, Any]) -> list[Picture]:
    """Each map beside the scene that it was made of."""
    from lib.media.class_maps import read_class_map
    from lib.media.image import contact_sheet, png_bytes
    from lib.stages.scene_pictures import mosaic

    shards = {item.item: item.shard for item in work.prints.items()}
    items = {row["tile"]: row["item"] for row in work.rows("land_cover").to_pylist()}
    shown = []
    for tile, item in sorted(items.items())[:_SHOWN]:
        path = work.lake.path(work.place("land_cover")).parent / f"{tile}.tif"
        coloured = read_class_map(path)
        scene, *_ = mosaic(work, shards[item], item)
        wide = np.repeat(np.repeat(coloured, 16, 0), 16, 1)
        png = png_bytes(contact_sheet([scene, wide], [item, "classes"], columns=2, tile_px=480))
        shown.append(Picture(png, f"{tile}, {item}.", f"{item} and its map of classes"))
    return [*shown, _legend(notes["names"])] if shown else []


def _legend(names: list[str]) -> Picture:
    from lib.media.class_maps import colours_for
    from lib.media.image import contact_sheet, png_bytes

    patches = [np.full((40, 160, 3), colour, np.uint8) for colour in colours_for(len(names))]
    png = png_bytes(contact_sheet(patches, names, columns=min(6, len(names)), tile_px=120))
    return Picture(png, "The classes.", f"colours of {', '.join(names)}")
