"""Captions and reports that nobody vouches for."""

import pytest

from lib.errors import UnreadableMediaError
from lib.sentences import CHARACTER_LIMIT, checked_text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("  a cat \n", "a cat"),
        ("cafe\u0301", "café"),
        ("\ufeffa\u200b cat\x07", "a cat"),
        ("FINDINGS:\r\n\tclear", "FINDINGS:\n\tclear"),
        # A joiner means something within an emoji and in many scripts.
        ("👩\u200d🔬", "👩\u200d🔬"),
    ],
)
def test_a_text_is_composed_and_free_of_what_does_not_show(text, kept):
    assert checked_text(text) == kept


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "an empty text"),
        (" \t\n\u3000\xa0", "an empty text"),
        ("\x07\u200b", "an empty text"),
        ("a\0b", "NUL"),
        ("caf\udce9", "UTF-8"),
        ("a" + "\u0315\u0300" * 400_000, "accents"),
        ("a" * (CHARACTER_LIMIT + 1), "1,000,001 characters"),
    ],
)
def test_what_is_no_text_is_refused_with_its_reason(text, says):
    with pytest.raises(UnreadableMediaError, match=says):
        checked_text(text)


def test_ten_thousand_words_are_a_text():
    text = " ".join(["word"] * 10_000)
    assert checked_text(text) == text
