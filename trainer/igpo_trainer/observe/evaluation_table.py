"""Evaluations and their comparison as text for a terminal."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from igpo_trainer.observe.comparison import Comparison
from igpo_trainer.observe.estimates import Difference
from igpo_trainer.observe.records import EvaluationRecord

_WIDTH = 132


def evaluation_table(records: Sequence[EvaluationRecord]) -> str:
    """Draw a row a data set, below it one a difficulty where there are several, and what makes a number doubtful."""
    drawn = Table(
        "data set", "problems", "samples", "T", "accuracy", "95 % interval", "pass@k", "all wrong", "answers", box=None
    )
    for r in records:
        interval = None if r.interval_low is None or r.interval_high is None else (r.interval_low, r.interval_high)
        drawn.add_row(
            r.dataset,
            str(r.problems),
            str(r.samples),
            f"{r.temperature:g}",
            _share(r.accuracy),
            _interval(interval),
            _share(r.pass_at_k),
            _share(r.all_wrong),
            "" if r.distinct_answers is None else f"{r.distinct_answers:.2f}",
        )
        if len(r.accuracy_by_difficulty) > 1:
            for cells in _difficulties(r):
                drawn.add_row(*cells)
    unjudged = [
        f"{r.dataset}: {r.unjudged} of {r.problems * r.samples} completions have no verdict and count as not right"
        for r in records
        if r.unjudged
    ]
    approximate = [
        f"{r.dataset}: sampled approximately (cache {r.cache}, confidence threshold {r.confidence_threshold})"
        for r in records
        if r.cache != "None" or r.confidence_threshold is not None
    ]
    return "\n".join([_text(drawn), *unjudged, *approximate])


def _difficulties(record: EvaluationRecord) -> Iterator[tuple[str, ...]]:
    for name, accuracy in record.accuracy_by_difficulty.items():
        count = str(record.problems_by_difficulty.get(name, ""))
        interval = _interval(record.interval_by_difficulty.get(name))
        passed = record.pass_by_difficulty.get(name)
        yield f"  {name}", count, "", "", _share(accuracy), interval, _share(passed), "", ""


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Draw a row a data set: both models, the paired difference in points, and on how many problems each is ahead."""
    drawn = Table(
        "data set", "problems", "samples", "T", "one", "other", "difference", "95 % interval", "better/equal/worse",
        "pass@k difference", box=None,
    )  # fmt: skip
    for c in comparisons:
        passed = "" if c.passed is None else f"{_points(c.passed)}  {_span(c.passed)}"
        drawn.add_row(
            c.dataset,
            str(c.problems),
            str(c.samples),
            f"{c.temperature:g}",
            _share(c.one.mean),
            _share(c.other.mean),
            *_difference(c.accuracy),
            passed,
        )
        for name, part in c.by_difficulty.items():
            count = str(part.better + part.equal + part.worse)
            drawn.add_row(f"  {name}", count, "", "", "", "", *_difference(part), "")
    return "\n".join([_text(drawn), *(note for c in comparisons for note in _notes(c))])


def _difference(difference: Difference) -> tuple[str, str, str]:
    counts = f"{difference.better}/{difference.equal}/{difference.worse}"
    return _points(difference), _span(difference), counts


def _notes(comparison: Comparison) -> Iterator[str]:
    """What makes a comparison less than clean."""
    for name, (one, other) in comparison.differing.items():
        yield f"{comparison.dataset}: {name} was {one} and {other}, so the difference is not the models' alone"
    if any(comparison.unjudged):
        one, other = map(str, comparison.unjudged)
        yield f"{comparison.dataset}: {one} and {other} completions have no verdict and count as not right"
    if comparison.only_one or comparison.only_other:
        yield (
            f"{comparison.dataset}: {comparison.only_one} problems of the first and {comparison.only_other} of the "
            "second were measured on one side only and are left out"
        )


def _points(difference: Difference) -> str:
    return f"{100 * difference.estimate.mean:+.1f} points"


def _span(difference: Difference) -> str:
    return f"{100 * difference.estimate.low:+.1f} to {100 * difference.estimate.high:+.1f}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{_share(interval[0])} to {_share(interval[1])}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _text(table: Table) -> str:
    console = Console(width=_WIDTH, record=False, highlight=False)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())
