"""`igpo rewrite`: only the stage of a LengthAlignedSFT that rewrites its traces by a teacher."""

from pathlib import Path
from typing import Annotated

import typer

from igpo_trainer.cli.outcome import ABORTED
from igpo_trainer.cli.quiet import hushed
from igpo_trainer.loop.stop import StopSignal
from igpo_trainer.spec.contract import METRICS_PORT, REWRITTEN_DIR
from igpo_trainer.spec.document import Document
from igpo_trainer.spec.errors import InterruptedRunError, InvalidRunError
from igpo_trainer.spec.manifest import dependency_order, load_manifest


def rewrite(
    file: Annotated[Path, typer.Option("--file", "-f", help="Manifest with a LengthAlignedSFT that has rewrite.")],
    run: Annotated[str | None, typer.Option(help="KIND/NAME of one document; default: all that have rewrite.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of all runs; as for igpo run.")] = Path("runs"),
    metrics_port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, help="Port of /metrics and /status on this machine; the next free one is taken."
        ),
    ] = METRICS_PORT,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only errors and the result.")] = False,
) -> None:
    """Have a teacher shorten the training traces; keep those that still verify and fit the canvas.

    Needs no GPU, and the endpoint's key in IGPO_TEACHER_API_KEY. Every answer is kept in rewritten/answers.jsonl of the
    run folder: stopped or killed, start it again and it goes on. igpo run does this by itself before it trains.
    """
    documents = [d for d in dependency_order(load_manifest(file)) if has_rewrite(d) and run in (None, str(d))]
    if not documents:
        what = f"{run} does not stand there with" if run else "no document has"
        raise InvalidRunError(f"{file}: {what} spec.rewrite: nothing to rewrite; add it to a LengthAlignedSFT")
    with hushed(quiet), StopSignal() as stop:
        try:
            for document in documents:
                if stop.requested:
                    raise InterruptedRunError(f"told to stop before {document} began; start again to go on with it")
                rewrite_here(document, runs, metrics_port, stop, quiet=quiet)
        except KeyboardInterrupt:
            typer.echo("igpo: aborted by Ctrl-C; the answers so far are kept, start again to go on", err=True)
            raise typer.Exit(ABORTED) from None


def has_rewrite(document: Document) -> bool:
    """Whether a document's traces are to be rewritten."""
    return document.raw["spec"].get("rewrite") is not None


def rewrite_here(document: Document, runs: Path, metrics_port: int, stop: StopSignal, *, quiet: bool) -> None:
    """Rewrite one document's traces on this machine and say in one line what came of it."""
    from igpo_trainer.loop.rewriting import rewrite as carry_out
    from igpo_trainer.loop.setup import RunPlace
    from igpo_trainer.observe.console import Mode
    from igpo_trainer.observe.lines import rewrite_line

    place = RunPlace(root=runs, metrics_port=metrics_port, mode=Mode.detect(quiet=quiet))
    record = carry_out(document, place, stop)
    folder = place.run_dir(document.kind, document.name) / REWRITTEN_DIR
    typer.echo(f"{document}: {rewrite_line(record)}; {folder}")
