"""The table that tells an archive's pairs: a CSV of the user's own, or what a dataset reads."""

import csv
import hashlib
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lib.catalog import Archive
from lib.datasets import PairRow, dataset
from lib.errors import CatalogError
from lib.sections import PairsConfig

_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"}
FIELD_LIMIT = 1 << 24
_SHOWN = 28


@dataclass(frozen=True, slots=True)
class Told:
    """One row of the table; `reason` says why it is refused, `note` what was left out of it."""

    row: PairRow
    line: int
    reason: str = ""
    note: str = ""


def read_table(archive: Archive, root: Path) -> Iterator[Told]:
    """Every row, in order; a row that won't do carries its reason.

    Args:
        archive: The catalog entry.
        root: The table, or a dataset's folder.

    Raises:
        CatalogError: No table is there, or it lacks a column.
        DatasetError: The dataset's own lists aren't there.
    """
    if archive.dataset is not None:
        told = dataset(archive.dataset)
        if told.read_pair_rows is None:
            raise CatalogError(f"dataset {archive.dataset!r} tells no pairs.")
        rows: Iterator[Told] = (Told(row, at) for at, row in enumerate(told.read_pair_rows(root), start=1))
    else:
        rows = _read_csv(root, archive.pair_sides())
    return _checked(rows)


def folder_of(archive: Archive, root: Path) -> Path:
    """The folder that a table's paths start from."""
    if archive.dataset is not None:
        return root
    told = archive.pair_sides().folder
    return Path(told).expanduser().absolute() if told else root.parent


def columns_of(path: Path) -> list[str]:
    """The names in a table's first line.

    Raises:
        CatalogError: It can't be read, or has none.
    """
    return _opened(path)[0]


def delimiter_of(path: Path) -> str:
    """What parts the table's columns: a comma, a tab or a semicolon."""
    return _opened(path)[1]


def _opened(path: Path) -> tuple[list[str], str]:
    """The columns, and what parts them."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline(1 << 20)
    except FileNotFoundError as error:
        raise CatalogError(f"the table {path} isn't there. Mount it, or mend `root` in the entry.") from error
    except IsADirectoryError as error:
        raise CatalogError(f"{path} is a folder; pairs are told by a CSV file in it: give that.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path} is no text in UTF-8 ({error}). Save it again as CSV in UTF-8.") from error
    parts = max((",", "\t", ";"), key=first.count)
    columns = [name.strip() for name in next(csv.reader([first], delimiter=parts), [])]
    if not any(columns):
        raise CatalogError(f"{path} is empty: its first line should name the columns, left,right.")
    if len(set(columns)) < len(columns):
        raise CatalogError(f"{path} names a column twice: {', '.join(columns)}.")
    return columns, parts


def column_of(config: PairsConfig, side: str) -> str:
    """The table's column for a side."""
    return config.side(side).column or side


def _read_csv(path: Path, config: PairsConfig) -> Iterator[Told]:
    columns, parts = _opened(path)
    names: dict[str, str] = {side: column_of(config, side) for side in ("left", "right")}
    names |= {name: config.columns.get(name, name) for name in ("id", "split", "group", "lon", "lat")}
    wanted = [names["left"], names["right"], *config.columns.values()]
    missing = [name for name in wanted if name not in columns]
    if missing:
        near = [c for c in columns if c.lower() in {name.lower() for name in missing}]
        if near:
            raise CatalogError(
                f"{path} calls its columns {', '.join(columns)}: capitals count. Say which is which: "
                f"`dinolake add … --map {missing[0]}={near[0]}`."
            )
        raise CatalogError(
            f"{path} has no column {', '.join(map(repr, missing))}; it has {', '.join(columns)}. Say "
            f"which is which: `dinolake add … --map left=COLUMN --map right=COLUMN`."
        )
    csv.field_size_limit(FIELD_LIMIT)
    with path.open(encoding="utf-8-sig", newline="", errors="replace") as file:
        reader = csv.reader(file, delimiter=parts)
        next(reader)
        number = reader.line_num + 1
        try:
            for values in reader:
                if any(value.strip() for value in values):
                    yield _row(columns, values, names, number)
                # A cell may span lines: a row is where it begins.
                number = reader.line_num + 1
        except csv.Error as error:
            yield Told(PairRow(f"line {number}", None, None), number, f"no CSV from here on: {error}")


def _row(columns: list[str], fields: list[str], names: Mapping[str, str], number: int) -> Told:
    values = dict(zip(columns, fields, strict=False))

    def value(name: str) -> str:
        return (values.get(names[name]) or "").strip()

    faults = []
    if any(field.strip() for field in fields[len(columns) :]):
        faults.append(
            f"it has {len(fields)} fields where the first line names {len(columns)}: put a cell that holds "
            'commas in quotes, "like, this"'
        )
    split: str | None = value("split").lower() or None
    if split is not None and split not in _SPLITS:
        faults.append(f"split {split!r} is none of train, val, test")
    degrees = {name: _degrees(value(name), limit) for name, limit in (("lon", 180), ("lat", 90))}
    is_placeless = any(value(name) and degrees[name] is None for name in degrees)
    row = PairRow(
        id=value("id"), left=value("left") or None, right=value("right") or None,
        split=_SPLITS.get(split or ""), group=value("group") or None,
        lon=degrees["lon"] if degrees["lat"] is not None else None,
        lat=degrees["lat"] if degrees["lon"] is not None else None,
    )  # fmt: skip
    if "\ufffd" in f"{row.left}{row.right}":
        faults.append("it is no UTF-8")
    note = (
        f"its place is left out: {value('lon')!r}, {value('lat')!r} are no longitude and latitude in degrees"
        if is_placeless
        else ""
    )
    return Told(row, number, "; ".join(faults), note)


def _degrees(text: str, limit: float) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) <= limit else None


def _checked(rows: Iterator[Told]) -> Iterator[Told]:
    """Ids given to rows without one; rows that stand twice, or lack a side, with their reason."""
    by_id: dict[str, int] = {}
    by_sides: dict[tuple[str | None, str | None], int] = {}
    for told in rows:
        row, reason = told.row, told.reason
        sides = row.left, row.right
        name = re.sub(r"[\x00-\x1f\x7f#]", "_", row.id) or _named(row)
        if not reason and row.right is None:
            reason = "a left without any right" if row.left else "neither a left nor a right"
        elif not reason and row.left == row.right:
            reason = "both sides are the same file or text"
        elif not reason and row.id and name in by_id:
            reason = f"its id {row.id!r} stands in line {by_id[name]} already"
        elif not reason and sides in by_sides:
            reason = f"the same pair stands in line {by_sides[sides]} already"
        if reason and (name in by_id or not row.id):
            name = f"{name}~{told.line}"
        by_id.setdefault(name, told.line)
        by_sides.setdefault(sides, told.line)
        yield replace(told, row=replace(row, id=name), reason=reason)


def _named(row: PairRow) -> str:
    """An id from both sides: file names without ending, or a text's first words, and a mark of the whole."""
    whole = hashlib.sha256(f"{row.left}\x00{row.right}".encode()).hexdigest()[:8]
    words = "+".join(_short(side) for side in (row.left, row.right) if side)
    return f"{words}~{whole}"


def _short(side: str) -> str:
    stem = Path(side).stem if re.fullmatch(r"\S+\.\w{2,5}", side) else side
    plain = unicodedata.normalize("NFC", stem)
    return re.sub(r"[^\w.-]+", "_", plain).strip("_")[:_SHOWN]
