"""The course of every arm, by steps and by tokens."""

from collections.abc import Callable, Sequence

from arm_runs.panels import mean_curve, panels_svg

from ablation_arms.course import Course, Score
from ablation_arms.plan import RL_ARMS
from ablation_arms.results import SeedResults, runs_of
from igpo_trainer.observe.charts import Chart, Point, Series, Unit
from igpo_trainer.observe.estimates import Values
from igpo_trainer.observe.plots import BLUE, GREEN, GREY, ORANGE, PURPLE

COLOURS = dict(zip(RL_ARMS, (BLUE, GREEN, PURPLE, ORANGE, GREY), strict=True))
DASHED = ("GRPO", "IGPO, η = 1")
THOUSAND = 1000.0


def course_svg(title: str, value: Callable[[Score], Values], seeds: Sequence[SeedResults]) -> str:
    """A row for each SFT arm: a mean over problems and seeds, against steps and against network tokens."""
    charts = []
    for sft_arm in seeds[0].plan.treated:
        runs = [rl.courses for rl in runs_of(seeds, sft_arm)]
        for along, curve in (("step", _by_step), ("thousand network tokens", _by_tokens)):
            series = [
                Series(arm, curve([courses[arm] for courses in runs], value), COLOURS[arm], arm in DASHED)
                for arm in runs[0]
            ]
            charts.append(Chart(f"SFT: {sft_arm}", "", series, unit=Unit.SHARE, ceiling=1.0, along=along))
    count = len(runs_of(seeds, next(iter(seeds[0].plan.treated))))
    return panels_svg(title, f"Held-out problems; mean of {count} run{'s' if count > 1 else ''}.", charts, columns=2)


def _by_step(courses: Sequence[Course], value: Callable[[Score], Values]) -> list[Point]:
    return mean_curve([[(step, float(value(s).mean())) for step, s in course.scores.items()] for course in courses])


def _by_tokens(courses: Sequence[Course], value: Callable[[Score], Values]) -> list[Point]:
    """As by step, each point at the mean of the runs' tokens up to that step."""
    tokens = mean_curve([[(step, tokens / THOUSAND) for step, tokens in course.tokens.items()] for course in courses])
    return [(x or 0.0, y) for (_, x), (_, y) in zip(tokens, _by_step(courses, value), strict=True)]
