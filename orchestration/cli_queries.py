"""Commands that ask the lake, or make something of given files; `cli` has those that look after archives."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lib.errors import DinolakeError, QueryError
from orchestration.terminal import plural, print_json, say, show, show_table, shown

ArchiveArgument = Annotated[str, typer.Argument(help="An archive of the catalog.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON document on standard output, nothing else there.")
]


def search(
    archive: ArchiveArgument,
    image: Annotated[Path | None, typer.Option(help="A picture to look for.")] = None,
    video: Annotated[Path | None, typer.Option(help="A clip to look for.")] = None,
    item: Annotated[
        str | None, typer.Option(help="A stored item, or a part of it: ITEM#t=12.0, ITEM#r=512,c=256.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="Scenes: the place at longitude,latitude, such as -112.3,40.7.")
    ] = None,
    like: Annotated[
        Path | None, typer.Option(help="Scenes: a vector file of places that are what is looked for.")
    ] = None,
    unlike: Annotated[Path | None, typer.Option(help="Scenes: a vector file of places that aren't.")] = None,
    text: Annotated[str | None, typer.Option(help="Pairs: words to look for.")] = None,
    to: Annotated[
        str | None, typer.Option(help="Pairs: the side that is searched: left, right, text or image.")
    ] = None,
    gallery: Annotated[
        str | None, typer.Option(help="Pairs: search this archive of videos or scenes with their heads.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Hits wanted.")] = 5,
    where: Annotated[
        str | None, typer.Option(help="SQL over what is found: duration_s > 60, acquired > '2024-01-01'…")
    ] = None,
    as_json: JsonOption = False,
    sheet: Annotated[Path | None, typer.Option(help="Write a page with the hits' pictures.")] = None,
    clips: Annotated[Path | None, typer.Option(help="Cut the hits as mp4 files into this folder.")] = None,
    geo: Annotated[Path | None, typer.Option(help="Scenes, pairs: write the hits as GeoJSON.")] = None,
) -> None:
    """Find moments, places or the other side of pairs, by a picture, a clip, a place, words or an item."""
    from orchestration.access import open_lake, the_catalog
    from orchestration.searching import Request, answer, check

    request = Request(
        image=image, video=video, item=item, k=k, where=where, at=at, like=like, unlike=unlike, text=text,
        to=to,
    )  # fmt: skip
    chosen = the_catalog().archive(archive)
    check(chosen, request, clips=clips, geo=geo)
    if gallery is not None and chosen.kind != "pair":
        raise QueryError(f"--gallery uses the heads of pairs; {archive!r} is of {chosen.kind}s.")
    if chosen.kind == "pair":
        from orchestration.searching_pairs import answer_pairs, show_pairs

        other = the_catalog().archive(gallery) if gallery is not None else None
        pairs = answer_pairs(chosen, open_lake(), request, gallery=other, sheet=sheet, geo=geo)
        for note in pairs.notes:
            say(note)
        show_pairs(archive, pairs, as_json=as_json)
        return
    if chosen.kind == "scene":
        from orchestration.searching_places import answer_places, show_places

        places = answer_places(chosen, open_lake(), request, sheet=sheet, geo=geo)
        for note in places.notes:
            say(note)
        show_places(archive, places, as_json=as_json)
        return
    found = answer(chosen, open_lake(), request, sheet=sheet, clips=clips)
    for note in found.notes:
        say(note)
    if as_json:
        hits = [{name: value for name, value in asdict(hit).items() if name != "shard"} for hit in found.hits]
        print_json({"archive": archive, "contract": found.contract, "hits": hits})
    elif found.hits:
        rows = [
            (hit.rank, hit.item, f"{hit.start_s:.1f}", f"{hit.end_s:.1f}", f"{hit.score:.3f}", hit.path)
            for hit in found.hits
        ]
        show_table(["", "item", "from", "to", "score", "path"], rows)
    else:
        show("no hits")
    if clips is not None and found.hits and not found.clips:
        raise DinolakeError("none of the hits could be cut; the reasons are above.")


def summarize(
    video: Annotated[Path, typer.Argument(help="The video to sum up.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The mp4 to write; its storyboard and JSON go beside it.")
    ],
    method: Annotated[str, typer.Option(help="kts: shots under a budget; kmeans: fixed clips.")] = "kts",
    budget: Annotated[float, typer.Option(help="Share of the video's length, for kts.")] = 0.15,
    clips: Annotated[int, typer.Option(help="Number of clips, for kmeans.")] = 5,
    clip_seconds: Annotated[float, typer.Option(help="Length of a clip in seconds, for kmeans.")] = 2.0,
    backbone: Annotated[str | None, typer.Option(help="A backbone spec.")] = None,
    per_second: Annotated[float, typer.Option(help="Frames a second to look at.")] = 2.0,
    as_json: JsonOption = False,
) -> None:
    """Sum a video up: an mp4 with its sound, a storyboard, and the shots with their scores."""
    from orchestration.summarizing import summarize_file

    made = summarize_file(
        video, out, method=method, budget=budget, clips=clips, clip_seconds=clip_seconds,
        backbone=backbone, per_second=per_second, say=say,
    )  # fmt: skip
    if as_json:
        print_json(made.document)
    else:
        for path in made.paths:
            show(shown(path))


def change(
    before: Annotated[Path, typer.Argument(help="The earlier picture: a GeoTIFF, or any picture.")],
    after: Annotated[Path, typer.Argument(help="The later one; warped onto the earlier's grid if need be.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write to.")],
    buildings: Annotated[
        Path | None, typer.Option(help="A vector file of footprints: a change score and class for each.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="A backbone spec.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Find what changed between two pictures of one place: a map, polygons with areas, a picture."""
    from orchestration.changing import change_files

    made = change_files(before, after, out, backbone=backbone, buildings=buildings, say=say)
    if as_json:
        print_json(made.summary)
        return
    unit = "px" if "changed_px" in made.summary else "m2"
    area = f"{made.summary[f'changed_{unit}']:,.0f} {'m²' if unit == 'm2' else 'px'}"
    show(f"{plural(made.summary['polygons'], 'polygon')}, {area}, {made.summary['changed_pct']:.2f} %")
    for path in made.paths:
        show(shown(path))


def embed(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, videos, or folders of them.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The Parquet file: path, t_s, vector.")],
    backbone: Annotated[
        str | None, typer.Option(help="A backbone spec; left out, DINOv3 is tried first.")
    ] = None,
    per_second: Annotated[float, typer.Option(help="Frames a second of a video.")] = 1.0,
    size_px: Annotated[int, typer.Option(help="Side of the picture the backbone sees.")] = 224,
) -> None:
    """Embed any pictures and videos into one Parquet file.

    Backbone specs: efficientnet_lite0 (packaged, not DINOv3) · timm:vit_small_patch16_dinov3.lvd1689m (any
    DINOv3 name of timm) · hf:FOLDER (a Hugging Face directory) · meta:FILE.pth (Meta's own checkpoint) ·
    random:NAME.
    """
    from orchestration.embedding import embed_paths

    made = embed_paths(paths, out, backbone=backbone, per_second=per_second, size_px=size_px, say=say)
    for path, reason in made.refused.items():
        say(f"refused: {shown(path)}: {reason}")
    counted = f"{plural(made.vectors, 'vector')} of {plural(made.files, 'file')}"
    show(f"{counted}, {made.backbone}, to {shown(out)}")
    if not made.vectors:
        raise DinolakeError("nothing could be embedded; the reasons are above.")


def land_cover(
    archive: ArchiveArgument,
    labels: Annotated[
        Path,
        typer.Option(help="A vector file of points and areas, or a folder with one of pictures a class."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The GeoTIFF to write, one a tile.")],
    class_column: Annotated[str, typer.Option(help="The vector file's column with the class.")] = "class",
    until: Annotated[
        str, typer.Option(help="Map the latest scene up to this day (2024-06-30); left out, the latest.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Tell land cover from a handful of labels: a map, areas in ha, accuracy in spatial blocks."""
    from orchestration.access import open_lake, the_catalog
    from orchestration.covering import cover_files

    chosen = the_catalog().archive(archive)
    made = cover_files(chosen, open_lake(), labels, out, class_column=class_column, until=until, say=say)
    if as_json:
        print_json(made.summary)
        return
    examples = made.summary["examples"]
    rows = [(n, examples.get(n, 0), f"{area:,.1f}") for n, area in made.summary["areas_ha"].items()]
    show_table(["class", "examples", "ha"], rows)
    for split, told in made.summary["accuracy"].items():
        if told is not None and told["ours"] is None:
            say(f"accuracy, {split} split: {told['note']}")
        elif told is not None:
            naive = "–" if told["naive"] is None else f"{told['naive']:.3f}"
            say(
                f"accuracy, {split} split: {told['ours']:.3f} (naive {naive}, chance {told['chance']:.3f}, "
                f"{told['n']:,} held out) {told['note']}"
            )
    for path in made.paths:
        show(shown(path))


COMMANDS = (search, summarize, change, land_cover, embed)
