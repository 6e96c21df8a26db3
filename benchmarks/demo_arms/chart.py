"""The course of the arms as one SVG file that needs nothing else."""

from collections.abc import Mapping, Sequence

from arm_runs.panels import mean_curve, panels_svg

from demo_arms.plan import ARMS
from demo_arms.scores import Arm
from igpo_trainer.observe.charts import Chart, Series, Unit
from igpo_trainer.observe.plots import BLUE, GREY, ORANGE

COLOURS = {"IGPO": BLUE, "Resample": ORANGE, "GRPO": GREY}


def all_wrong_svg(seeds: Sequence[Mapping[str, Arm]]) -> str:
    """All-wrong training groups before rescue at every step, mean over seeds, one curve an arm."""
    series = [
        Series(name, mean_curve([arms[name].all_wrong for arms in seeds]), COLOURS[name], name == "GRPO", trend=True)
        for name in ARMS
    ]
    return panels_svg(
        "All-wrong groups before rescue",
        f"Share of the step's training groups, mean of {len(seeds)} seed{'s' if len(seeds) > 1 else ''}.",
        [Chart("", "", series, unit=Unit.SHARE, ceiling=1.0)],
    )
