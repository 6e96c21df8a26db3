import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.observe.figures import duration, number, percent, sparkline


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.500"),
        (0.0, "0.000"),
        (1e-5, "1.0e-05"),
        (2e7, "2.0e+07"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_a_number_shows_its_size_and_absence_is_a_dash(value, text):
    assert number(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.125, "12.5 %"), (1.0, "100.0 %"), (None, "–"), (math.nan, "–")])
def test_a_share_is_written_as_percent(value, text):
    assert percent(value, 1) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.21, "4.2 s"), (42, "42 s"), (185, "3:05"), (7385, "2:03:05"), (None, "–"), (119.7, "2:00")]
)
def test_a_duration_grows_from_seconds_to_hours(seconds, text):
    assert duration(seconds) == text


def test_a_sparkline_runs_from_its_lowest_to_its_highest_bar():
    assert sparkline([0.0, 0.5, 1.0], 10) == "▁▅█"
    assert sparkline([2.0, 2.0], 10) == "▁▁"
    assert sparkline([None, math.nan], 10) == ""


@given(st.lists(st.floats(-1e6, 1e6) | st.none(), max_size=200), st.integers(1, 40))
def test_a_sparkline_is_never_wider_than_asked(values, width):
    assert len(sparkline(values, width)) <= width
