import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.observe.charts import Chart, Series, Unit
from igpo_trainer.observe.drawing import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, draw, nice_ticks, thin, trailing_mean

POINTS = st.lists(st.floats(-1e5, 1e5) | st.none(), min_size=1, max_size=60).map(
    lambda values: [(float(step), value) for step, value in enumerate(values, start=1)]
)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_span_the_values_and_are_few(low, width):
    ticks = nice_ticks(low, low + width)
    slack = 1e-6 * max(1.0, abs(low), width)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + width - slack
    assert 2 <= len(ticks) <= 8


def test_ticks_of_counts_are_whole():
    assert nice_ticks(0, 12, whole=True) == [0, 3, 6, 9, 12]
    assert nice_ticks(0, 1, whole=True) == [0, 1]


@given(POINTS)
def test_thinning_keeps_the_mean_of_what_it_joins(points):
    kept, size = thin(points, 7)
    assert len(kept) <= 7
    for index, (x, value) in enumerate(kept):
        part = points[index * size : (index + 1) * size]
        known = [y for _, y in part if y is not None]
        assert x == part[-1][0]
        assert value == (math.fsum(known) / len(known) if known else None)


def test_a_trailing_mean_skips_what_is_absent():
    assert trailing_mean([(1, 1.0), (2, None), (3, 3.0), (4, 8.0)], 2) == [(1, 1.0), (3, 2.0), (4, 5.5)]


def test_a_curve_passes_through_its_values_in_pixels():
    drawing = draw(Chart("t", "n", [Series("s", [(0, 0.0), (10, 1.0)], 0)], Unit.SHARE))
    assert drawing.curves[0].path == f"M{LEFT} {HEIGHT - BOTTOM} L{WIDTH - RIGHT} {TOP}"
    assert [tick.text for tick in drawing.y_ticks] == ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]
    assert [dot.text for dot in drawing.dots] == ["s: 0.0 % at step 0", "s: 100.0 % at step 10"]


def test_an_absent_value_breaks_the_curve_and_lone_values_become_dots():
    drawing = draw(Chart("t", "n", [Series("s", [(1, 1.0), (2, 2.0), (3, None), (4, 2.0)], 0)]))
    assert len(drawing.curves) == 1
    assert [dot.text for dot in drawing.dots][-1] == "s: 2 at step 4"


def test_stacked_bars_stand_on_each_other():
    chart = Chart("t", "n", [Series("a", [(1, 2.0)], 0), Series("b", [(1, 1.0)], 1)], Unit.COUNT, stacked=True)
    low, high = draw(chart).bars
    assert high.y + high.height == pytest.approx(low.y, abs=0.02)
    assert low.height == pytest.approx(2 * high.height, abs=0.02)


def test_the_legend_names_the_last_value_and_hover_every_one():
    drawing = draw(Chart("t", "n", [Series("a", [(1, 0.25), (2, None)], 0), Series("b", [(2, 0.5)], 1)], Unit.SHARE))
    assert [(key.name, key.last) for key in drawing.legend] == [("a", "25.0 %"), ("b", "50.0 %")]
    assert [point["values"] for point in drawing.hover] == [["25.0 %", "–"], ["–", "50.0 %"]]


@given(POINTS, st.sampled_from(Unit), st.booleans(), st.booleans())
def test_everything_drawn_stays_inside_the_picture(points, unit, trend, stacked):
    if stacked:
        points = [(x, None if y is None else abs(y)) for x, y in points]
    chart = Chart("t", "n", [Series("s", points, 0, trend=trend)], unit, stacked=stacked, limit=(1.0, "limit"))
    if chart.is_empty:
        return
    drawing = draw(chart)
    numbers = [
        tuple(float(each) for each in pair.split())
        for curve in drawing.curves
        for pair in curve.path.strip("MZ").replace("L", ",").split(",")
    ]
    numbers += [(dot.x, dot.y) for dot in drawing.dots]
    numbers += [corner for bar in drawing.bars for corner in ((bar.x, bar.y), (bar.x + bar.width, bar.y + bar.height))]
    assert all(0 <= x <= WIDTH and TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1 for x, y in numbers)


def test_not_a_number_is_drawn_as_absent():
    assert Chart("t", "n", [Series("s", [(1, math.nan), (2, None)], 0)]).is_empty
