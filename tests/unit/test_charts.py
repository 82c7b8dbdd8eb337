"""Charts: what is drawn stands where its numbers say."""

import re

import numpy as np
import pytest
from markupsafe import Markup

from lib.charts import line_plot, shared_scale


def test_a_plot_puts_time_and_value_where_they_belong() -> None:
    svg = line_plot([0, 50, 100], {"ours": [0.0, 1.0, 0.0]}, chosen_s=[(0, 50)], cuts_s=[100])
    assert isinstance(svg, Markup)
    # 52 … 748 across, 34 (one) … 196 (zero) down.
    assert 'd="M52.0 196.0L400.0 34.0L748.0 196.0"' in svg
    assert re.search(r'class="shot"[^>]* x="52.0" y="34" width="348.0"', svg)
    assert re.search(r'class="cut"[^>]* x1="748.0"', svg)
    assert ">time (s)</text>" in svg


def test_a_plot_breaks_at_a_value_that_is_not_finite() -> None:
    svg = line_plot([0, 1, 2, 3, 4], {"ours": [0.0, 1.0, float("nan"), 1.0, 0.0]})
    path = re.search(r' d="([^"]+)"', svg)
    assert path
    assert path[1].count("M") == 2


def test_a_long_plot_stays_light_and_keeps_its_spike() -> None:
    values = np.zeros(20_000)
    values[12_345] = 1.0
    svg = line_plot(np.arange(20_000.0), {"ours": values})  # type: ignore[arg-type, dict-item]
    path = re.search(r' d="([^"]+)"', svg)
    assert path
    assert len(re.findall("[ML]", path[1])) <= 1400
    assert " 34.0" in path[1]


def test_a_series_of_another_length_than_its_times_is_refused() -> None:
    with pytest.raises(ValueError, match="'ours' has 1 values for 2 times"):
        line_plot([0, 1], {"ours": [1]})


def test_a_plot_of_nothing_says_so() -> None:
    assert "No values to draw" in line_plot([], {"ours": []})


def test_one_scale_holds_all_its_values() -> None:
    assert shared_scale([0.2, 0.9]) == (0.0, 1.0)
    assert shared_scale([-0.041, 0.2]) == (-0.25, 1.0)
    assert shared_scale([3.0, 48.5]) == (0.0, 50.0)


def test_a_long_plot_keeps_its_gap() -> None:
    values = np.zeros(20_000)
    values[10_000:10_100] = np.nan
    path = re.search(r' d="([^"]+)"', line_plot(np.arange(20_000.0), {"ours": values}))  # type: ignore[arg-type, dict-item]
    assert path
    assert path[1].count("M") == 2
