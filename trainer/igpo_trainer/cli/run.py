"""`igpo run -f`: carry out the documents of a manifest on this machine, in dependency order."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from igpo_trainer.cli.outcome import ABORTED
from igpo_trainer.cli.process_count import process_count
from igpo_trainer.cli.quiet import hushed
from igpo_trainer.cli.rewrite import has_rewrite, rewrite_here
from igpo_trainer.folder import remove_drafts
from igpo_trainer.loop.stop import StopSignal
from igpo_trainer.spec.contract import FINAL_DIR, METRICS_FILE, METRICS_PORT, REPORT_FILE, SUMMARY_FILE
from igpo_trainer.spec.document import Document
from igpo_trainer.spec.errors import InterruptedRunError
from igpo_trainer.spec.manifest import dependency_order, load_manifest

GRACE_SECONDS = 600.0
"""Time the processes of a run get to save after Ctrl-C."""


def run(
    file: Annotated[Path, typer.Option("--file", "-f", help="Manifest with one or more runs.")],
    runs: Annotated[Path, typer.Option(help="Folder of all runs; this one goes to <runs>/<kind>/<name>/.")] = Path(
        "runs"
    ),
    processes: Annotated[
        int | None,
        typer.Option(
            min=1, help="Training processes. Default: workers.replicas × gpusPerWorker as far as there are GPUs."
        ),
    ] = None,
    metrics_port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, help="Port of /metrics and /status on this machine; the next free one is taken."
        ),
    ] = METRICS_PORT,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only errors and the result.")] = False,
) -> None:
    """Train every run of a manifest, each after the one it starts from.

    A run that is half done continues from its newest checkpoint; one that is finished is left alone. Ctrl-C saves
    first. Each run folder holds metrics.jsonl, summary.json, report.html, checkpoints/ and final/, which loads with
    transformers' from_pretrained.
    """
    documents = dependency_order(load_manifest(file))
    with hushed(quiet), StopSignal() as stop:
        try:
            for document in documents:
                if stop.requested:
                    raise InterruptedRunError(f"told to stop before {document} began; start again to go on with it")
                _carry_out(document, runs, processes, metrics_port, stop, quiet=quiet)
        except KeyboardInterrupt:
            typer.echo("igpo: aborted by Ctrl-C; start again to continue from the last checkpoint", err=True)
            raise typer.Exit(ABORTED) from None


def _carry_out(
    document: Document, runs: Path, processes: int | None, metrics_port: int, stop: StopSignal, *, quiet: bool
) -> None:
    run_dir = runs / document.kind / document.name
    if is_finished(document, run_dir):
        _describe_once(run_dir)
        typer.echo(f"{document}: finished before, left alone; report: {run_dir / REPORT_FILE}")
        return
    if has_rewrite(document):
        rewrite_here(document, runs, metrics_port, stop, quiet=quiet)
    count, note = process_count(document, processes)
    if note and not quiet:
        typer.echo(f"{document}: {note}")
    if count == 1:
        _train_here(document, runs, metrics_port, stop, quiet=quiet)
    else:
        _train_under_torchrun(document, runs, metrics_port, count, quiet=quiet)
    typer.echo(result_line(document, run_dir))


def result_line(document: Document, run_dir: Path) -> str:
    """What a run achieved, in one line."""
    from igpo_trainer.observe.journal import read_metrics
    from igpo_trainer.observe.summary import summarise

    summary = summarise(read_metrics(run_dir))
    parts = [f"{document}: {summary.steps} steps in {summary.seconds:.0f} s"]
    if summary.accuracy_start is not None and summary.accuracy_end is not None:
        parts.append(f"held-out accuracy {summary.accuracy_start:.1%} → {summary.accuracy_end:.1%}")
    if summary.all_wrong_start is not None and summary.all_wrong_end is not None:
        parts.append(f"all-wrong groups {summary.all_wrong_start:.1%} → {summary.all_wrong_end:.1%}")
    return ", ".join(parts) + f"; report: {run_dir / REPORT_FILE}"


def is_finished(document: Document, run_dir: Path) -> bool:
    """Whether the folder holds the result of this very run; raises InvalidRunError when it holds another's."""
    from igpo_trainer.loop.identity import require_claimable
    from igpo_trainer.observe.journal import read_metrics
    from igpo_trainer.observe.records import EndRecord
    from igpo_trainer.spec.identity import document_hash

    require_claimable(run_dir, document_hash(document), document.kind, document.name)
    return (run_dir / FINAL_DIR).is_dir() and any(isinstance(r, EndRecord) for r in read_metrics(run_dir))


def _describe_once(run_dir: Path) -> None:
    """Write summary and report of a finished run that was killed before it could, or had from an earlier start only."""
    from igpo_trainer.observe.report import write_report
    from igpo_trainer.observe.summary import write_summary

    ended = (run_dir / METRICS_FILE).stat().st_mtime_ns
    pages = run_dir / SUMMARY_FILE, run_dir / REPORT_FILE
    if not all(page.exists() and page.stat().st_mtime_ns >= ended for page in pages):
        remove_drafts(run_dir)  # a killed writer's; a run that is finished is not resumed, which would do it
        write_summary(run_dir)
        write_report(run_dir)


def _train_here(document: Document, runs: Path, metrics_port: int, stop: StopSignal, *, quiet: bool) -> None:
    from igpo_trainer.loop.ranks import Ranks
    from igpo_trainer.loop.setup import RunPlace
    from igpo_trainer.loop.train import train
    from igpo_trainer.observe.console import Mode

    place = RunPlace(root=runs, metrics_port=metrics_port, mode=Mode.detect(quiet=quiet))
    train(document, place, Ranks(), stop)


def _train_under_torchrun(document: Document, runs: Path, metrics_port: int, count: int, *, quiet: bool) -> None:
    from igpo_trainer.cli.gang import Gang
    from igpo_trainer.cli.launch import launch

    worker = [sys.executable, "-m", "igpo_trainer.cli.worker", "--manifest", str(document.file)]
    worker += ["--document", str(document), "--runs", str(runs), "--metrics-port", str(metrics_port), "--desk"]
    worker += ["--quiet"] if quiet else []
    if code := launch(worker, Gang(processes=count), grace_seconds=GRACE_SECONDS):
        raise typer.Exit(code)  # the ranks or the launcher have said why
