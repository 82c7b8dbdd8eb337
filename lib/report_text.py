"""Radiology reports: what was seen, without why, how and against what it was taken."""

import re
from difflib import get_close_matches

_BLANK = re.compile(r"_{2,}|\[\*\*.{0,200}?\*\*\]")
_TITLE = re.compile(r"^[ \t]*(?:WET READ|FINAL REPORT|FINAL ADDENDUM)\b[ :]*", re.MULTILINE)
_NUMBER = re.compile(r"(?:^[ \t]*|(?<=[.:;]\s))\d{1,2}[.)]\s+(?=\D)", re.MULTILINE)
_KNOWN = (
    "FINDINGS AND IMPRESSION|FINDINGS ?/ ?IMPRESSION|FINDINGS?|IMPRESSION|CONCLUSIONS?|INDICATION|"
    r"COMPARISONS?|TECHNIQUE|EXAMINATION|EXAM|(?:CLINICAL )?HISTORY|NOTIFICATION|RECOMMENDATIONS?(?:\(S\))?"
)
# At a line's start any words in capitals; elsewhere, and in small letters, only what is known.
_HEADING = re.compile(
    rf"^[ \t]*(?P<line>[A-Z][A-Z ()/,&-]{{2,60}}|(?i:{_KNOWN})):(?=\s|$)"
    rf"|(?<=\s)(?P<inside>{_KNOWN}):(?=\s|$)",
    re.MULTILINE,
)
# A heading that names the view itself stands before findings.
_VIEW = re.compile(r"\b(?:chest|portable|views?|lateral|upright|ribs)\b")


def cleaned(report: str) -> str:
    """Findings and impression of a radiology report on one line: MIMIC-CXR's, or one written like it.

    As in MIMIC-CXR's own section files (MIT-LCP/mimic-cxr, txt/create_section_files.py) the last section of
    either name counts that isn't empty, misspelt or not; a conclusion is an impression, and a heading that
    names a view stands for findings. Where neither is there, it is what follows the first paragraph of the
    last section; else a comparison, in which some wrote the report; else all of it. Blanks of
    de-identification (`___`), the numbers of lists and the title line go.

    Returns:
        "" for a report with nothing in it.
    """
    text = _TITLE.sub("", report.replace("\r\n", "\n").replace("\r", "\n"))
    headings = list(_HEADING.finditer(text))
    if not headings:
        return _on_a_line(text)
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    sections = [
        (_kind(heading["line"] or heading["inside"]), text[heading.end() : end])
        for heading, end in zip(headings, ends, strict=True)
    ]
    told = {kind: body for kind, section in sections if kind and (body := _on_a_line(section))}
    seen = [told[kind] for kind in ("findings", "impression") if kind in told]
    if seen:
        return " ".join(seen)
    _, _, later = re.sub(r"\n[ \t]*\n", "\n\n", sections[-1][1].strip()).partition("\n\n")
    return _on_a_line(later) or told.get("comparison", "") or _on_a_line(text)


def _kind(heading: str) -> str:
    """`findings`, `impression` or `comparison`; "" for others."""
    name = " ".join(heading.lower().split())
    if "impression" in name or "conclusion" in name:
        return "impression"
    near = get_close_matches(name, ["impression", "findings", "comparison"], n=1, cutoff=0.8)
    if near:
        return near[0]
    return "findings" if "finding" in name or _VIEW.search(name) else ""


def _on_a_line(text: str) -> str:
    plain = " ".join(_NUMBER.sub("", _BLANK.sub(" ", text)).split())
    return re.sub(r"\s+([,.;:)])", r"\1", plain).strip(" ,;:")
