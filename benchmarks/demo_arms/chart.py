"""The course of the arms as one SVG file that needs nothing else."""

import math
from collections.abc import Mapping, Sequence

from demo_arms.plan import ARMS
from demo_arms.scores import Arm
from demo_arms.template import render
from igpo_trainer.observe import drawing
from igpo_trainer.observe.charts import Chart, Point, Series, Unit
from igpo_trainer.observe.plots import BLUE, GREY, ORANGE

COLOURS = {"IGPO": BLUE, "Resample": ORANGE, "GRPO": GREY}
HEAD = 54
"""Pixels above the chart for title and legend."""


def all_wrong_svg(seeds: Sequence[Mapping[str, Arm]]) -> str:
    """All-wrong training groups before rescue at every step, mean over seeds, one curve an arm."""
    chart = Chart(
        "All-wrong groups before rescue",
        f"Share of the step's training groups, mean of {len(seeds)} seed{'s' if len(seeds) > 1 else ''}.",
        [
            Series(name, _mean([arms[name].all_wrong for arms in seeds]), COLOURS[name], name == "GRPO", trend=True)
            for name in ARMS
        ],
        unit=Unit.SHARE,
        ceiling=1.0,
    )
    return render("arms.svg.jinja", d=drawing.draw(chart), canvas=drawing, head=HEAD, c=COLOURS)


def _mean(curves: Sequence[Sequence[tuple[int, float | None]]]) -> list[Point]:
    by_step: dict[int, list[float]] = {}
    for curve in curves:
        for step, value in curve:
            if value is not None:
                by_step.setdefault(step, []).append(value)
    return [(step, math.fsum(values) / len(values)) for step, values in sorted(by_step.items())]
