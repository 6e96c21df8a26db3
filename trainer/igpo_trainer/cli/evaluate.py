"""`igpo eval`: measure a model on a manifest's evaluation sets."""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from igpo_trainer.cli.process_count import process_count
from igpo_trainer.spec.document import Document
from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.manifest import load_manifest

if TYPE_CHECKING:
    from igpo_trainer.loop.measure import Subject
    from igpo_trainer.observe.records import EvaluationRecord

GRACE_SECONDS = 30.0
"""Time the processes get to end after Ctrl-C: there is nothing to save."""


def evaluate(
    file: Annotated[Path, typer.Option("--file", "-f", help="Manifest of the run whose sets are measured.")],
    run: Annotated[str | None, typer.Option(help="KIND/NAME of the document; default: the last one.")] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Model folder or hub id; default: best/ or final/ of the run in the runs folder."),
    ] = None,
    step: Annotated[
        int | None,
        typer.Option(
            min=0, help="Measure the run's kept checkpoint of this step, as training did; 0: the model it starts from."
        ),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    samples: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Completions per problem; default: as in the manifest.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, help="Default: as in the manifest.")] = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Default: workers.replicas × gpusPerWorker as far as there are GPUs."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder that gets every completion, a .jsonl file a data set.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print records as JSON lines instead of a table.")] = False,
) -> None:
    """Print accuracy, pass@k, all-wrong fraction and intervals of a trained model, as the training loop measures them.

    Settings and seed are the manifest's, so the same checkpoint gives the same numbers, in one process or several.
    """
    from igpo_trainer.loop.measure import Subject
    from igpo_trainer.observe.evaluation_table import evaluation_table

    document = _document(file, run)
    change = {key: value for key, value in (("samples", samples), ("temperature", temperature)) if value is not None}
    subject = Subject(document, runs, model=model, step=step, change=change, out=out)
    count, note = process_count(document, processes)
    if note:
        typer.echo(f"{document}: {note}", err=True)
    records = _measure_here(subject) if count == 1 else _measure_under_torchrun(subject, count)
    typer.echo("\n".join(r.model_dump_json() for r in records) if json else evaluation_table(records))


def _document(file: Path, run: str | None) -> Document:
    documents = load_manifest(file)
    chosen = [d for d in documents if run in (None, str(d))]
    if not chosen:
        known = ", ".join(str(d) for d in documents)
        raise InvalidRunError(f"{file}: no document {run}; it holds {known}")
    return chosen[-1]


def _measure_here(subject: "Subject") -> list["EvaluationRecord"]:
    from igpo_trainer.loop.measure import measure

    return measure(subject)


def _measure_under_torchrun(subject: "Subject", count: int) -> list["EvaluationRecord"]:
    from igpo_trainer.cli.gang import Gang
    from igpo_trainer.cli.launch import launch
    from igpo_trainer.observe.records import EvaluationRecord

    with tempfile.TemporaryDirectory(prefix="igpo-eval-") as folder:
        result = Path(folder) / "records.jsonl"
        worker = [sys.executable, "-m", "igpo_trainer.cli.evaluation_worker", *worker_arguments(subject, result)]
        if code := launch(worker, Gang(processes=count), grace_seconds=GRACE_SECONDS):
            raise typer.Exit(code)  # the ranks or the launcher have said why
        return [EvaluationRecord.model_validate_json(line) for line in result.read_bytes().splitlines()]


def worker_arguments(subject: "Subject", result: Path) -> list[str]:
    """Write a subject as the worker's command line."""
    document = subject.document
    arguments = ["--manifest", str(document.file), "--document", str(document), "--runs", str(subject.runs)]
    arguments += ["--result", str(result)]
    given: Mapping[str, Any] = {"model": subject.model, "step": subject.step, "out": subject.out, **subject.change}
    for name, value in given.items():
        arguments += [] if value is None else [f"--{name}", str(value)]
    return arguments
