"""`igpo`: the command line. Errors of ours are one line on stderr and the contract's exit code, never a traceback."""

import contextlib
import sys
from importlib.metadata import entry_points

import typer

from igpo_trainer import __version__
from igpo_trainer.cli.compare import compare
from igpo_trainer.cli.evaluate import evaluate
from igpo_trainer.cli.report import report
from igpo_trainer.cli.rewrite import rewrite
from igpo_trainer.cli.run import run
from igpo_trainer.cli.schema import schema
from igpo_trainer.cli.validate import validate
from igpo_trainer.spec.errors import RunError

app = typer.Typer(
    name="igpo",
    help="Train masked diffusion language models by length-aligned SFT and IGPO, from one manifest.\n\n"
    "The same YAML runs here (igpo run -f) and on a cluster (kubectl apply -f).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (run, rewrite, validate, evaluate, compare, report, schema):
    name = "eval" if command is evaluate else command.__name__
    app.command(name)(command)
for point in entry_points(group="igpo.commands"):  # what other installed packages add, as the operator does
    with contextlib.suppress(ModuleNotFoundError):  # added by an extra that is not installed
        app.command(point.name)(point.load())


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        typer.echo(f"igpo {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Console script."""
    try:
        app(arguments, prog_name="igpo")
    except RunError as error:
        sys.stderr.write(f"igpo: {error}\n")
        sys.exit(int(error.exit_code))


if __name__ == "__main__":
    main()
