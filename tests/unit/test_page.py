"""Pages: how figures and names are written."""

import numpy as np
import pytest

from lib.page import cell, clock, figure, megabytes, readable, seconds, tick


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.7149, ".715"),
        (1.0, "1.000"),
        (0.99996, "1.000"),
        (-0.0414, "−.041"),
        (-0.0001, ".000"),
        (4.213, "4.21"),
        (48.51, "48.5"),
        (1204.4, "1,204"),
        (None, "–"),
        (float("inf"), "–"),
    ],
)
def test_a_figure_has_the_digits_it_deserves(value: float | None, text: str) -> None:
    assert figure(value) == text


def test_times_sizes_and_counts_read_as_people_write_them() -> None:
    assert [seconds(v) for v in (3.421, 59.96, 99.96, 312.4, 7501)] == [
        "3.42 s",
        "60.0 s",
        "1 min 40 s",
        "5 min 12 s",
        "2 h 05 min",
    ]
    assert [megabytes(v) for v in (0, 900, 48_300_112, 3_200_000_000)] == [
        "0.00 MB",
        "< 0.01 MB",
        "48.3 MB",
        "3,200 MB",
    ]
    assert [clock(v) for v in (12, 59.96, 3723.5)] == ["0:12.0", "1:00.0", "1:02:03.5"]
    assert [cell(v) for v in (12345, np.int32(3), 0.0021, np.float32(0.25), None, True, "x")] == [
        "12,345",
        "3",
        ".0021",
        ".250",
        "–",
        "yes",
        "x",
    ]
    assert [tick(v) for v in (0.0, 0.25, 1.0, -0.5, 10.0, 1500.0)] == ["0", ".25", "1", "−.5", "10", "1,500"]


def test_what_people_write_in_any_script_is_left_alone() -> None:
    assert (
        readable("каша, ünï, 日本, 👩\u200d🔬 soft\u00adhyphen")
        == "каша, ünï, 日本, 👩\u200d🔬 soft\u00adhyphen"
    )
