"""`dinolake add NAME pair`: look at the table, and choose what its two sides are."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, Literal, cast

from lib.embedding.backbones import resolve
from lib.errors import CatalogError, UnreadableMediaError, UsageError
from lib.sections import PairsConfig, SideConfig

# Rows that are looked into.
_LOOKED_INTO = 40
_NAMES = ("left", "right", "id", "split", "group", "lon", "lat")
_PICTURES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".png",
        ".webp",
        ".bmp",
        ".tif",
        ".tiff",
        ".gif",
        ".avif",
        ".jp2",
        ".ppm",
        ".pgm",
        ".npy",
    ]
)
# A panorama is wider than this, in its heights: turned, it would be no picture that anyone takes.
_PANORAMA = 1.7
_SHARD_PAIRS = 1024

Kind = Literal["picture", "depth", "text"]


def pair_sections(
    table: Path | None,
    dataset: str | None,
    columns: tuple[str, ...],
    backbone: str,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """The sections of a pair archive's entry, chosen by its dataset, or by its table's first rows.

    Raises:
        CatalogError: The table has no such columns, or nothing in it can be understood.
        UsageError: A mapping that isn't one.
    """
    told = resolve(backbone)
    # Of a DINOv3 the last map is the patches' own.
    has_deep = told.deep_px != told.patch_px
    if dataset is not None:
        from lib.datasets import dataset as known

        sides = known(dataset).sides
        if sides is None:
            raise UsageError(f"dataset {dataset!r} tells no pairs.")
        kinds: list[Kind] = [side.kind for side in sides]
        turned = [side.views == "turned" for side in sides]
        left, right = (
            _side(kind, "", turned=is_turned, cleaned=side.cleaned, other=other, has_deep=has_deep)
            for kind, is_turned, side, other in zip(kinds, turned, sides, reversed(kinds), strict=True)
        )
        return {"pairs": PairsConfig(left=left, right=right), "shard_items": _SHARD_PAIRS}
    if table is None:
        raise UsageError("give the CSV that tells the pairs, or --dataset NAME.")
    mapped = _mapped(columns)
    from lib.stages.pair_table import columns_of

    there = columns_of(table)
    names = {side: mapped.get(side, side) for side in ("left", "right")}
    missing = [name for name in [*names.values(), *mapped.values()] if name not in there]
    if missing:
        lacking = ", ".join(map(repr, dict.fromkeys(missing)))
        raise CatalogError(
            f"{table} has no column {lacking}; it has {', '.join(there)}. "
            "Say which is which: --map left=COLUMN --map right=COLUMN."
        )
    seen = {side: _seen(table, names[side]) for side in names}
    found = {side: _kind(names[side], values, table.parent) for side, values in seen.items()}
    are_square = all(kind == "picture" for kind, _ in found.values())
    made = {
        side: _side(
            kind, names[side] if names[side] != side else "", turned=are_square and not is_wide,
            other=found["right" if side == "left" else "left"][0], has_deep=has_deep,
        )
        for side, (kind, is_wide) in found.items()
    }  # fmt: skip
    for side, config in made.items():
        say(
            f"{side}: column {names[side]!r}, {config.kind}s"
            + (f", {config.views}" if config.kind != "text" else "")
        )
    others = {name: column for name, column in mapped.items() if name not in names}
    return {
        "pairs": PairsConfig(left=made["left"], right=made["right"], columns=others),  # type: ignore[arg-type]
        "shard_items": _SHARD_PAIRS,
    }


def _side(
    kind: Kind, column: str, *, turned: bool, other: Kind, has_deep: bool, cleaned: str = ""
) -> SideConfig:
    """A side with the features that were measured best for its kind."""
    if kind == "text":
        return SideConfig(kind=kind, column=column, cleaned=cast(Any, cleaned))
    # Beside words, what is in a picture counts; beside another view, where it is does. Drone to satellite,
    # R@1: grid and the deeper map's .735, CLS and mean patch .605, grids and CLS .685.
    features: tuple[str, ...] = ("cls", "patch_mean")
    if other != "text":
        features = ("grid", "deep") if has_deep else ("cls", "grid")
    return SideConfig(
        kind=kind, column=column, views="turned" if turned else "upright", features=cast(Any, features)
    )


def _mapped(columns: tuple[str, ...]) -> dict[str, str]:
    mapped: dict[str, str] = {}
    for told in columns:
        # Both `left=street_view_path` and, as it is often written, `street_view_path=left`.
        one, mark, other = told.partition("=")
        name, column = (one, other) if one in _NAMES or other not in _NAMES else (other, one)
        if not mark or name not in _NAMES or not column:
            raise UsageError(
                f"--map {told}: give one of {', '.join(_NAMES)}, as in --map left=street_view_path."
            )
        if name in mapped:
            raise UsageError(f"--map names {name} twice.")
        mapped[name] = column
    return mapped


def _seen(table: Path, column: str) -> list[str]:
    """The column's first values that aren't empty.

    Raises:
        CatalogError: There is none, or the table is no CSV.
    """
    import csv

    from lib.stages.pair_table import FIELD_LIMIT, columns_of, delimiter_of

    at, parts = columns_of(table).index(column), delimiter_of(table)
    csv.field_size_limit(FIELD_LIMIT)
    with table.open(encoding="utf-8-sig", newline="", errors="replace") as file:
        rows = csv.reader(file, delimiter=parts)
        next(rows)
        try:
            filled = (row[at].strip() for row in rows if len(row) > at and row[at].strip())
            seen = list(islice(filled, _LOOKED_INTO))
        except csv.Error as error:
            raise CatalogError(f"{table} is no CSV at line {rows.line_num}: {error}.") from error
    if not seen:
        raise CatalogError(f"{table} has no row with anything in its column {column!r}.")
    return seen


def _kind(column: str, values: list[str], folder: Path) -> tuple[Kind, bool]:
    """What a column's values are, and whether they are panoramas.

    Raises:
        CatalogError: They are names of pictures, and not one of those is there.
    """
    there = [value for value in values if _is_file(folder / value)]
    # A caption may end in a file's name; a file's name that isn't there may hold no space.
    named = [v for v in values if Path(v).suffix.lower() in _PICTURES and (v in there or not v.split()[1:])]
    if len(named) < len(values) / 2:
        return "text", False
    pictures = [value for value in named if value in there]
    if not pictures:
        hint = "Use / between folders. " if "\\" in named[0] else ""
        raise CatalogError(
            f"column {column!r} names pictures, such as {named[0]!r}, and none of its first {len(named)} is "
            f"there: paths start from the table's folder, {folder}. {hint}Write paths from there."
        )
    wide = []
    for value in pictures:
        if "depth" in f"{column} {value}".lower() and _is_depth(folder / value):
            return "depth", False
        size = _size(folder / value)
        if size is not None:
            wide.append(size[0] > _PANORAMA * size[1])
    return "picture", bool(wide) and sum(wide) > len(wide) / 2


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _is_depth(path: Path) -> bool:
    """Whether a file reads as a map of distances: 16-bit X-rays do too, so its name is asked first."""
    from lib.media.depth import read_depth

    try:
        read_depth(path)
    except (UnreadableMediaError, OSError):
        return False
    return True


def _size(path: Path) -> tuple[int, int] | None:
    from lib.media.image import size_of

    try:
        return size_of(path)
    except (UnreadableMediaError, OSError):
        return None
