"""`igpo compare`: two models measured on the same problems, paired."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    one: Annotated[Path, typer.Argument(help="A run folder, a folder of evaluations, or one .jsonl file of them.")],
    other: Annotated[Path, typer.Argument(help="The same of the model to compare with.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines instead of a table.")] = False,
) -> None:
    """Print how far the first model is above the second, problem by problem, with bootstrap intervals.

    Of a run folder the newest step is taken. Measurements are matched by data set, samples and temperature, problems
    by their key.
    """
    from igpo_trainer.observe.comparison import COMPARISONS, compare_evaluations
    from igpo_trainer.observe.evaluation_table import comparison_table
    from igpo_trainer.observe.evaluations import find_evaluations

    found = compare_evaluations(find_evaluations(one), find_evaluations(other))
    lines = [COMPARISONS.dump_json(comparison).decode() for comparison in found]
    typer.echo("\n".join(lines) if json else comparison_table(found))
