"""Texts that nobody vouches for: captions, reports and queries, checked before they are embedded."""

import unicodedata

from lib.errors import UnreadableMediaError

CHARACTER_LIMIT = 1_000_000
# A byte order mark and marks that neither show nor join.
_INVISIBLE = {"\ufeff", "\u200b", "\u2060"}
_KEPT = {"\n", "\t"}
# Unicode's bound for streams (UAX #15, Stream-Safe Text): putting marks in order takes the square of them.
_MOST_MARKS = 30


def checked_text(text: str) -> str:
    """A text fit to be embedded: in Unicode's composed form (NFC), no control characters, nothing around it.

    Lines stay, so that a report's sections can still be told. Length is no reason to refuse: an encoder reads
    long texts in windows (`lib.embedding.text`).

    Raises:
        UnreadableMediaError: Nothing to be read in it, no text at all, or more than a million characters.
    """
    if len(text) > CHARACTER_LIMIT:
        raise UnreadableMediaError(
            f"a text of {len(text):,} characters: more than the limit of {CHARACTER_LIMIT:,}"
        )
    if "\0" in text:
        raise UnreadableMediaError("a text with a NUL in it: is it text, or UTF-16 read as another encoding?")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UnreadableMediaError("a text with bytes that are no characters: save it as UTF-8")
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks > _MOST_MARKS:
            raise UnreadableMediaError(f"a text with more than {_MOST_MARKS} accents on one letter")
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    shown = "".join(
        character
        for character in lines
        if character in _KEPT or not (character in _INVISIBLE or unicodedata.category(character) == "Cc")
    ).strip()
    if not shown:
        raise UnreadableMediaError("an empty text")
    return shown
