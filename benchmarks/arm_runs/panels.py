"""Charts side by side in one SVG file that needs nothing else, under one title and one legend."""

import math
from collections.abc import Sequence
from pathlib import Path

from arm_runs.template import render
from igpo_trainer.observe import drawing
from igpo_trainer.observe.charts import Chart, Point

HEAD = 62
"""Pixels for title, note and legend."""
GAP = 14


def panels_svg(title: str, note: str, charts: Sequence[Chart], *, columns: int = 1) -> str:
    """Draw charts that have the same series, row by row."""
    places = [divmod(index, columns) for index in range(len(charts))]
    panels = [
        {"d": drawing.draw(chart), "x": column * drawing.WIDTH, "y": HEAD + row * (drawing.HEIGHT + GAP)}
        for chart, (row, column) in zip(charts, places, strict=True)
    ]
    rows = math.ceil(len(charts) / columns)
    return render(
        Path(__file__).parent / "panels.svg.jinja",
        title=title,
        note=note,
        panels=panels,
        canvas=drawing,
        width=columns * drawing.WIDTH,
        height=HEAD + rows * (drawing.HEIGHT + GAP),
    )


def mean_curve(curves: Sequence[Sequence[Point]]) -> list[Point]:
    """Mean over curves at every x that one of them has a value for."""
    by_x: dict[float, list[float]] = {}
    for curve in curves:
        for x, value in curve:
            if value is not None:
                by_x.setdefault(x, []).append(value)
    return [(x, math.fsum(values) / len(values)) for x, values in sorted(by_x.items())]
