"""What every HTML page of Dinolake shares: templates, how hostile text and figures are written, whole files.

A page is one file that loads nothing: no scripts, no fonts, pictures as base64; its own policy forbids them.
"""

import base64
import functools
import json
import math
import unicodedata
import uuid
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup

MISSING = "–"
# Marks that reorder the letters around them, so that `gpj.exe` reads as `exe.jpg`.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_PICTURE_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}


def readable(text: str) -> str:
    r"""Show control characters, line breaks, bidi marks and undecodable bytes as escapes, such as `\n`."""
    if text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode()
        if c in _BIDI or unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"}
        else c
        for c in text
    )


def paragraphs(prose: str) -> list[str]:
    """Split prose at blank lines; line breaks within a paragraph become spaces."""
    return [" ".join(block.split()) for block in prose.replace("\r\n", "\n").split("\n\n") if block.strip()]


def figure(value: float | None) -> str:
    """Write a measured number with the digits it deserves: `.715`, `2.34`, `1,204`; none is a dash."""
    if value is None or not math.isfinite(value):
        return MISSING
    size = abs(value)
    if size < 1.0005:  # what rounds to 1.000 is still a rate
        text = f"{size:.3f}".removeprefix("0")
    elif size < 9.995:
        text = f"{size:.2f}"
    elif size < 999.95:
        text = f"{size:.1f}"
    else:
        text = f"{size:,.0f}"
    return f"−{text}" if value < 0 and text != ".000" else text


def tick(value: float) -> str:
    """Write a round number at an axis: `0`, `.25`, `1`, `−.5`, `1,500`."""
    text = f"{abs(value):,.3f}".rstrip("0").rstrip(".")
    return ("−" if value < 0 and text != "0" else "") + (text if text == "0" else text.removeprefix("0"))


def signed(value: float) -> str:
    """Write a difference with its sign, the plus included."""
    text = figure(value)
    return text if text.startswith("−") or text == ".000" else f"+{text}"


def count(value: int) -> str:
    """Write a count with thousands separators."""
    return f"{value:,}"


def seconds(value: float) -> str:
    """Write a duration: `3.42 s`, `34.2 s`, `5 min 12 s`, `2 h 05 min`."""
    if value < 99.95:
        return f"{value:.2f} s" if value < 9.995 else f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(value / 60)
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def megabytes(value: int) -> str:
    """Write bytes as MB (10⁶ bytes)."""
    size = value / 1e6
    digits = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return "< 0.01 MB" if 0 < size < 0.005 else f"{size:,.{digits}f} MB"


def clock(at_s: float) -> str:
    """Write a moment of a film: `0:12.0`, `1:02:03.5`."""
    tenths = round(at_s * 10)
    minutes, rest = divmod(tenths, 600)
    tail = f"{rest // 10:02d}.{rest % 10}"
    return f"{minutes}:{tail}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{tail}"


def data_uri(picture: bytes) -> Markup:
    """Make a PNG or JPEG an address that holds the picture itself.

    Raises:
        ValueError: The bytes are neither.
    """
    for magic, mime in _PICTURE_TYPES.items():
        if picture.startswith(magic):
            # Markup: base64 has nothing to escape, and looking at megabytes letter by letter takes seconds.
            return Markup("data:{};base64,{}").format(mime, Markup(base64.b64encode(picture).decode()))  # noqa: S704
    raise ValueError(
        f"a page takes PNG or JPEG pictures; these bytes start with {picture[:8]!r}: encode them first"
    )


def web_link(address: str) -> str:
    """Give the address back if a browser may safely follow it, else (`javascript:` …) an empty string."""
    return address if address.startswith(("https://", "http://")) else ""


def file_link(path: Path, *, start_s: float | None = None, end_s: float | None = None) -> str:
    """Link to a local file, of any name; with times, to that moment of a film (a media fragment).

    A relative path stays relative to the page.
    """
    address = path.as_uri() if path.is_absolute() else f"./{quote(str(path), errors='surrogateescape')}"
    if start_s is None:
        return address
    return f"{address}#t={start_s:.2f}" + ("" if end_s is None else f",{end_s:.2f}")


def is_number(value: object) -> bool:
    """Tell numbers (numpy's included) from text, None and truth values."""
    return hasattr(value, "__float__") and not isinstance(value, str | bool)


def cell(value: object) -> str:
    """Write one cell of a table: counts with separators, numbers with sensible digits, None as a dash."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if hasattr(value, "__index__"):
        return count(int(value.__index__()))
    if not is_number(value):
        return str(value)
    number = float(value)  # type: ignore[arg-type]
    # Three decimals are right for rates; a plain table may also hold milliseconds, which they would swallow.
    return (
        f"{number:.2g}".replace("0.", ".", 1).replace("-", "−", 1)
        if 0 < abs(number) < 0.01
        else figure(number)
    )


def numeric_columns(rows: Sequence[Sequence[object]], width: int) -> list[bool]:
    """Say of each column whether it holds numbers only (and at least one): those are aligned to the right."""
    columns = [[row[i] for row in rows if row[i] is not None] for i in range(width)]
    return [bool(column) and all(is_number(value) for value in column) for column in columns]


def render_page(template: str, **values: object) -> str:
    """Fill a whole page. Plain text, as adding to Markup would escape what is added."""
    return str(render(template, **values))


def render(template: str, **values: object) -> Markup:
    """Fill one of lib/templates; whatever is not Markup is made readable and escaped on its way in."""
    return Markup(_environment().get_template(template).render(**values))  # noqa: S704 (autoescaped throughout)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template_source),
        autoescape=True,
        finalize=lambda value: (
            value if isinstance(value, Markup) or not isinstance(value, str) else readable(value)
        ),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        f.__name__: f
        for f in (
            paragraphs,
            figure,
            tick,
            signed,
            count,
            seconds,
            megabytes,
            clock,
            data_uri,
            web_link,
            cell,
        )
    }
    environment.globals["numeric_columns"] = numeric_columns
    return environment


def _template_source(name: str) -> str:
    return resources.files("lib").joinpath("templates", name).read_text("utf-8")


def write_page(folder: Path, data: dict[str, object], page: str) -> Path:
    """Write `report.json`, then `report.html`, each moved in whole; gives the page's path.

    Both are bytes before either file is touched, so that an error leaves the old pair standing.
    """
    # A name that is no UTF-8 comes as lone surrogates; backslashreplace writes JSON's own escape for them.
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace")
    whole = page.encode("utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "report.json", text + b"\n")
    write_whole(folder / "report.html", whole)
    return folder / "report.html"


def write_whole(path: Path, content: bytes) -> None:
    """Write beside the path, then move into place: a reader sees the old file or the new one, never half."""
    # Not tempfile: its files are readable by their owner alone, and a report is there to be shown.
    half = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        half.write_bytes(content)
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
