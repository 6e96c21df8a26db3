"""`igpo report`: draw a run's journal as one HTML page."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run_dir: Annotated[Path, typer.Argument(help="Folder of a run, finished or not: runs/<kind>/<name>.")],
) -> None:
    """Write report.html into a run folder: every curve, and sample rollouts with hints coloured."""
    from igpo_trainer.observe.report import write_report
    from igpo_trainer.observe.summary import write_summary

    path = write_report(run_dir)
    write_summary(run_dir)
    typer.echo(str(path))
