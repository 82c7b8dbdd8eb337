"""Which packets a frame needs, on GOPs small enough to work out by hand."""

from fractions import Fraction

import numpy as np
import pytest

from lib.media.timeline import Timeline

# Two GOPs as stored: I0 P3 B1 B2, then I6 with leading B4 B5, then P9 B7 B8.
STORED = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8]
KEYS = [0, 4]


@pytest.fixture
def timeline():
    is_key = np.isin(np.arange(10), KEYS)
    return Timeline(np.array(STORED) * 10 + 500, is_key, np.ones(10, bool), Fraction(1, 100), 10, True)


@pytest.mark.parametrize(
    ("wanted", "needed"),
    [
        ([2], [0, 3, 1, 2]),
        ([3], [0, 3]),
        ([9], [6, 4, 5, 9]),
        ([4], [0, 3, 1, 2, 6, 4]),  # leading: it refers to P3 as well
        ([0, 6], [0, 6]),
        ([], []),
    ],
)
def test_a_frame_needs_its_gop_up_to_itself_and_a_leading_one_the_gop_before(timeline, wanted, needed):
    found = timeline.needed(np.array(wanted, np.int64) * 10 + 500)
    assert sorted(np.array(STORED)[found]) == sorted(needed)


def test_time_counts_from_the_first_frame_to_the_end_of_the_last(timeline):
    assert (timeline.seconds(500), timeline.seconds(510), timeline.duration_s) == (0.0, 0.1, 1.0)


def test_a_frame_is_shown_until_the_next_one(timeline):
    assert [timeline.until(tick) for tick in (500, 550, 590)] == [510, 560, 600]


def test_a_hidden_frame_counts_neither_as_first_nor_as_shown(timeline):
    is_shown = np.arange(10) != 0
    hidden = Timeline(timeline.pts, timeline.is_key, is_shown, Fraction(1, 100), 10, True)
    assert (hidden.origin, hidden.frames, hidden.duration_s) == (510, 9, 0.9)
