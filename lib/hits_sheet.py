"""A page of search hits to look at: the query, then each moment or place with its picture and score."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lib.page import data_uri, file_link, render_page


@dataclass(frozen=True, slots=True)
class HitCard:
    """One hit; `thumbnail` is PNG or JPEG, `file` is linked at the moment's start, pictures have no times."""

    title: str
    score: float
    thumbnail: bytes | None = None
    start_s: float | None = None
    end_s: float | None = None
    file: Path | None = None
    # Of a place: where and when.
    place: str = ""


def hits_sheet(
    query: bytes | None,
    hits: Sequence[HitCard],
    *,
    archive: str,
    asked: str,
    contract: str = "",
    warnings: Sequence[str] = (),
) -> str:
    """Make the page of `dinolake search --sheet`; best hits first, self-contained, without scripts.

    Args:
        query: The picture searched with (PNG or JPEG), None for a query of text.
        hits: Best first.
        archive: Where they were looked for.
        asked: The query in words: its file name, its id, its text, the filter.
        contract: The id of the contract that the scores belong to.
        warnings: What limits their meaning, a sentence each.
    """
    cards = [
        {
            "hit": hit,
            "picture": data_uri(hit.thumbnail) if hit.thumbnail else "",
            "link": file_link(hit.file, start_s=hit.start_s, end_s=hit.end_s) if hit.file else "",
        }
        for hit in hits
    ]
    return render_page(
        "hits.html.j2",
        query=data_uri(query) if query else "",
        cards=cards,
        archive=archive,
        asked=asked,
        contract=contract,
        warnings=warnings,
    )
