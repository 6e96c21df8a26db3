"""Geometry of the report's charts: from numbers to pixel positions. The template turns a Drawing into SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from igpo_trainer.observe.charts import Chart, Point, Series, Unit
from igpo_trainer.observe.figures import ABSENT
from igpo_trainer.observe.records import finite

WIDTH, HEIGHT = 560, 250
LEFT, RIGHT, TOP, BOTTOM = 54, 20, 24, 34
_MOST_POINTS = 300
_MOST_BARS = 120
_DOTTED_UP_TO = 24
_TREND_FROM = 20


@dataclass(frozen=True, slots=True)
class Tick:
    """A grid line: position in pixels and its text."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A path in pixels."""

    path: str
    colour: int
    dashed: bool = False
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Dot:
    """A marked value."""

    x: float
    y: float
    colour: int
    text: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One layer of one stacked bar."""

    x: float
    y: float
    width: float
    height: float
    colour: int
    text: str


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of the legend, with the last value."""

    name: str
    colour: int
    dashed: bool
    last: str


@dataclass(slots=True)
class Drawing:
    """A chart in pixels of a WIDTH × HEIGHT canvas. `hover`: x pixel and one text per series for every step drawn."""

    chart: Chart
    y_ticks: list[Tick] = field(default_factory=list)
    x_ticks: list[Tick] = field(default_factory=list)
    bands: list[Curve] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    legend: list[Key] = field(default_factory=list)
    limit: Tick | None = None
    hover: list[dict[str, object]] = field(default_factory=list)
    steps_per_point: int = 1
    trend_steps: int = 0


def thin(points: Sequence[Point], most: int) -> tuple[list[Point], int]:
    """Average neighbours until at most `most` points are left; returns them and the neighbours in each."""
    size = max(1, math.ceil(len(points) / most))
    if size == 1:
        return list(points), 1
    kept: list[Point] = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        known = [value for _, y in part if (value := finite(y)) is not None]
        kept.append((part[-1][0], math.fsum(known) / len(known) if known else None))
    return kept, size


def trailing_mean(points: Sequence[Point], width: int) -> list[Point]:
    """Mean of the last `width` known values at every point that has one."""
    known: list[float] = []
    means: list[Point] = []
    for x, y in points:
        if (value := finite(y)) is not None:
            known.append(value)
            part = known[-width:]
            means.append((x, math.fsum(part) / len(part)))
    return means


def nice_ticks(low: float, high: float, most: int = 6, *, whole: bool = False) -> list[float]:
    """Round values (1, 2, 2.5 or 5 times a power of ten apart) that span [low, high]; integers if `whole`."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))
    if whole:
        step = float(math.ceil(step))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(self.start + share * (self.end - self.start), 2)


@dataclass(frozen=True, slots=True)
class _Frame:
    """A chart, its thinned curves, its scales, and the drawing that is being made."""

    chart: Chart
    curves: Sequence[Sequence[Point]]
    xs: Sequence[float]
    x: _Scale
    y: _Scale
    drawing: Drawing


def draw(chart: Chart) -> Drawing:
    """Lay out a chart that is not empty."""
    drawing = Drawing(chart)
    thinned = [thin(series.points, _MOST_BARS if chart.stacked else _MOST_POINTS) for series in chart.series]
    drawing.steps_per_point = max((size for _, size in thinned), default=1)
    curves = [points for points, _ in thinned]
    xs = sorted({x for points in curves for x, _ in points})
    inset = (WIDTH - LEFT - RIGHT) / (2 * len(xs)) if chart.stacked else 0.0
    x_scale = _Scale(xs[0], xs[-1], LEFT + inset, WIDTH - RIGHT - inset)
    frame = _Frame(chart, curves, xs, x_scale, _y_axis(chart, curves, drawing), drawing)
    drawing.x_ticks = [
        Tick(x_scale(tick), f"{tick:g}") for tick in nice_ticks(xs[0], xs[-1], 8, whole=True) if xs[0] <= tick <= xs[-1]
    ] or [Tick(x_scale(xs[0]), f"{xs[0]:g}")]
    if chart.stacked:
        _bars(frame)
    else:
        for series, points in zip(chart.series, curves, strict=True):
            _curve(frame, series, points)
    _legend(frame)
    return drawing


def _y_axis(chart: Chart, curves: Sequence[Sequence[Point]], drawing: Drawing) -> _Scale:
    values = [value for points in curves for _, y in points if (value := finite(y)) is not None]
    if chart.stacked:
        sums: dict[float, float] = {}
        for points in curves:
            for x, y in points:
                sums[x] = sums.get(x, 0.0) + (finite(y) or 0.0)
        values = list(sums.values())
    values += [edge for series in chart.series for _, low, high in series.band for edge in (low, high)]
    values += [value for value in (chart.floor, chart.ceiling) if value is not None]
    if chart.limit is not None:
        values.append(chart.limit[0])
    ticks = nice_ticks(min(values), max(values), whole=chart.unit is Unit.COUNT)
    scale = _Scale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP)
    drawing.y_ticks = [Tick(scale(tick), _tick_text(tick, ticks, chart.unit)) for tick in ticks]
    if chart.limit is not None:
        drawing.limit = Tick(scale(chart.limit[0]), chart.limit[1])
    return scale


def _tick_text(tick: float, ticks: Sequence[float], unit: Unit) -> str:
    if unit is Unit.SHARE:
        return f"{100 * tick:.6g} %"
    widest = max(abs(ticks[0]), abs(ticks[-1]))
    if tick == 0:
        return "0"
    return f"{tick:.2g}" if widest < 1e-3 else f"{tick:.6g}"


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x:g} {y:g}" for x, y in points)


def _curve(frame: _Frame, series: Series, points: Sequence[Point]) -> None:
    x, y, drawing = frame.x, frame.y, frame.drawing
    if series.band:
        upper = [(x(at), y(high)) for at, _, high in series.band]
        lower = [(x(at), y(low)) for at, low, _ in reversed(series.band)]
        drawing.bands.append(Curve(_path([*upper, *lower]) + "Z", series.colour))
    with_trend = series.trend and len(points) > _TREND_FROM
    runs: list[list[Point]] = [[]]
    for point in points:
        if finite(point[1]) is None:
            runs.append([])
        else:
            runs[-1].append(point)
    for run in runs:
        if len(run) > 1:
            drawing.curves.append(Curve(_path(_pixels(frame, run)), series.colour, series.dashed, faint=with_trend))
        if not with_trend and (len(run) == 1 or len(points) <= _DOTTED_UP_TO):
            texts = [
                f"{series.name}: {frame.chart.unit.write(value)} at {frame.chart.along} {at:g}" for at, value in run
            ]
            placed = zip(_pixels(frame, run), texts, strict=True)
            drawing.dots += [Dot(left, top, series.colour, text) for (left, top), text in placed]
    if with_trend:
        width = max(3, len(points) // 15)
        drawing.trend_steps = width * drawing.steps_per_point
        mean = _pixels(frame, trailing_mean(points, width))
        if len(mean) > 1:
            drawing.curves.append(Curve(_path(mean), series.colour, series.dashed))


def _pixels(frame: _Frame, points: Sequence[Point]) -> list[tuple[float, float]]:
    return [(frame.x(at), frame.y(kept)) for at, value in points if (kept := finite(value)) is not None]


def _bars(frame: _Frame) -> None:
    pitch = (WIDTH - LEFT - RIGHT) / len(frame.xs)
    width = round(min(28.0, max(0.6, pitch * (0.8 if len(frame.xs) < 80 else 0.94))), 2)
    tops = dict.fromkeys(frame.xs, 0.0)
    for series, points in zip(frame.chart.series, frame.curves, strict=True):
        for at, value in points:
            kept = finite(value)
            if not kept:
                continue
            low, high = frame.y(tops[at]), frame.y(tops[at] + kept)
            tops[at] += kept
            text = f"{series.name}: {frame.chart.unit.write(kept)} at {frame.chart.along} {at:g}"
            left = round(frame.x(at) - width / 2, 2)
            frame.drawing.bars.append(Bar(left, high, width, round(low - high, 2), series.colour, text))


def _legend(frame: _Frame) -> None:
    write = frame.chart.unit.write
    for series in frame.chart.series:
        last = next((value for _, y in reversed(series.points) if (value := finite(y)) is not None), None)
        frame.drawing.legend.append(Key(series.name, series.colour, series.dashed, write(last)))
    by_x = [dict(points) for points in frame.curves]
    for at in frame.xs:
        texts = [write(values[at]) if at in values else ABSENT for values in by_x]
        frame.drawing.hover.append({"x": frame.x(at), "step": f"{at:g}", "values": texts})
