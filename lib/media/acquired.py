"""When a scene was taken and of which tile it is: from a pattern, a STAC item, tags, or its name."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from lib.errors import CatalogError, UnreadableMediaError
from lib.media.source import open_regular

_DIRECTIVES = {"Y": r"[0-9]{4}", "y": r"[0-9]{2}", "m": r"[0-9]{2}", "d": r"[0-9]{2}", "j": r"[0-9]{3}",
               "H": r"[0-9]{2}", "M": r"[0-9]{2}", "S": r"[0-9]{2}"}  # fmt: skip
_STAC_LIMIT_BYTES = 8 << 20
_NAME_LIMIT = 80
_EARLIEST_YEAR = 1900  # below it, a date is a field that nobody filled in

_MGRS = r"(?P<mgrs>[0-9]{1,2}[C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V])"
_WRS = r"(?P<path>[0-9]{3})(?P<row>[0-9]{3})"
_TIME = r"(?P<date>[0-9]{8}T[0-9]{6})"
_PRODUCTS = tuple(
    re.compile(rf"(?<![A-Z0-9]){form}(?![0-9])", re.IGNORECASE)
    for form in (
        rf"S2(?P<sentinel>[A-D])_MSIL[0-9][A-C]_{_TIME}_N[0-9]{{4}}_R[0-9]{{3}}_T{_MGRS}",
        # Until 2016: made on the first date of the name, taken on the one behind the V.
        rf"S2(?P<sentinel>[A-D])_OPER_.*?_V{_TIME}",
        rf"S2(?P<sentinel>[A-D])_{_MGRS}_(?P<date>[0-9]{{8}})",
        rf"T{_MGRS}_{_TIME}",
        rf"HLS\.[LS]30\.T{_MGRS}\.(?P<doy>[0-9]{{7}})T[0-9]{{6}}",
        rf"L[A-Z]0(?P<landsat>[1-9])_L[0-9][A-Z]{{2}}_{_WRS}_(?P<date>[0-9]{{8}})",
        # Before the collections: path, row, year and day of the year in one.
        rf"L[A-Z](?P<landsat>[1-9]){_WRS}(?P<doy>[0-9]{{7}})[A-Z]{{3}}[0-9]{{2}}",
    )
)
_UNDATED = re.compile(r"S2[A-D]_OPER_", re.IGNORECASE)
_DAY = re.compile(
    r"(?<![0-9])(?P<y>(?:19|20)[0-9]{2})(?P<sep>[-_.]?)(?P<m>0[1-9]|1[0-2])(?P=sep)(?P<d>0[1-9]|[12][0-9]|3[01])"
    r"(?:T(?P<time>[0-9]{6}))?(?![0-9])"
)
_TAGS = (
    "acquisitiondatetime", "acquired", "sensing_time", "datatake_1_datatake_sensing_start",
    "product_start_time", "datetime",
)  # fmt: skip
_PLATFORM_TAGS = ("platform", "satelliteid", "spacecraft_name", "spacecraft_id")
_CLOUD_TAGS = ("eo:cloud_cover", "cloud_cover", "cloudcover", "cloud_coverage_assessment", "cloud_coverage")


@dataclass(frozen=True, slots=True)
class Told:
    """What one source says of a scene; `source` is its name in a sentence."""

    source: str = ""
    acquired: datetime | None = None
    tile: str = ""
    platform: str = ""
    cloud_cover: float | None = None


def acquisition_of(path: Path, tags: Mapping[str, str], *, pattern: str = "") -> Told:
    """When a scene was taken, and what is said of it besides; the first source that says it is believed.

    Dates, in this order: `pattern`, where it fits the name; a STAC item beside the file (`<stem>.json`);
    tags that speak of the acquisition; the file's name; TIFF's own DateTime. That comes last because TIFF 6.0
    defines it as when the image was created: mostly, the time of processing. A full date in a name was put
    there by someone who meant the acquisition.

    Tiles: `{tile}` in the pattern, the STAC item, a product's name, and where no pattern fits whatever
    precedes the date in the name.

    Args:
        path: Of the file; its folder may hold a STAC item.
        tags: Of the file.
        pattern: As `check_pattern` takes it.

    Raises:
        CatalogError: The pattern can't be used.
        UnreadableMediaError: The STAC item beside it has a date that is none.
    """
    stem = path.stem
    fitting = _of_pattern(stem, pattern) if pattern else None
    sources = [fitting, _of_stac(path), _of_tags(tags), _of_name(stem, is_tile_told=fitting is not None)]
    known = [source for source in (*sources, _of_creation(tags)) if source is not None]
    dated = next((source for source in known if source.acquired), Told())
    return Told(
        source=dated.source,
        acquired=dated.acquired,
        tile=tile_name(next((source.tile for source in known if source.tile), "")),
        platform=next((source.platform for source in known if source.platform), ""),
        cloud_cover=next((s.cloud_cover for s in known if s.cloud_cover is not None), None),
    )


def check_pattern(pattern: str) -> None:
    """Refuse a pattern of names that can't tell a date.

    It is held against a file's name without its ending: `%Y %m %d %j %y %H %M %S` as in strptime, of fixed
    width; `{tile}` for the tile; `*` for anything; `%%` for a percent sign.

    Raises:
        CatalogError: What is wrong with it.
    """
    if pattern:
        _compiled(pattern)


@lru_cache(64)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts, seen = [], []
    for piece in re.findall(r"%.?|\{tile\}|\*+|.", pattern, re.DOTALL):
        if piece == "{tile}" or (piece[0] == "%" and piece[1:] in _DIRECTIVES):
            name = piece[1:].rstrip("}")
            if name in seen:
                raise _bad(pattern, f"{piece} is in it twice")
            seen.append(name)
            parts.append(f"(?P<{name}>{_DIRECTIVES.get(name, '.+?')})")
        elif piece[0] == "%" and piece != "%%":
            raise _bad(pattern, f"{piece} is not known")
        elif piece in "{}/\\":
            raise _bad(pattern, f"{piece} can't stand in a name's pattern")
        else:
            parts.append(".*?" if piece[0] == "*" else re.escape(piece.replace("%%", "%")))
    if len({"Y", "y"} & set(seen)) != 1:
        raise _bad(pattern, "it needs a year, as %Y or %y")
    needs = {"d": "m", "H": "d" if "j" not in seen else "j", "M": "H", "S": "M"}
    for name, needed in needs.items():
        if name in seen and needed not in seen:
            raise _bad(pattern, f"%{name} says nothing without %{needed}")
    if "j" in seen and "m" in seen:
        raise _bad(pattern, "%j is the day of the year: %m has no place beside it")
    return re.compile("".join(parts), re.DOTALL)


def _bad(pattern: str, why: str) -> CatalogError:
    return CatalogError(
        f"pattern {pattern!r} won't do: {why}. It is held against a file's name without its ending, as in "
        "{tile}_%Y%m%d: %Y %m %d %j %y %H %M %S, {tile}, and * for anything."
    )


def _of_pattern(stem: str, pattern: str) -> Told | None:
    found = _compiled(pattern).fullmatch(stem)
    if found is None:
        return None
    told = found.groupdict()
    tile = told.pop("tile", "")
    try:
        moment = datetime.strptime(" ".join(told.values()), " ".join(f"%{name}" for name in told))
    except ValueError:
        return None
    return Told("its name by the catalog's pattern", moment.replace(tzinfo=UTC), tile)


def _of_stac(path: Path) -> Told | None:
    item = _stac_beside(path.with_suffix(".json"))
    if item is None:
        return None
    told = item.get("properties")
    told = told if isinstance(told, dict) else {}
    said = told.get("datetime") or told.get("start_datetime")
    acquired = _moment(said)
    if said and acquired is None:
        raise UnreadableMediaError(
            f"the STAC item beside it says that its date is {str(said)[:40]!r}: mend {path.stem}.json"
        )
    platform = told.get("platform")
    return Told(
        source="the STAC item beside it",
        acquired=acquired,
        tile=_stac_tile(told),
        platform=platform if isinstance(platform, str) else "",
        cloud_cover=_percent(told.get("eo:cloud_cover")),
    )


def _stac_beside(path: Path) -> dict[str, Any] | None:
    """The item in a file; None where it holds something else, or can't be read."""
    try:
        with open_regular(path) as file:
            text = file.read(_STAC_LIMIT_BYTES)
        item = json.loads(text)
    except (UnreadableMediaError, OSError, ValueError, RecursionError):
        return None
    is_item = isinstance(item, dict) and item.get("type") == "Feature" and "stac_version" in item
    return item if is_item else None


def _stac_tile(told: Mapping[str, Any]) -> str:
    grid, _, code = str(told.get("grid:code") or "").partition("-")
    square = [str(told.get(f"mgrs:{part}") or "") for part in ("utm_zone", "latitude_band", "grid_square")]
    path, row = (str(told.get(f"landsat:wrs_{part}") or "") for part in ("path", "row"))
    if grid == "MGRS" and code:
        return f"T{code}"
    if all(square):
        return "T" + square[0].zfill(2) + square[1] + square[2]
    if told.get("s2:mgrs_tile"):
        return "T" + str(told["s2:mgrs_tile"]).removeprefix("T")
    if path and row:
        return path.zfill(3) + row.zfill(3)
    return code if grid == "WRS2" else "-".join(filter(None, (grid, code)))


def _of_tags(tags: Mapping[str, str]) -> Told:
    told = {name.lower(): text for name, text in tags.items()}
    moments = (_moment(told.get(name, "").split(";")[0]) for name in _TAGS)
    acquired = next((moment for moment in moments if moment), None)
    if acquired is None and told.get("date_acquired"):
        day, time = told["date_acquired"], told.get("scene_center_time", "")
        acquired = _moment(f"{day}T{time}".rstrip("T")) or _moment(day)
    return Told(
        source="its tags",
        acquired=acquired,
        platform=next((told[name] for name in _PLATFORM_TAGS if told.get(name)), ""),
        cloud_cover=next((c for name in _CLOUD_TAGS if (c := _percent(told.get(name))) is not None), None),
    )


def _of_creation(tags: Mapping[str, str]) -> Told:
    return Told("its TIFF DateTime tag", _moment(tags.get("TIFFTAG_DATETIME")))


def _of_name(stem: str, *, is_tile_told: bool) -> Told:
    for product in _PRODUCTS:
        found = product.search(stem)
        acquired = _of_groups(found.groupdict()) if found else None
        if found and acquired:
            return Told("its name", acquired, _product_tile(found.groupdict()), _platform(found.groupdict()))
    days = () if _UNDATED.match(stem) else _DAY.finditer(stem)
    for found in days:
        acquired = _moment("-".join(found.group("y", "m", "d")) + f"T{found['time'] or '000000'}")
        if acquired:
            return Told("its name", acquired, "" if is_tile_told else stem[: found.start()].rstrip("_-. "))
    square = re.search(rf"(?<![A-Z0-9])T{_MGRS}(?![A-Z0-9])", stem)
    return Told("its name", None, _product_tile(square.groupdict()) if square else "")


def _of_groups(told: Mapping[str, str | None]) -> datetime | None:
    if told.get("doy"):
        try:
            return datetime.strptime(str(told["doy"]), "%Y%j").replace(tzinfo=UTC)
        except ValueError:
            return None
    return _moment(told["date"])


def _product_tile(told: Mapping[str, str | None]) -> str:
    if told.get("mgrs"):
        return "T" + str(told["mgrs"]).zfill(5).upper()
    return f"{told.get('path') or ''}{told.get('row') or ''}"


def _platform(told: Mapping[str, str | None]) -> str:
    if told.get("sentinel"):
        return f"sentinel-2{told['sentinel']}".lower()
    return f"landsat-{told['landsat']}" if told.get("landsat") else ""


def _moment(text: object) -> datetime | None:
    """A date and time in ISO 8601 or as TIFF and EXIF write them; in UTC where no zone is given."""
    if not isinstance(text, str):
        return None
    iso = re.sub(r"^(\d{4}):(\d\d):(\d\d)\b", r"\1-\2-\3", text.strip())
    try:
        moment = datetime.fromisoformat(iso)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return moment if moment.year >= _EARLIEST_YEAR else None


def _percent(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number <= 100 else None


def require_past(told: Told) -> datetime:
    """The date of an acquisition.

    Raises:
        UnreadableMediaError: There is none, or it is yet to come; the message says what to do.
    """
    if told.acquired is None:
        raise UnreadableMediaError(
            "its date is not in its metadata nor its name: give `pattern` in the catalog entry, as "
            "{tile}_%Y%m%d, or put a STAC item beside it"
        )
    # A day's grace: clocks, and zones that nobody wrote down.
    if told.acquired > datetime.now(UTC) + timedelta(days=1):
        raise UnreadableMediaError(
            f"its date, {told.acquired:%Y-%m-%d} from {told.source}, is yet to come: mend it there, or give "
            "`pattern` in the catalog entry, as {tile}_%Y%m%d"
        )
    return told.acquired


def tile_name(raw: str) -> str:
    """A tile's name of letters, digits, `.`, `-` and single `_`, fit for a file and for a partition key.

    Where that changes it, a hash of what it was is added, so that two names don't become one.
    """
    # Accents off, so that they don't take their letters with them.
    plain = unicodedata.normalize("NFKD", raw).encode("ascii", "ignore").decode()
    plain = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9.-]+", "_", plain)).strip("._-")[:_NAME_LIMIT]
    if plain == raw:
        return raw
    return f"{plain or 'tile'}-{hashlib.sha256(raw.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
