"""Which frames are chosen, against slow references and by hand."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from lib.errors import UsageError
from lib.media.sampling import (
    AtIntervals,
    Between,
    Everything,
    Exactly,
    Keyframes,
    Sampling,
    choose_frames,
    choose_ticks,
    keep_cuts,
    luma_difference,
)
from lib.media.timeline import Timeline


@dataclass
class BareFrame:
    key_frame: bool


def timeline_of(ticks, *, time_base=Fraction(1, 1000), step=40, keys=(0,)):
    ticks = np.array(ticks, np.int64)
    is_key = np.isin(np.arange(len(ticks)), keys)
    return Timeline(ticks, is_key, np.ones(len(ticks), bool), time_base, step, True)


def irregular(seed):
    rng = np.random.default_rng(seed)
    ticks = 700 + np.concatenate([[0], np.cumsum(rng.integers(1, 2500, 60))])
    return timeline_of(ticks, step=int(rng.integers(1, 3000)), keys=range(0, 61, 7))


def test_the_frame_shown_at_each_second_is_taken_once():
    # Shown at 0, 1, 2, 3, 4 s: the frames of 0, 0.95, 1.9, 1.9 again, and 3.6 s.
    timeline = timeline_of([200, 500, 1150, 2100, 3800, 4260], step=100)
    assert choose_ticks(AtIntervals(Fraction(1)), timeline).tolist() == [200, 1150, 2100, 3800]


@pytest.mark.parametrize("per_second", [Fraction(1, 3), Fraction(1), Fraction(30000, 1001)])
@pytest.mark.parametrize("seed", range(3))
def test_intervals_agree_with_looking_up_every_target(per_second, seed):
    timeline = irregular(seed)
    expected, k = set(), 0
    while k / per_second * 1000 < timeline.end - timeline.origin:
        expected.add(max(tick for tick in timeline.pts.tolist() if tick - 700 <= k / per_second * 1000))
        k += 1
    assert choose_ticks(AtIntervals(per_second), timeline).tolist() == sorted(expected)


def test_a_constant_rate_gives_the_same_phase_each_second():
    ntsc = timeline_of(np.arange(300) * 1001, time_base=Fraction(1, 30000), step=1001)
    assert choose_ticks(AtIntervals(Fraction(1000, 1001)), ntsc).tolist() == [n * 30030 for n in range(10)]


@pytest.mark.parametrize(
    "choice",
    [
        AtIntervals(Fraction(1)),
        AtIntervals(Fraction(7, 2)),
        Keyframes(),
        Everything(),
        Exactly(frozenset({700, 12345})),
        Between(((1.5, 4.0), (20.0, 20.001))),
    ],
)
def test_choosing_from_timestamps_and_from_frames_as_they_come_agree(choice):
    timeline = irregular(5)
    frames = [(tick, BareFrame(is_key)) for tick, _, is_key in timeline.spans()]
    as_they_come = [tick for tick, _ in choose_frames(choice, timeline, frames)]
    assert as_they_come == choose_ticks(choice, timeline).tolist()


def test_where_the_beginning_is_lost_the_first_frame_that_comes_stands_for_it():
    timeline = timeline_of([0, 100, 200, 300, 400], step=100)
    late = [(tick, BareFrame(False)) for tick in (200, 300, 400)]
    for choice in (AtIntervals(Fraction(1)), Keyframes()):
        assert [tick for tick, _ in choose_frames(choice, timeline, late)] == [200]


def test_a_span_takes_what_is_on_screen_within_it():
    timeline = timeline_of([0, 1000, 2000, 3000], step=1000)
    assert choose_ticks(Between(((1.5, 3.0),)), timeline).tolist() == [1000, 2000]


def test_a_timestamp_far_away_costs_no_memory():
    timeline = timeline_of([0, 10**15], step=40)
    assert choose_ticks(AtIntervals(Fraction(1000)), timeline).tolist() == [0, 10**15]


def thumbnails(levels):
    return [(at, np.full((4, 4), level, np.uint8)) for at, level in enumerate(levels)]


def test_cuts_are_kept_with_the_first_frame():
    levels = [10, 11, 10, 90, 91, 90, 92, 20, 20, 20]
    assert [at for at, _ in keep_cuts(thumbnails(levels))] == [0, 3, 7]


def test_fast_motion_and_single_flashes_are_no_cuts():
    motion = [10, 40, 70, 100, 130, 160, 190]
    flash = [10, 10, 10, 250, 10, 10, 10]
    assert [at for at, _ in keep_cuts(thumbnails(motion))] == [0]
    assert [at for at, _ in keep_cuts(thumbnails(flash))] == [0]


def test_luma_difference_does_not_wrap_around():
    assert luma_difference(np.uint8([[0, 255]]), np.uint8([[255, 250]])) == 130.0


@pytest.mark.parametrize("wrong", [{"mode": "random"}, {"per_second": 0}, {"per_second": float("nan")}])
def test_a_sampling_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(UsageError):
        Sampling(**wrong)
